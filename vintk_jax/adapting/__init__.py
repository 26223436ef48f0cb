"""From images to an adaptive model: what is looked at first, the plan, its stages, the page."""
