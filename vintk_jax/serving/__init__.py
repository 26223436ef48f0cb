"""Adaptive inference over HTTP: `python -m vintk_jax.serve`.

Three kinds of processes work together. The front (`front`, `routes`) speaks HTTP and knows nothing
of JAX. One worker (`worker`) has the model and its engine by ticket. Some decoders (`decoder`) open
what strangers send, within limits of time and memory. They talk by `frames`.
"""
