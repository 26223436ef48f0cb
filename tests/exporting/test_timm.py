"""Weights by timm's names: the folder's own PyTorch module, alone in a process, and timm's class
give our logits.
"""

import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_export import predictor_of

from vintk_jax.errors import UserError
from vintk_jax.exporting import folder
from vintk_jax.models.timesformer import TimeSformer
from vintk_jax.models.vit import ViT

GRIDS = ((4, 4), (2, 2))
SIZES = {"embed_dim": 12, "head_dim": 6, "num_classes": 3, "patch_size": 8, "native_grid": (4, 4)}
FOUND = ViT(
    num_heads=(1, 3),
    hidden=(20, 8),
    max_distance=2,
    pool="mean",
    residual_scale=0.5,
    norm_grids=GRIDS,
    **SIZES,
)
DEIT = ViT(num_heads=(2, 2), hidden=(24, 24), norm_grids=GRIDS, scan=True, **SIZES)
# Run in a process that finds none of our code.
ALONE = """
import sys
sys.modules["vintk_jax"] = sys.modules["jax"] = None
import numpy as np, torch
from timm_model import create_model
found = {}
for name in ("16", "4"):
    model = create_model(".", name)
    images = torch.from_numpy(np.load(sys.argv[1]))
    with torch.no_grad():
        found[name] = model(images).numpy()
    assert tuple(model.input_size) == tuple(images.shape[2:])
np.savez(sys.argv[2], **found)
"""


def logits(predictor, name, images):
    """Of our model at one length, for standardised images."""
    one = predictor.length(name)
    return np.asarray(jax.jit(one.model.apply)(one.variables, jnp.asarray(images)))


@pytest.fixture(scope="module")
def images():
    """Standardised, channels last."""
    return np.random.default_rng(0).standard_normal((3, 32, 32, 3)).astype(np.float32)


@pytest.mark.peers
@pytest.mark.parametrize("model", [FOUND, DEIT], ids=["found", "deit"])
def test_the_folders_own_module(model, images, tmp_path):
    """Heads and widths that differ, relative positions, the mean; blocks that were scanned; every
    length.
    """
    pytest.importorskip("torch", reason="needs PyTorch: make test-full installs it")
    predictor = predictor_of(model, GRIDS)
    folder.write(tmp_path / "out", predictor, None, {}, {}, ("timm",))
    np.save(tmp_path / "images.npy", np.moveaxis(images, -1, 1))
    run = [sys.executable, "-c", ALONE, str(tmp_path / "images.npy"), str(tmp_path / "found.npz")]
    subprocess.run(run, cwd=tmp_path / "out", check=True, timeout=300)
    with np.load(tmp_path / "found.npz") as arrays:
        found = dict(arrays)
    for name in predictor.names:
        wanted = logits(predictor, name, images)
        np.testing.assert_allclose(found[name], wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("pool", ["token", "mean"])
def test_timms_own_class(pool, images, tmp_path):
    """Takes every weight of a DeiT."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: make test-full installs it")
    if not importlib.util.find_spec("timm"):
        pytest.skip("needs timm: make test-full installs it")
    from safetensors.torch import load_file
    from weights.torchvision_stub import import_timm

    predictor = predictor_of(DEIT.clone(pool=pool), GRIDS)
    folder.write(tmp_path / "out", predictor, None, {}, {}, ("timm",))
    theirs = (
        import_timm()
        .models.vision_transformer.VisionTransformer(
            img_size=32,
            patch_size=8,
            embed_dim=12,
            depth=2,
            num_heads=2,
            mlp_ratio=2,
            num_classes=3,
            **({"global_pool": "avg", "fc_norm": False} if pool == "mean" else {}),
        )
        .eval()
    )
    theirs.load_state_dict(load_file(tmp_path / "out" / "16.safetensors"), strict=True)
    with torch.no_grad():
        found = theirs(torch.from_numpy(np.moveaxis(images, -1, 1).copy())).numpy()
    wanted = logits(predictor, "16", images)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("model", "grids", "frames"),
    [
        (DEIT.clone(stem_width=4, aux_head=True), GRIDS, 0),
        (
            TimeSformer(
                12, (2,), (20,), 6, 3, 16, (2, 2), native_frames=4, norm_grids=((4, 2, 2),)
            ),
            ((4, 2, 2),),
            4,
        ),
    ],
    ids=["lvvit", "clips"],
)
def test_what_timm_has_not_is_refused(model, grids, frames, tmp_path):
    """One message, and no folder."""
    with pytest.raises(UserError, match="Take stablehlo or onnx"):
        folder.write(tmp_path / "out", predictor_of(model, grids, frames), None, {}, {}, ("timm",))
    assert not list(tmp_path.iterdir())
