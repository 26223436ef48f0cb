"""A trained model as a folder that others can use: programs, weights, a model card."""
