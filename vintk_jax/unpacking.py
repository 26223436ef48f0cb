"""How much a file may unpack into, checked before any memory is taken for it.

A few hundred bytes can ask for gigabytes: deflated zeros, views with strides of 0, a header with a
shape of its own. What a file may take is bounded by its size and by the memory that is free.
"""

import io
import math
import zipfile
from pathlib import Path

import numpy as np
import psutil

from vintk_jax.errors import UserError

# Our choice: what compresses better than that holds nothing; small files are let be.
RATIO, ALWAYS = 64, 2**28


def most_bytes(path: Path) -> int:
    """What the file may unpack into: 64 times its size or 256 MiB, the larger; and no more than the
    memory that is free.
    """
    wanted = max(RATIO * path.stat().st_size, ALWAYS)
    return min(wanted, psutil.virtual_memory().available)


def check_bytes(path: Path, wanted: int) -> None:
    """Whether so many bytes may be unpacked.

    Raises:
        UserError: naming both numbers, if they are more than `most_bytes`.
    """
    most = most_bytes(path)
    if wanted > most:
        raise UserError(
            f"{path} has {path.stat().st_size:,} bytes and asks for {wanted / 2**30:.2f} GiB of "
            f"memory; {most / 2**30:.2f} GiB are allowed ({RATIO} times a file's size, 256 MiB at "
            "least, and what is free). If it is meant so, save it anew without compression."
        )


def check_archive(path: Path) -> None:
    """Whether the members of a zip archive may be unpacked; an npz's arrays are no larger than
    their members.

    Raises:
        UserError: as `check_bytes`, and for an array whose header asks for more than is there.
        zipfile.BadZipFile: for a file that is no archive.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_bytes(path, sum(member.file_size for member in members))
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    _check_header(path, member, file.read(2**16))


def _check_header(path: Path, member: zipfile.ZipInfo, start: bytes) -> None:
    """An array takes the bytes behind its header, no more."""
    header = io.BytesIO(start)
    version = np.lib.format.read_magic(header)
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    if version[0] not in read:
        return
    shape, _, dtype = read[version[0]](header)
    wanted = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and wanted > member.file_size - header.tell():
        raise UserError(
            f"{path} is damaged: the header of {member.filename} asks for {wanted:,} bytes, "
            f"{member.file_size - header.tell():,} are there."
        )
