"""Files that were made to harm: refused in their turn, and the next file is read as ever."""

import contextlib
import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import psutil
import pytest

from vintk_jax import unpacking
from vintk_jax.data import sources
from vintk_jax.errors import UserError
from vintk_jax.weights import files, load
from vintk_jax.weights.torch_file import read_torch


def archive(path, pickled, compression=zipfile.ZIP_STORED, **data):
    """A file as torch.save lays it out."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        for key, content in data.items():
            file.writestr(f"archive/data/{key}", content)
    return path


class Named:
    """Pickles as a name, or as a call of it."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


class Storage:
    """Pickles as a reference to a storage."""

    def __init__(self, key, size):
        self.id = ("storage", Named("torch", "FloatStorage"), key, "cpu", size)


class Pickler(pickle._Pickler):
    """Writes names that aren't importable here, and storages."""

    def persistent_id(self, value):
        """As torch's."""
        return value.id if isinstance(value, Storage) else None

    def save(self, value, save_persistent_id=True):
        """A name, and a call of it with its arguments."""
        if isinstance(value, Named):
            self.write(f"c{value.module}\n{value.name}\n".encode())
            if value.arguments:
                super().save(value.arguments)
                self.write(pickle.REDUCE)
            return
        super().save(value, save_persistent_id)


def pickled(value):
    """In protocol 2, as torch does it."""
    out = io.BytesIO()
    Pickler(out, protocol=2).dump(value)
    return out.getvalue()


def tensor(key, size, shape, strides):
    """A call that rebuilds one."""
    return Named("torch._utils", "_rebuild_tensor_v2", Storage(key, size), 0, shape, strides)


def good(path):
    """A file with one weight of four numbers."""
    content = np.arange(4, dtype=np.float32).tobytes()
    return archive(path, pickled({"w": tensor("0", 4, (4,), (1,))}), **{"0": content})


@pytest.mark.parametrize(
    "name",
    [
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch._utils", "_rebuild_parameter"),
        ("argparse", "Namespace"),
        ("collections", "OrderedDict"),
        ("torch", "FloatStorage"),
    ],
)
def test_what_a_pickle_sets_on_a_name_harms_no_later_file(tmp_path, name):
    """BUILD with attributes for whatever a name stands for; then an ordinary file."""
    state = (None, {"array": 1, "__init__": 1, "values": 2, "shape": 3, "itemsize": 4})
    build = f"c{name[0]}\n{name[1]}\n".encode() + pickle.dumps(state, protocol=2)[2:-1] + b"b."
    with contextlib.suppress(UserError):  # refused, or read as nothing: both do
        read_torch(archive(tmp_path / "bad.pth", b"\x80\x02" + build))
    np.testing.assert_array_equal(read_torch(good(tmp_path / "w.pth"))["w"], np.arange(4))
    settings = Named("argparse", "Namespace", ())
    path = archive(tmp_path / "s.pth", pickled({"args": settings, "epoch": 3}))
    assert read_torch(path)["args"].values == {}


def test_views_are_no_larger_than_a_file_may_be(tmp_path):
    """A few hundred bytes with strides of 0; and many views of one storage, each allowed alone."""
    content = np.zeros(1, np.float32).tobytes()
    wide = {"w": tensor("0", 1, (20_000, 20_000), (0, 0))}
    with pytest.raises(UserError, match=r"asks for 1\.49 GiB of memory; 0\.25 GiB are allowed"):
        read_torch(archive(tmp_path / "wide.pth", pickled(wide), **{"0": content}))
    many = {str(i): tensor("0", 1, (1_000, 10_000), (0, 0)) for i in range(20)}
    with pytest.raises(UserError, match=r"are allowed"):
        read_torch(archive(tmp_path / "many.pth", pickled(many), **{"0": content}))


def test_deflated_zeros_are_refused_before_they_are_unpacked(tmp_path):
    """As weights of PyTorch and of NumPy, and as a set of images; nothing is allocated."""
    zeros = bytes(2**29)
    before = psutil.Process().memory_info().rss
    path = archive(
        tmp_path / "w.pth",
        pickled({"w": tensor("0", 2**27, (2**27,), (1,))}),
        zipfile.ZIP_DEFLATED,
        **{"0": zeros},
    )
    with pytest.raises(UserError, match=r"asks for 0\.50 GiB"):
        read_torch(path)
    npz = tmp_path / "w.npz"
    np.savez_compressed(npz, w=np.frombuffer(zeros, np.uint8))
    with pytest.raises(UserError, match=r"asks for 0\.50 GiB"):
        files.open_weights(npz)
    with pytest.raises(UserError, match=r"asks for 0\.50 GiB"):
        sources.open_source(f"npz:{npz}", "train")
    assert psutil.Process().memory_info().rss - before < 2**29 + 2**28


def test_a_header_that_asks_for_more_than_is_there(tmp_path):
    """An array of a million rows in a file of a few."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**3)}
    )
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("w.npy", header.getvalue() + bytes(16))
    with pytest.raises(UserError, match=r"w\.npy asks for 4,000,000,000 bytes, 16 are there"):
        files.open_weights(path)


def test_a_storage_of_the_older_layout_is_no_larger_than_the_file(tmp_path):
    """Its size stands in the pickle; the numbers follow."""
    magic, protocol = 0x1950A86A20F9469CFC6C, 1001
    parts = [pickle.dumps(part, protocol=2) for part in (magic, protocol, {"little_endian": True})]
    parts.append(pickled({"w": tensor("0", 2**40, (4,), (1,))}))
    parts += [pickle.dumps(["0"], protocol=2), struct.pack("<q", 2**40), bytes(16)]
    path = tmp_path / "w.pth"
    path.write_bytes(b"".join(parts))
    with pytest.raises(UserError, match="a storage is larger than the file"):
        read_torch(path)


def test_a_list_within_lists_is_read_once(tmp_path):
    """Ten references to ten references to ...: 10^30 if each were followed."""
    nested = [1]
    for _ in range(30):
        nested = [nested] * 10
    assert len(read_torch(archive(tmp_path / "w.pth", pickled(nested)))) == 10


def test_ordinary_files_are_within_the_limit(tmp_path):
    """Images that compress well, and a tensor that was expanded."""
    path = tmp_path / "set.npz"
    np.savez_compressed(path, x=np.zeros((500, 64, 64, 3), np.uint8))
    unpacking.check_archive(path)
    mask = {"mask": tensor("0", 1, (300, 300), (0, 0))}
    found = read_torch(archive(tmp_path / "w.pth", pickled(mask), **{"0": bytes(4)}))
    assert found["mask"].shape == (300, 300)


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
        load.check_parts(files.open_weights(path))


def test_numbers_that_are_none_are_told(tmp_path):
    """NaN in a weight, by its name."""
    path = tmp_path / "w.npz"
    np.savez(path, fine=np.ones(3), broken=np.array([1.0, np.nan]))
    (note,) = files.open_weights(path).notes
    assert "NaN or infinite numbers in broken;" in note
