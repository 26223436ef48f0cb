"""The training loop: steps, optimiser, evaluation. What is learned stands in `tasks`."""
