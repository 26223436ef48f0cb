"""PyTorch's files: hostile ones are refused and nothing of them runs; with PyTorch, what it has
saved comes back.
"""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from operator import attrgetter

import numpy as np
import pytest

from vintk_jax.errors import UserError
from vintk_jax.weights.files import open_weights
from vintk_jax.weights.torch_file import read_torch


def archive(path, pickled, **data):
    """A file as torch.save lays it out."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        for key, content in data.items():
            file.writestr(f"archive/data/{key}", content)
    return path


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("layout", ["archive", "stream"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_is_not_executed(tmp_path, layout, protocol):
    """A pickle that would make a folder: refused by the function's name, and there is no folder."""
    made = tmp_path / "made"
    pickled = pickle.dumps({"model": Calls(os.mkdir, str(made))}, protocol=protocol)
    path = tmp_path / "w.pth"
    archive(path, pickled) if layout == "archive" else path.write_bytes(pickled)
    with pytest.raises(
        UserError, match=r"posix\.mkdir, which is no part of a weight; nothing of it was executed"
    ):
        read_torch(path)
    assert not made.exists()


OTHER_WAYS = [eval, getattr, __import__, os.system, pickle.loads, open, OrderedDict.fromkeys]


@pytest.mark.parametrize("function", OTHER_WAYS, ids=attrgetter("__qualname__"))
def test_other_ways_out(tmp_path, function):
    """Builtins, and attributes of what is allowed."""
    path = archive(tmp_path / "w.pth", pickle.dumps(Calls(function, "1", "2"), protocol=4))
    with pytest.raises(UserError, match="can't be opened safely"):
        read_torch(path)


def tensor_file(path, *, size=4, offset=0, shape=(2, 2), strides=(2, 1), content=b"\0" * 16):
    """An archive of one tensor, by hand: GLOBALs are written as text, since there is no torch to
    name them.
    """
    out = io.BytesIO()
    body = (
        "(dV{key}\nctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\n"
        "I{size}\ntQI{offset}\n"
        "({shape}t({strides}tI00\n(dtRs."
    )

    def number(values):
        return "".join(f"I{value}\n" for value in values)

    out.write(
        body.format(
            key="w", size=size, offset=offset, shape=number(shape), strides=number(strides)
        ).encode()
    )
    return archive(path, out.getvalue(), **{"0": content})


def test_a_tensor_by_hand(tmp_path):
    """Strides and offset: a transposed view."""
    content = np.arange(4, dtype=np.float32).tobytes()
    found = read_torch(tensor_file(tmp_path / "w.pth", strides=(1, 2), content=content))["w"]
    np.testing.assert_array_equal(found, [[0, 2], [1, 3]])


@pytest.mark.parametrize(
    "fields",
    [
        {"offset": 1},
        {"strides": (4, 1)},
        {"shape": (3, 2)},
        {"size": 400},
        {"content": b"\0" * 8},
    ],
    ids=str,
)
def test_tensors_stay_within_their_numbers(tmp_path, fields):
    """A view beyond its storage would show other memory."""
    with pytest.raises(UserError, match="beyond the numbers that are there"):
        read_torch(tensor_file(tmp_path / "w.pth", **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"offset": -1},
        {"strides": (-1, 1)},
        {"shape": (-2, 2)},
        {"strides": (1,)},
        {"offset": 2**63},
    ],
    ids=str,
)
def test_tensors_have_sizes(tmp_path, fields):
    """From 0 on, and one of each for each axis."""
    with pytest.raises(UserError, match="no whole numbers from 0 on"):
        read_torch(tensor_file(tmp_path / "w.pth", **fields))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"\x80\x02.", b"PK\x03\x04nothing", b"\x80\x02}q\x00.", b"{}", b"\x93NUMPY"],
)
def test_broken_files(tmp_path, content):
    """One message, whatever the bytes."""
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"w\.pth"):
        open_weights(path)


def test_files_that_are_cut_short(tmp_path):
    """An archive and a .npz without their ends, a .npz of objects, a folder without weights, a path
    to nowhere.
    """
    whole = tensor_file(tmp_path / "w.pth")
    whole.write_bytes(whole.read_bytes()[:-30])
    np.savez(tmp_path / "objects.npz", a=np.array([print], object))
    for name in ("w.pth", "objects.npz", "nowhere", "."):
        with pytest.raises(UserError):
            open_weights(tmp_path / name)


def test_a_checkpoint_without_weights(tmp_path):
    """Says what it holds instead."""
    with pytest.raises(UserError, match="under model or state_dict, got optimizer, epoch"):
        open_weights(archive(tmp_path / "w.pth", pickle.dumps({"optimizer": {}, "epoch": 3})))


@pytest.mark.peers
@pytest.mark.parametrize("archived", [True, False])
def test_what_torch_saves(tmp_path, archived):
    """All types, views, an empty tensor, a scalar, shared numbers, parameters, settings beside
    them.
    """
    torch = pytest.importorskip("torch", reason="needs PyTorch: make test-full installs it")
    import argparse

    numbers = torch.arange(24, dtype=torch.float32)
    state = OrderedDict(
        shared=numbers[3:9].view(2, 3),
        turned=numbers.view(4, 6).T,
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(2.5),
        half=torch.tensor([1.5], dtype=torch.float16),
        brain=torch.tensor([1.5], dtype=torch.bfloat16),
        whole=torch.tensor([7]),
        truth=torch.tensor([True, False]),
        parameter=torch.nn.Parameter(torch.ones(2)),
        expanded=torch.ones(1, 3).expand(2, 3),
    )
    settings = argparse.Namespace(
        lr=0.1, device=torch.device("cpu"), where=tmp_path, numpy=np.float64(3)
    )
    optimizer = torch.optim.AdamW([state["parameter"]]).state_dict()
    torch.save(
        {"model": state, "args": settings, "optimizer": optimizer, "dtype": torch.float32},
        tmp_path / "w.pth",
        _use_new_zipfile_serialization=archived,
    )
    opened = open_weights(tmp_path / "w.pth")
    assert list(opened.arrays) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(opened.arrays[name], tensor.detach().float().numpy())
    assert opened.settings["lr"] == 0.1
