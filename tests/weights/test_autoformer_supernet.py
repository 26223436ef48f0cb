"""AutoFormer's supernet: a file with the published Tiny's names and shapes, three architectures,
and a reference in PyTorch written for this test.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax import spaces
from vintk_jax.errors import UserError
from vintk_jax.tasks.loading import load_trained
from vintk_jax.weights import load_weights
from vintk_jax.weights.__main__ import main
from vintk_jax.workdir.config_claims import read_claimed

torch = pytest.importorskip("torch", reason="needs PyTorch: make test-full installs it")
pytestmark = pytest.mark.peers
F = torch.nn.functional
# experiments/supernet/supernet-T.yaml
WIDTH = 256
DEPTH = 14
HEADS = 4
HIDDEN = 1024
TABLE = 30
SPACE = spaces.get("autoformer-tiny")
ARCHS = [
    {"embed_dim": 192, "depth": 12, "num_heads": [3] * 12, "mlp_ratio": [3.5] * 12},
    {
        "embed_dim": 216,
        "depth": 13,
        "num_heads": [3, 4] * 6 + [3],
        "mlp_ratio": [4.0, 3.5, 3.5] * 4 + [4.0],
    },
    {"embed_dim": 240, "depth": 14, "num_heads": [4] * 14, "mlp_ratio": [4.0] * 14},
]


def published_shapes():
    """Names and shapes of `Vision_TransformerSuper` with --change_qkv --relative_position --gp."""
    e = WIDTH
    shapes = {
        "cls_token": (1, 1, e),
        "pos_embed": (1, 197, e),
        "patch_embed_super.proj.weight": (e, 3, 16, 16),
        "patch_embed_super.proj.bias": (e,),
    }
    for i in range(DEPTH):
        b = f"blocks.{i}"
        shapes |= {
            f"{b}.attn.rel_pos_embed_{kv}.embeddings_table_{axis}": (TABLE, 64)
            for kv in "kv"
            for axis in "vh"
        }
        shapes |= {
            f"{b}.attn.qkv.weight": (3 * e, e),
            f"{b}.attn.qkv.bias": (3 * e,),
            f"{b}.attn.proj.weight": (e, e),
            f"{b}.attn.proj.bias": (e,),
        }
        shapes |= {
            f"{b}.{norm}.{leaf}": (e,)
            for norm in ("attn_layer_norm", "ffn_layer_norm")
            for leaf in ("weight", "bias")
        }
        shapes |= {
            f"{b}.fc1.weight": (HIDDEN, e),
            f"{b}.fc1.bias": (HIDDEN,),
            f"{b}.fc2.weight": (e, HIDDEN),
            f"{b}.fc2.bias": (e,),
        }
    return shapes | {
        "norm.weight": (e,),
        "norm.bias": (e,),
        "head.weight": (1000, e),
        "head.bias": (1000,),
    }


@pytest.fixture(scope="module")
def supernet(tmp_path_factory):
    """Random weights, and the .pth that holds them as the training script saves them, settings and
    all.
    """
    import argparse

    rng = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in published_shapes().items():
        around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        state[name] = around + 0.1 * torch.randn(shape, generator=rng)
    path = tmp_path_factory.mktemp("autoformer") / "supernet-tiny.pth"
    args = argparse.Namespace(
        change_qkv=True, relative_position=True, gp=True, post_norm=False, no_abs_pos=False, lr=5e-4
    )
    torch.save({"model": state, "epoch": 499, "args": args}, path)
    return state, path


def places(tokens):
    """Rows of the tables for each pair of tokens: (vertical, horizontal), 0 for pairs with the
    class token.
    """
    side = int((tokens - 1) ** 0.5)
    at = torch.arange(tokens - 1)
    distances = torch.stack([part[None, :] - part[:, None] for part in (at // side, at % side)])
    return F.pad(distances.clamp(-14, 14) + 15, (1, 0, 1, 0))


PLACES = places(197)


def reference(state, arch, images):
    """The subnet's logits, from the supernet's weights, as supernet_transformer.py and its modules
    define them.
    """
    e = arch["embed_dim"]

    def weight(name):
        return state[f"{name}.weight"]

    def bias(name):
        return state[f"{name}.bias"]

    # PyTorch's default
    def norm(x, name):
        return F.layer_norm(x, (e,), weight(name)[:e], bias(name)[:e], eps=1e-5)

    x = (
        F.conv2d(
            images,
            weight("patch_embed_super.proj")[:e],
            bias("patch_embed_super.proj")[:e],
            stride=16,
        )
        .flatten(2)
        .transpose(1, 2)
    )
    x = (
        torch.cat([state["cls_token"][..., :e].expand(len(x), -1, -1), x], dim=1)
        + state["pos_embed"][..., :e]
    )
    for i in range(arch["depth"]):
        b = f"blocks.{i}"
        heads = arch["num_heads"][i]
        hidden = int(e * arch["mlp_ratio"][i])
        q_dim = 64 * heads
        rows = weight(f"{b}.attn.qkv")[:, :e]
        shifts = bias(f"{b}.attn.qkv")
        y = norm(x, f"{b}.attn_layer_norm")
        # Rows i, i + 3, ... of the first 3 x 64 x heads make query (0), key (1), value (2). The
        # bias is cut, not taken apart.
        joined = torch.cat([rows[which : 3 * q_dim : 3] for which in range(3)])
        q, k, v = (
            F.linear(y, joined, shifts[: 3 * q_dim])
            .reshape(*y.shape[:2], 3, heads, 64)
            .permute(2, 0, 3, 1, 4)
        )

        def table(kv, b=b):
            return sum(
                state[f"{b}.attn.rel_pos_embed_{kv}.embeddings_table_{axis}"][at]
                for axis, at in zip("vh", PLACES, strict=True)
            )

        logits = (
            q @ k.transpose(-2, -1) + torch.einsum("nhtd,tsd->nhts", q, table("k"))
        ) * 64**-0.5
        attention = logits.softmax(-1)
        out = attention @ v + torch.einsum("nhts,tsd->nhtd", attention, table("v"))
        out = out.transpose(1, 2).reshape(*y.shape[:2], q_dim)
        x = x + F.linear(out, weight(f"{b}.attn.proj")[:e, :q_dim], bias(f"{b}.attn.proj")[:e])
        y = F.gelu(
            F.linear(
                norm(x, f"{b}.ffn_layer_norm"),
                weight(f"{b}.fc1")[:hidden, :e],
                bias(f"{b}.fc1")[:hidden],
            )
        )
        x = x + F.linear(y, weight(f"{b}.fc2")[:e, :hidden], bias(f"{b}.fc2")[:e])
    return F.linear(norm(x, "norm")[:, 1:].mean(1), weight("head")[:, :e], bias("head"))


IMAGES = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("fields", ARCHS, ids=["narrowest", "mixed", "widest"])
def test_architectures_out_of_it(fields, supernet):
    """The logits of the reference; where blocks are equal they are scanned, which compiles
    faster.
    """
    state, path = supernet
    model = SPACE.model(SPACE.from_json(fields))
    model = model.clone(scan=len(set(zip(model.num_heads, model.hidden, strict=True))) == 1)
    got = jax.jit(model.apply)(
        load_weights(path, model), jnp.asarray(IMAGES.numpy().transpose(0, 2, 3, 1))
    )
    wanted = reference(state, fields, IMAGES).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


def test_the_masked_supernet(supernet):
    """Our supernet, narrower than theirs: under an architecture's masks the logits of the same
    weights cut down, by `subnet`.

    They are the reference's where blocks have all their heads (see `weights.autoformer`).
    """
    state, path = supernet
    model = SPACE.supernet()
    variables = load_weights(path, model)
    fields = {**ARCHS[0], "num_heads": [4] * 12}
    arch = SPACE.from_json(fields)
    images = jnp.asarray(IMAGES.numpy().transpose(0, 2, 3, 1))
    masks = jax.tree.map(jnp.asarray, SPACE.masks(arch))
    wanted = reference(state, fields, IMAGES).numpy()
    got = jax.jit(lambda v, x, masks: model.apply(v, x, masks=masks))(variables, images, masks)
    np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


def test_other_settings_are_refused(supernet, tmp_path):
    """A supernet that was trained without what the published ones have."""
    import argparse

    torch.save(
        {"model": supernet[0], "args": argparse.Namespace(change_qkv=False, gp=True)},
        tmp_path / "w.pth",
    )
    with pytest.raises(UserError, match="trained with change_qkv=False"):
        load_weights(tmp_path / "w.pth", SPACE.model(SPACE.from_json(ARCHS[0])))


def test_what_is_missing_is_named(supernet, tmp_path):
    """By its published name; blocks beyond the architecture's depth may be missing, or be there."""
    state = {
        name: weight
        for name, weight in supernet[0].items()
        if not name.startswith("blocks.13.") and "blocks.2.fc1" not in name
    }
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(
        UserError, match=r"missing are blocks\.2\.fc1\.bias, blocks\.2\.fc1\.weight\."
    ) as caught:
        load_weights(tmp_path / "w.pth", SPACE.model(SPACE.from_json(ARCHS[0])))
    assert "blocks.13" not in str(caught.value)


def test_by_the_command(supernet, tmp_path, capsys):
    """A workdir of an architecture, said to be one; without an architecture it's asked which."""
    best = tmp_path / "best.json"
    best.write_text(json.dumps({"space": "autoformer-tiny", "arch": ARCHS[1]}))
    argv = [
        "weights",
        "--config",
        "configs/weights.py",
        f"--config.weights={supernet[1]}",
        "--workdir",
        str(tmp_path / "run"),
    ]
    with pytest.raises(UserError, match="which architecture of it"):
        main(argv)
    main([*argv, f"--config.arch={best}"])
    said = capsys.readouterr().out
    assert (
        "a ViT of 216 columns, 13 blocks, 3 heads, 1000 classes; 224 px, token lengths 196" in said
    )
    trained, params, classes, _ = load_trained(
        tmp_path / "run", read_claimed(tmp_path / "run", "train"), "best", print
    )
    wanted = load_weights(supernet[1], SPACE.model(SPACE.from_json(ARCHS[1])))
    jax.tree.map(np.testing.assert_array_equal, params, wanted)
    assert (trained.model.pool, len(classes)) == ("mean", 1000)
