"""Which frequencies a kernel sees: signals of known frequency, and how fast kernels and trained
networks learn them.
"""
