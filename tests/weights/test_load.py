"""What doesn't fit is named; what may differ is resampled, copied or drawn anew, by the rules."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from vintk_jax.errors import UserError
from vintk_jax.models import resample
from vintk_jax.models.passes import at_lengths
from vintk_jax.models.regions import Regions
from vintk_jax.models.segmenter import Segmenter
from vintk_jax.models.timesformer import TimeSformer
from vintk_jax.models.vit import ViT
from vintk_jax.weights import load_weights

SIZES = dict(
    embed_dim=6,
    num_heads=(2, 2),
    hidden=(8, 8),
    head_dim=3,
    num_classes=3,
    patch_size=4,
    native_grid=(3, 3),
)
IMAGES = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((2, 12, 12, 3))))


def vit(**fields):
    """A small one of two blocks."""
    return ViT(**{**SIZES, **fields})


def timm_names(params):
    """Our weights in timm's names and layouts."""
    found = {}
    for path, array in traverse_util.flatten_dict(params, sep="/").items():
        array = np.asarray(array)
        name = (
            path.replace("block_", "blocks/")
            .replace("attention", "attn")
            .replace("class_token/token", "cls_token")
        )
        name = (
            name.replace("positions/table", "pos_embed")
            .replace("patch_embed", "patch_embed/proj")
            .replace("/", ".")
        )
        if path == "patch_embed/kernel":
            array = array.transpose(3, 2, 0, 1)
        elif path.endswith("/kernel"):
            array = array.T
        elif path == "positions/table":
            array = array[None]
        found[name.replace(".kernel", ".weight").replace(".scale", ".weight")] = (
            np.ascontiguousarray(array, np.float32)
        )
    return found


@pytest.fixture(scope="module")
def own_variables(variables_for):
    """Variables of the small ViT."""
    return variables_for(vit(), IMAGES)


@pytest.fixture
def file(tmp_path, own_variables):
    """A function (edit of the names) -> a file, and the variables that it was made of."""
    variables = own_variables

    def write(edit=None):
        names = timm_names(variables["params"])
        save_file(edit(names) if edit else names, tmp_path / "w.safetensors")
        return tmp_path / "w.safetensors"

    return write, variables


def test_all_that_does_not_fit_is_named_at_once(file):
    """Missing, unknown, of another shape, and the number of classes, in one message."""
    write, _ = file

    def edit(names):
        del names["blocks.1.mlp.fc2.bias"]
        return names | {
            "blocks.0.norm1.weight": np.ones(5, np.float32),
            "dist_token": np.ones((1, 1, 6), np.float32),
        }

    with pytest.raises(UserError) as caught:
        load_weights(write(edit), vit(num_classes=4))
    said = str(caught.value)
    assert "missing are blocks.1.mlp.fc2.bias;" in said
    assert "nothing in the model takes dist_token;" in said
    assert "blocks.0.norm1.weight (as block_0/norm1/scale (5,) where (6,) is wanted)" in said
    assert "its classifier has 3 classes, the model 4;" in said
    assert "it is of a distilled DeiT, which has a second token" in said
    assert "head=new" in said


@pytest.mark.parametrize(
    ("depth", "said"),
    [(3, r"missing are blocks\.2\."), (1, r"nothing in the model takes blocks\.1\.")],
)
def test_whole_blocks(file, depth, said):
    """A model that is deeper or shallower than the file's."""
    with pytest.raises(UserError, match=said) as caught:
        load_weights(file[0](), vit(num_heads=(2,) * depth, hidden=(8,) * depth))
    assert str(caught.value).count("blocks.") == 12


def test_another_number_of_classes(file):
    """The head is drawn by the key, the rest is the file's; a second classifier is left out with
    the first.
    """
    write, variables = file
    second = {
        "head_dist.weight": np.ones((3, 6), np.float32),
        "head_dist.bias": np.ones(3, np.float32),
    }
    path = write(lambda names: names | second)
    with pytest.raises(UserError, match=r"head_dist\.bias, head_dist\.weight\. head=new"):
        load_weights(path, vit())
    said = []
    key = jax.random.key(3)
    found = load_weights(
        path,
        vit(num_classes=7),
        head="new",
        key=key,
        say=said.append,
    )["params"]
    assert found["head"]["kernel"].shape == (6, 7)
    assert 0 < np.abs(np.asarray(found["head"]["kernel"])).max() < 0.05
    np.testing.assert_array_equal(found["head"]["bias"], np.zeros(7))
    np.testing.assert_array_equal(found["norm"]["scale"], variables["params"]["norm"]["scale"])
    assert said == ["The classifier of 7 classes was drawn anew."]
    with pytest.raises(UserError, match="head to be file or new, got 'other'"):
        load_weights(write(), vit(), head="other")


def test_another_patch_size_and_grid(file, relative_error):
    """The kernel and positions are what the model itself resamples them to when it is called at
    that grid.
    """
    write, variables = file
    said = []
    other = vit(patch_size=6, native_grid=(2, 2))
    found = load_weights(write(), other, say=said.append)

    @jax.jit
    def run(found, variables):
        return other.apply(found, IMAGES), vit().apply(variables, IMAGES, (2, 2))

    assert relative_error(*run(found, variables)) < 1e-5
    assert ["4 to 6 pixels" in said[0], "3 x 3 to 2 x 2 tokens" in said[1]] == [True, True]


def test_positions_without_the_class_token(file):
    """Get a row of zeros for it."""
    write, variables = file
    table = variables["params"]["positions"]["table"]
    found = load_weights(
        write(lambda names: names | {"pos_embed": names["pos_embed"][:, 1:]}),
        vit(native_grid=(2, 2)),
    )
    table = np.array(table)
    table[0] = 0.0
    wanted = jax.jit(lambda table: resample.resample_positions(table, (3, 3), (2, 2)))(table)
    np.testing.assert_allclose(found["params"]["positions"]["table"], wanted, atol=1e-6)


def test_positions_of_no_grid_are_refused(file):
    """Eight rows are no square, with or without the class token's, and not the model's."""
    with pytest.raises(
        UserError, match=r"pos_embed \(as positions/table \(8, 6\) where \(10, 6\) is wanted\)"
    ):
        load_weights(file[0](lambda names: names | {"pos_embed": names["pos_embed"][:, :8]}), vit())


def test_norms_by_length_and_scanned_blocks(file, relative_error):
    """Every length starts with the file's norms; stacked blocks are the file's in order."""
    write, variables = file
    resizable = vit(norm_grids=((3, 3), (2, 2)), scan=True)
    found = load_weights(write(), resizable)

    @jax.jit
    def run(found, variables):
        return [
            (resizable.apply(found, IMAGES, grid), vit().apply(variables, IMAGES, grid))
            for grid in resizable.norm_grids
        ]

    for got, wanted in run(found, variables):
        assert relative_error(got, wanted) < 1e-5


def test_lengths_by_region(file, relative_error):
    """They start with the file's norms and know nothing: with all tokens cut, a pass on the finer
    grid. That is said.
    """
    write, variables = file
    every = Regions(2, 4)
    model = vit(norm_grids=((4, 4), every, (2, 2)), pool="mean")
    said = []
    found = load_weights(write(), model, say=said.append)
    (got,) = at_lengths(model, found, IMAGES, [every])
    wanted = vit(pool="mean").apply(variables, IMAGES, (4, 4))
    assert relative_error(got, wanted) < 1e-5
    assert np.asarray(found["params"]["reuse"]["fc1"]["kernel"]).any()
    assert any("second pass" in note for note in said)


@pytest.fixture(scope="module")
def logits():
    """A function (variables, images) -> the small ViT's logits."""
    return jax.jit(vit().apply)


@pytest.mark.parametrize("given", ["argument", "timm", "hugging face"])
def test_pixels(file, given, tmp_path, logits, relative_error):
    """Pixels from -1 to 1 told by hand, or by the JSON file that lies beside: the same logits from
    pixels standardised as ours.
    """
    write, variables = file
    path = write()
    colours = np.random.default_rng(1).uniform(size=IMAGES.shape)
    half = [0.5, 0.5, 0.5]
    if given == "timm":
        (tmp_path / "config.json").write_text(
            json.dumps({"pretrained_cfg": {"mean": half, "std": half}})
        )
    elif given == "hugging face":
        (tmp_path / "preprocessor_config.json").write_text(
            json.dumps({"image_mean": half, "image_std": half})
        )
    found = load_weights(path, vit(), pixels="half" if given == "argument" else "")
    standard = (colours - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    wanted = logits(variables, np.float32(2 * colours - 1))
    assert relative_error(logits(found, np.float32(standard)), wanted) < 1e-5
    np.testing.assert_array_equal(
        load_weights(path, vit(), pixels="own")["params"]["patch_embed"]["kernel"],
        variables["params"]["patch_embed"]["kernel"],
    )
    with pytest.raises(UserError, match=r"Expected pixels to be .*, got 'grey'"):
        load_weights(path, vit(), pixels="grey")


def test_heads_that_are_told(file, tmp_path):
    """A width divides into other heads as well, with the same shapes; where something says how
    many, it is held to it.
    """
    path = file[0]()
    (tmp_path / "config.json").write_text('{"num_attention_heads": 3}')
    with pytest.raises(UserError, match="its blocks have 3 heads, the model's 2"):
        load_weights(path, vit())


def test_the_wrong_kind(file, tmp_path):
    """Another model, a file of something else."""
    path = file[0]()
    with pytest.raises(UserError, match=r"timm/DeiT, the model is a TimeSformer"):
        load_weights(path, TimeSformer(**SIZES))
    with pytest.raises(UserError, match="got a Segmenter"):
        load_weights(path, Segmenter(6, (1, 1, 1), (2,) * 3, (8,) * 3, 3, 3))
    save_file({"conv1.weight": np.ones(2, np.float32)}, tmp_path / "resnet.safetensors")
    with pytest.raises(
        UserError, match=r"names of no known kind: conv1\.weight.*Known are timm/DeiT"
    ):
        load_weights(tmp_path / "resnet.safetensors", vit())
