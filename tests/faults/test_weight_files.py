"""Files of weights: which of several sets is taken, and what is no weight, is told."""

import errno
import io
import json
import struct
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest
from faults.torch_files import archive, good, pickled, tensor
from safetensors.numpy import save_file

from vintk_jax import unpacking
from vintk_jax.errors import UserError
from vintk_jax.weights import files, mismatch


def test_which_of_two_sets_of_weights_is_told(tmp_path):
    """A checkpoint with a running mean: that is taken unless the other is asked for."""
    content = {str(i): np.full(2, i, np.float32).tobytes() for i in range(2)}
    both = OrderedDict(
        model={"w": tensor("0", 2, (2,), (1,))},
        model_ema={"w": tensor("1", 2, (2,), (1,))},
        epoch=3,
    )
    path = archive(tmp_path / "w.pth", pickled(dict(both)), **content)
    for averaged, name, value in ((True, "model_ema", 1), (False, "model", 0)):
        opened = files.open_weights(path, averaged)
        np.testing.assert_array_equal(opened.arrays["w"], [value] * 2)
        assert len(opened.notes) == 1
        assert f"{name} was taken" in opened.notes[0]
    assert files.open_weights(good(tmp_path / "one.pth")).notes == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dist_token", "a distilled DeiT, which has a second token"),
        ("base.blocks.0.attn.qkv.lora_A.weight", "adapters"),
        ("fc_norm.weight", "averages its tokens ahead of the last norm"),
    ],
)
def test_models_of_another_kind_are_named(tmp_path, name, said):
    """Before their sizes are read: not as "18 positions"."""
    path = tmp_path / "w.npz"
    np.savez(path, **{name: np.ones(3), "cls_token": np.ones(3)})
    with pytest.raises(UserError, match=said):
        mismatch.check_parts(files.open_weights(path))


def test_numbers_that_are_none_are_told(tmp_path):
    """NaN in a weight, by its name."""
    path = tmp_path / "w.npz"
    np.savez(path, fine=np.ones(3), broken=np.array([1.0, np.nan]))
    (note,) = files.open_weights(path).notes
    assert "NaN or infinite numbers in broken;" in note


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.ones(2, np.complex64), "complex64"),
        (np.zeros(2, "datetime64[s]"), r"datetime64\[s\]"),
        (np.zeros(2, "timedelta64[s]"), r"timedelta64\[s\]"),
        (np.zeros(2, [("a", "f4")]), r"\[\('a', '<f4'\)\]"),
        (np.zeros(2, [("a", "u1"), ("b", "u1")]), r"\[\('a', 'u1'\), \('b', 'u1'\)\]"),
        (np.zeros(2, "V3"), r"\|V3"),
        (np.array([None]), "object"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value.dtype),
)
def test_arrays_that_hold_no_real_numbers_are_named(tmp_path, array, kind):
    """Not opened as real ones, and not as the two bytes of a bfloat16."""
    path = tmp_path / "w.npz"
    np.savez(path, fine=np.ones(3), odd=array)
    with pytest.raises(UserError, match=f"got odd of the type {kind}, which isn't supported"):
        files.open_weights(path)


def test_texts_in_an_npz_are_left_out(tmp_path):
    """Told by name; numbers of all types are read, bfloat16 too."""
    path = tmp_path / "w.npz"
    brain = np.array([1.5], ml_dtypes.bfloat16)
    np.savez(path, w=np.ones(3), brain=brain, whole=np.arange(2), names=["a"], raw=np.bytes_(b"x"))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("README.txt", "weights")
    opened = files.open_weights(path)
    assert list(opened.arrays) == ["w", "brain", "whole"]
    assert {array.dtype for array in opened.arrays.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(opened.arrays["brain"], [1.5])
    np.testing.assert_array_equal(opened.arrays["whole"], [0, 1])
    assert opened.notes == (f"{path} holds texts, which were left out: names, raw, README.txt.",)


def safetensors(path, header, data=bytes(8)):
    """A file as the library lays it out, with any header."""
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + data)
    return path


@pytest.mark.parametrize("kind", ["C64", "F8_E4M3", "F8_E5M2", "F4"])
def test_types_that_numpy_lacks_are_named(tmp_path, kind):
    """By the weight's name and the type's; the file is whole."""
    described = {"w": {"dtype": kind, "shape": [1], "data_offsets": [0, 8]}}
    path = safetensors(tmp_path / "w.safetensors", json.dumps(described))
    with pytest.raises(UserError, match=f"got w of the type {kind}, which isn't supported"):
        files.open_weights(path)


def test_types_that_numpy_has_are_read(tmp_path):
    """All that a .safetensors file may have of them."""
    path = tmp_path / "w.safetensors"
    kinds = ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
    arrays = {kind: np.ones(2, kind) for kind in kinds}
    save_file(arrays, path, {"format": "np"})
    opened = files.open_weights(path)
    assert set(opened.arrays) == set(kinds)
    assert all(array.tolist() == [1, 1] for array in opened.arrays.values())
    described = {"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    data = np.array([1.5, -2], ml_dtypes.bfloat16).tobytes()
    opened = files.open_weights(safetensors(path, json.dumps(described), data))
    np.testing.assert_array_equal(opened.arrays["w"], [1.5, -2])
    with pytest.raises(UserError, match=r"no whole \.safetensors file"):
        files.open_weights(safetensors(path, json.dumps(described), data[:2]))
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(UserError, match=r"no whole \.safetensors file"):
        files.open_weights(path)


def test_two_weights_of_one_name_are_told(tmp_path):
    """By a wrapper's prefix, in an archive, in a header, and as a number: none vanishes."""
    npz = tmp_path / "w.npz"
    np.savez(npz, **{"w": np.ones(3), "module.w": np.zeros(3)})
    with pytest.raises(UserError, match=r"got 'w' and 'module\.w', which are both w"):
        files.open_weights(npz)
    content = io.BytesIO()
    np.save(content, np.ones(2))
    with zipfile.ZipFile(npz, "w") as file:
        file.writestr("w.npy", content.getvalue())
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("w.npy", content.getvalue())
    with pytest.raises(UserError, match=r"got 'w\.npy' and 'w\.npy', which are both w"):
        files.open_weights(npz)
    one = '"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}'
    path = safetensors(tmp_path / "w.safetensors", f"{{{one}, {one}}}")
    with pytest.raises(UserError, match="got 'w' and 'w', which are both w"):
        files.open_weights(path)
    numbers = {1: tensor("0", 4, (4,), (1,)), "1": tensor("0", 4, (4,), (1,))}
    path = archive(tmp_path / "w.pth", pickled(numbers), **{"0": bytes(16)})
    with pytest.raises(UserError, match="got 1 and '1', which are both 1"):
        files.open_weights(path)


def test_zips_that_are_not_whole_are_told_as_such(tmp_path):
    """One cut in half, and one whose list of members is damaged; neither as PyTorch's alone."""
    path = tmp_path / "w.npz"
    np.savez(path, w=np.ones(300), v=np.ones(300))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"a whole zip archive \(an \.npz or \.pth file\).*its end"):
        files.open_weights(path)
    path.write_bytes(whole.replace(b"PK\x01\x02", b"PK\x01\x07"))
    with pytest.raises(UserError, match="a damaged list of its members"):
        files.open_weights(path)


def test_a_disk_that_fails_is_no_damaged_file(tmp_path, monkeypatch):
    """What may pass is told as what it is."""
    path = tmp_path / "w.npz"
    np.savez(path, w=np.ones(3))

    def failing(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(unpacking, "check_archive", failing)
    with pytest.raises(OSError, match="Input/output error"):
        files.open_weights(path)
