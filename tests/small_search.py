"""A search of seconds, for tests that start it as processes."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEARCH = [
    "--config",
    "configs/vit_space.py",
    "--config.space=tiny_space:SPACE",
    "--config.inputs.num_images=4",
    "--config.inputs.image_size=16",
]
SEARCH += [
    "--config.ntk.num_classes=5",
    "--config.search.population=8",
    "--config.search.num_candidates=40",
]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
