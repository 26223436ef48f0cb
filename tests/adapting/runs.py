"""A small run of `adapt`: a folder of noise, dark and bright."""

import numpy as np
from PIL import Image

IMAGES = 130  # of each class
SMALL = (
    "--config.time_h=0.5",
    "--config.plan.image_size=16",
    "--config.plan.lengths=(2,1)",
    "--config.plan.candidates=4",
    "--config.plan.max_flops_m=4",
    "--config.plan.epochs=2",
    "--config.plan.batch_size=16",
    "--config.budget.max_drop=50",
)


def write_folder(root):
    """Images of two classes that brightness tells apart, nearly always."""
    rng = np.random.default_rng(0)
    for name, mean in (("bright", 150), ("dark", 100)):
        (root / name).mkdir(parents=True)
        for number in range(IMAGES):
            pixels = np.clip(rng.normal(mean, 60, (16, 20, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return f"folder:{root}"
