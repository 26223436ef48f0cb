"""What `vintk_jax.spectrum` runs: signals of known frequency, and how fast kernels and trained
networks learn them.
"""
