"""Using trained models: one length, plans of several, and the engine that runs them."""
