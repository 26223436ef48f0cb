"""Each image at the fewest tokens that suffice: labels, the token-length assigner, its thresholds,
and the engine that runs it.
"""
