"""Flax modules. They import nothing of ours but each other."""
