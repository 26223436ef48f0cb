"""Files that were made to harm: refused in their turn, and the next file is read as ever."""

import argparse
import contextlib
import io
import pickle
import struct
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import psutil
import pytest
from faults.torch_files import Named, archive, good, pickled, tensor

from vintk_jax import unpacking
from vintk_jax.data import sources
from vintk_jax.errors import UserError
from vintk_jax.weights import files
from vintk_jax.weights.torch_file import read_torch


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


def test_a_header_of_version_3_is_checked(tmp_path):
    """NumPy writes it for names of fields beyond Latin-1, and takes it for any array."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000), }\n"
    start = b"\x93NUMPY\x03\x00" + struct.pack("<I", len(header)) + header
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("w.npy", start + bytes(16))
    with pytest.raises(UserError, match=r"w\.npy asks for 4,000,000,000 bytes, 16 are there"):
        files.open_weights(path)


def test_a_storage_of_the_older_layout_is_no_larger_than_the_file(tmp_path):
    """Its size stands in the pickle; the numbers follow."""
    magic = 0x1950A86A20F9469CFC6C
    protocol = 1001
    parts = [pickle.dumps(part, protocol=2) for part in (magic, protocol, {"little_endian": True})]
    parts.append(pickled({"w": tensor("0", 2**40, (4,), (1,))}))
    parts += [pickle.dumps(["0"], protocol=2), struct.pack("<q", 2**40), bytes(16)]
    path = tmp_path / "w.pth"
    path.write_bytes(b"".join(parts))
    with pytest.raises(UserError, match="a storage is larger than the file"):
        read_torch(path)


NESTED = b"K\x00\x85" + b"2\x86" * 60  # a tuple of itself twice, sixty times: DUP, TUPLE2


@pytest.mark.parametrize(
    "body",
    [
        b"}" + NESTED + b"K\x01s.",
        b"}(" + NESTED + b"K\x01u.",
        b"(" + NESTED + b"K\x01d.",
        b"\x8f(" + NESTED + b"\x90.",
        b"(" + NESTED + b"\x91.",
        b"ccollections\nOrderedDict\n](" + NESTED + b"K\x01\x86e\x85R.",
        b"}(((K\x00" + b"2" * 999 + b"t" + b"2" * 999 + b"tK\x01u.",
        b"}\x8b" + struct.pack("<i", 10**5) + b"\x01" * 10**5 + b"K\x01s.",
        b"}(\x91K\x01s.",
    ],
    ids=[
        "SETITEM",
        "SETITEMS",
        "DICT",
        "ADDITEMS",
        "FROZENSET",
        "OrderedDict",
        "wide",
        "a long number",
        "a set",
    ],
)
def test_keys_that_take_years_to_hash(tmp_path, body):
    """Refused before they are hashed, wherever pickles make keys."""
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"key of more than 1000 parts|a frozenset as a key"):
        read_torch(archive(tmp_path / "w.pth", b"\x80\x04" + body))
    assert time.perf_counter() - start < 5


def test_ordinary_keys_are_taken(tmp_path):
    """Of dictionaries and sets; and a large pickle is read in seconds."""
    value = {"a": 1, 2: 3, (1, ("b", None)): 4, 0.5: True, b"x": {5}}
    found = read_torch(archive(tmp_path / "w.pth", pickle.dumps(value, protocol=4)))
    assert found == value
    large = {f"name.{i}": [i, str(i)] for i in range(50_000)}
    start = time.perf_counter()
    assert read_torch(archive(tmp_path / "large.pth", pickle.dumps(large, protocol=2))) == large
    assert time.perf_counter() - start < 20  # under 1 s alone


@pytest.mark.parametrize("archived", [True, False])
def test_ordinary_checkpoints_are_taken(tmp_path, archived):
    """As torch.save lays them out, without torch: tensors of all ranks, names' own notes, settings,
    an optimiser, a set.
    """
    state = OrderedDict(
        w=tensor("0", 4, (2, 2), (1, 2)),
        scalar=tensor("0", 4, (), ()),
        empty=tensor("0", 4, (0, 3), (3, 1)),
    )
    state._metadata = OrderedDict([("", {"version": 1})])
    settings = argparse.Namespace(lr=0.1, tags={1, "a"}, where=Path("x"))
    optimizer = {"state": {0: {"step": 3}}, "param_groups": [{"betas": (0.9, 0.99)}]}
    whole = pickled({"model": state, "args": settings, "optimizer": optimizer})
    numbers = np.arange(4, dtype=np.float32)
    path = tmp_path / "w.pth"
    if archived:
        archive(path, whole, **{"0": numbers.tobytes()})
    else:
        before = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        parts = [pickle.dumps(part, protocol=2) for part in before]
        parts += [whole, pickle.dumps(["0"], protocol=2), struct.pack("<q", 4), numbers.tobytes()]
        path.write_bytes(b"".join(parts))
    opened = files.open_weights(path)
    assert list(opened.arrays) == ["w", "scalar", "empty"]
    np.testing.assert_array_equal(opened.arrays["w"], [[0, 2], [1, 3]])
    assert opened.arrays["scalar"].shape == ()
    assert opened.arrays["empty"].shape == (0, 3)
    assert opened.settings["lr"] == 0.1


def test_storages_have_plain_names_and_sizes(tmp_path):
    """A tuple of tuples would be written out as text; a list would be repeated by a shape."""

    def by_hand(key=b"X\x01\x00\x00\x000", size=b"K\x04", shape=b"K\x04\x85", offset=b"K\x00"):
        body = (
            b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        )
        body += key + b"X\x03\x00\x00\x00cpu" + size + b"tQ" + offset + shape + b"K\x01\x85tR."
        return archive(tmp_path / "w.pth", b"\x80\x02" + body, **{"0": bytes(16)})

    np.testing.assert_array_equal(read_torch(by_hand()), np.zeros(4))
    for fields in ({"key": NESTED}, {"size": NESTED}, {"key": b"]"}, {"size": b"G" + bytes(8)}):
        with pytest.raises(UserError, match="something that is no storage of numbers"):
            read_torch(by_hand(**fields))
    repeated = b"J\x00\x00\x00\x10]K\x00a\x86"  # (2**28, [0])
    for fields in ({"shape": repeated}, {"shape": NESTED}, {"shape": b"]"}, {"offset": b"]"}):
        with pytest.raises(UserError, match="no whole numbers from 0 on"):
            read_torch(by_hand(**fields))


def test_numbers_are_not_changed_after_they_were_made(tmp_path):
    """BUILD on a tensor and on a storage; and the type of numbers is nothing that can be called."""
    made = pickled(tensor("0", 4, (4,), (1,)))[:-1]
    state = b"}X\x05\x00\x00\x00shapeJ\x00\x00\x00\x10]K\x00a\x86sb."
    with pytest.raises(UserError, match="changes numbers that it has made"):
        read_torch(archive(tmp_path / "w.pth", made + state, **{"0": bytes(16)}))
    called = pickled({"w": Named("torch", "FloatStorage", [[[0.0] * 9] * 9] * 9)})
    with pytest.raises(UserError, match="not callable"):
        read_torch(archive(tmp_path / "c.pth", called))
    two = {"a": tensor("0", 4, (4,), (1,)), "b": tensor("0", 8, (4,), (1,))}
    with pytest.raises(UserError, match="storage 0 is of two types or sizes"):
        read_torch(archive(tmp_path / "t.pth", pickled(two), **{"0": bytes(32)}))


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
