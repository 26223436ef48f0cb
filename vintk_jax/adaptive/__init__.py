"""Each image at the fewest tokens that suffice: labels, the token-length assigner, its thresholds.
The engine that runs it is `inference.engine`.
"""
