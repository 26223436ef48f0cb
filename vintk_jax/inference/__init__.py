"""Using trained models: one length, plans of several, and the engine that runs them.

`python -m vintk_jax.infer` is `fixed_lengths` here, `segmenting` for segmenters, and
`adaptive.adaptive_inference` where there is an assigner.
"""
