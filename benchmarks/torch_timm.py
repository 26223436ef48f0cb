"""timm's ViT and a train step for it, in PyTorch, with the stub of torchvision that timm's import
wants (there is no CPU build of it here).
"""

import importlib.machinery
import importlib.metadata
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np


class _Type(type):
    """Of classes with whatever attribute is asked for: its name."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Anything(types.ModuleType):
    """A module that has whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Type(name, (), {})


def import_timm() -> Any:
    """timm.models.vision_transformer, whose ViTs need no torchvision to run."""
    if "torchvision" not in sys.modules:
        parts = (
            "",
            ".ops",
            ".ops.misc",
            ".transforms",
            ".transforms.functional",
            ".datasets",
            ".models",
            ".models.feature_extraction",
        )
        for part in parts:
            name = "torchvision" + part
            module = _Anything(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
            module.__path__ = []
            module.__version__ = "0.0"
            sys.modules[name] = module
            if part:
                setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module)
    from timm.models import vision_transformer

    return vision_transformer


def make_vit(
    image_size: int,
    patch: int,
    embed_dim: int,
    depth: int,
    num_heads: int,
    mlp_ratio: float,
    num_classes: int,
) -> Any:
    """The model that `models.vit.ViT` is at one token length with the class token read."""
    return import_timm().VisionTransformer(
        img_size=image_size,
        patch_size=patch,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        num_classes=num_classes,
    )


def make_step(
    model: Any, images: np.ndarray, labels: np.ndarray, learning_rate: float = 1e-3
) -> Callable[[], float]:
    """One train step: normalise, forward, backward, clip, AdamW (its fused form); returns the
    loss.
    """
    import torch

    from vintk_jax.data.archives import MEAN, STD

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=0.05, fused=True
    )
    pixels = torch.from_numpy(images)
    targets = torch.from_numpy(labels.astype(np.int64))
    mean, std = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (MEAN, STD))
    model.train()

    def step() -> float:
        inputs = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
        loss = torch.nn.functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss)

    return step


def version() -> str:
    """Of timm."""
    return importlib.metadata.version("timm")
