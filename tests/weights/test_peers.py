"""Models of random weights, built by other people's packages, saved as they save them: our logits
are theirs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.errors import UserError
from vintk_jax.models.timesformer import ATTENTIONS, TimeSformer
from vintk_jax.models.vit import ViT
from vintk_jax.weights import load_weights

torch = pytest.importorskip("torch", reason="needs PyTorch: make test-full installs it")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
OURS = ViT(24, (4, 4), (48, 48), 6, 5, patch_size=8, native_grid=(4, 4))


@pytest.fixture(scope="module")
def timm():
    """timm, on a torchvision of nothing where there is none."""
    pytest.importorskip("safetensors")
    if not __import__("importlib.util").util.find_spec("timm"):
        pytest.skip("needs timm: make test-full installs it")
    from weights.torchvision_stub import import_timm

    return import_timm()


def shaken(model):
    """A model whose every weight has moved: what starts at zero or one would hide mistakes."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def pictures(*shape):
    """Random ones, channels first."""
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))


def assert_same(ours, variables, images, theirs):
    """Logits agree to 1e-4 of their size."""
    got = jax.jit(ours.apply)(variables, jnp.asarray(np.moveaxis(images.numpy(), -3, -1)))
    np.testing.assert_allclose(got, theirs, atol=1e-4 * np.abs(theirs).max())


def timms(timm, **fields):
    """A small ViT of timm's with random weights."""
    sizes = dict(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=4, mlp_ratio=2, num_classes=5
    )
    return shaken(timm.models.vision_transformer.VisionTransformer(**{**sizes, **fields}))


def logits(model, images):
    """In NumPy."""
    with torch.no_grad():
        found = model(images)
    return getattr(found, "logits", found).numpy()


@pytest.mark.parametrize("kind", ["safetensors", "pth", "stream", "half"])
def test_timm(timm, kind, tmp_path):
    """By all files that it comes in; DeiT's .pth has the weights under `model`, from several
    processes under `module.`.
    """
    theirs = timms(timm)
    path = tmp_path / "weights"
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file(theirs.state_dict(), path)
    elif kind == "half":
        theirs = theirs.bfloat16().float()
        torch.save({name: weight.bfloat16() for name, weight in theirs.state_dict().items()}, path)
    else:
        state = {
            "model": {f"module.{name}": weight for name, weight in theirs.state_dict().items()},
            "epoch": 3,
        }
        torch.save(state, path, _use_new_zipfile_serialization=kind == "pth")
    images = pictures(3, 32, 32)
    assert_same(OURS, load_weights(path, OURS), images, logits(theirs, images))


def test_deit3(timm, tmp_path):
    """Scales of residuals, by timm's names and by DeiT III's own, and positions without a row for
    the class token.
    """
    theirs = timms(timm, init_values=1.0, no_embed_class=True)
    images = pictures(3, 32, 32)
    state = theirs.state_dict()
    torch.save(state, tmp_path / "timm.pth")
    torch.save(
        {
            name.replace(".ls1.gamma", ".gamma_1").replace(".ls2.gamma", ".gamma_2"): w
            for name, w in state.items()
        },
        tmp_path / "own.pth",
    )
    for name in ("timm.pth", "own.pth"):
        assert_same(OURS, load_weights(tmp_path / name, OURS), images, logits(theirs, images))


def google_names(rng, style, positions):
    """Random weights in Google's names: (query, key, value) by head, blocks numbered as the old
    ViTs' or as big_vision's, or in one array.
    """

    def draw(*shape):
        return (0.2 * rng.standard_normal(shape)).astype(np.float32)

    attention, mlp, second = (1, 3, 2) if style == "old" else (0, 0, 1)
    made = {
        "embedding/kernel": draw(8, 8, 3, 24),
        "embedding/bias": draw(24),
        "cls": draw(1, 1, 24),
        "head/kernel": draw(24, 5),
        "head/bias": draw(5),
        "Transformer/encoder_norm/scale": 1 + draw(24),
        "Transformer/encoder_norm/bias": draw(24),
        "Transformer/posembed_input/pos_embedding" if style == "old" else "pos_embedding": draw(
            1, positions, 24
        ),
    }
    blocks = []
    for _ in range(2):
        block = {f"MultiHeadDotProductAttention_{attention}/out/kernel": draw(4, 6, 24)}
        block |= {f"MultiHeadDotProductAttention_{attention}/out/bias": draw(24)}
        for part in ("query", "key", "value"):
            block |= {f"MultiHeadDotProductAttention_{attention}/{part}/kernel": draw(24, 4, 6)}
            block |= {f"MultiHeadDotProductAttention_{attention}/{part}/bias": draw(4, 6)}
        for norm in (0, second):
            block |= {f"LayerNorm_{norm}/scale": 1 + draw(24), f"LayerNorm_{norm}/bias": draw(24)}
        block |= {
            f"MlpBlock_{mlp}/Dense_0/kernel": draw(24, 48),
            f"MlpBlock_{mlp}/Dense_0/bias": draw(48),
        }
        block |= {
            f"MlpBlock_{mlp}/Dense_1/kernel": draw(48, 24),
            f"MlpBlock_{mlp}/Dense_1/bias": draw(24),
        }
        blocks.append(block)
    if style == "scanned":
        return made | {
            f"Transformer/encoderblock/{name}": np.stack([block[name] for block in blocks])
            for name in blocks[0]
        }
    return made | {
        f"Transformer/encoderblock_{i}/{name}": array
        for i, block in enumerate(blocks)
        for name, array in block.items()
    }


@pytest.mark.parametrize(
    ("style", "prefix"),
    [("old", ""), ("old", "opt/target/"), ("new", ""), ("new", "params/"), ("scanned", "params/")],
)
def test_google(timm, style, prefix, tmp_path):
    """AugReg's and big_vision's names, FlexiViT's positions (without the class token): timm loads
    the same file by code of its own.
    """
    flexible = style != "old"
    arrays = google_names(np.random.default_rng(0), style, 16 if flexible else 17)
    np.savez(tmp_path / "w.npz", **{prefix + name: array for name, array in arrays.items()})
    theirs = timms(timm, no_embed_class=flexible)
    images = pictures(3, 32, 32)
    theirs.load_pretrained(str(tmp_path / "w.npz"))
    assert_same(
        OURS, load_weights(tmp_path / "w.npz", OURS, pixels="own"), images, logits(theirs, images)
    )


def test_google_pixels(timm, tmp_path):
    """The file's model sees pixels from -1 to 1, ours the same pixels standardised by ImageNet's
    numbers.
    """
    np.savez(tmp_path / "w.npz", **google_names(np.random.default_rng(0), "old", 17))
    theirs = timms(timm)
    theirs.load_pretrained(str(tmp_path / "w.npz"))
    colours = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    mean, std = (
        torch.tensor(numbers).view(3, 1, 1)
        for numbers in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    said = []
    variables = load_weights(tmp_path / "w.npz", OURS, say=said.append)
    assert_same(OURS, variables, (colours - mean) / std, logits(theirs, (colours - 0.5) / 0.5))
    assert "0.5" in said[0]


@pytest.mark.parametrize("folder", [True, False])
def test_hugging_face_vit(folder, tmp_path):
    """A folder as Hugging Face has it, and the weights as transformers has them in memory."""
    transformers = pytest.importorskip(
        "transformers", reason="needs transformers: make test-full installs it"
    )
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
        num_labels=5,
    )
    theirs = shaken(transformers.ViTForImageClassification(config))
    images = pictures(3, 32, 32)
    if folder:
        theirs.save_pretrained(tmp_path)
    else:
        torch.save(theirs.state_dict(), tmp_path / "w.pth")
    variables = load_weights(tmp_path if folder else tmp_path / "w.pth", OURS, pixels="own")
    assert_same(OURS, variables, images, logits(theirs, images))


def test_hugging_face_vit_without_a_classifier(tmp_path):
    """Its names have no prefix, and it has a pooler, which is left out; a new head reads the class
    token after the last norm.
    """
    transformers = pytest.importorskip(
        "transformers", reason="needs transformers: make test-full installs it"
    )
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=32,
        patch_size=8,
    )
    theirs = shaken(transformers.ViTModel(config))
    images = pictures(3, 32, 32)
    theirs.save_pretrained(tmp_path)
    with pytest.raises(
        UserError,
        match=(
            r"missing are classifier\.bias, classifier\.weight; nothing in the model takes pooler.*"
            r"head=new"
        ),
    ):
        load_weights(tmp_path, OURS)
    variables = load_weights(tmp_path, OURS, pixels="own", head="new")
    with torch.no_grad():
        token = theirs(images).last_hidden_state[:, 0].numpy()
    head = variables["params"]["head"]
    assert_same(
        OURS, variables, images, token @ np.asarray(head["kernel"]) + np.asarray(head["bias"])
    )


HF_ATTENTIONS = {
    "divided": "divided_space_time",
    "joint": "joint_space_time",
    "space": "space_only",
}


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_hugging_face_timesformer(attention, tmp_path):
    """All three kinds of attention."""
    transformers = pytest.importorskip(
        "transformers", reason="needs transformers: make test-full installs it"
    )
    config = transformers.TimesformerConfig(
        image_size=16,
        patch_size=8,
        num_frames=3,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=36,
        attention_type=HF_ATTENTIONS[attention],
        num_labels=5,
        initializer_range=0.3,
    )
    theirs = shaken(transformers.TimesformerForVideoClassification(config))
    clips = pictures(3, 3, 16, 16)
    wanted = logits(theirs, clips)
    if attention == "space":  # theirs answers for each frame
        wanted = wanted.reshape(3, 3, 5).mean(axis=1)
    theirs.save_pretrained(tmp_path)
    ours = TimeSformer(24, (4, 4), (36, 36), 6, 5, 8, (2, 2), 3, attention)
    assert_same(ours, load_weights(tmp_path, ours, pixels="own"), clips, wanted)
