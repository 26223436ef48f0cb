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
RATIO = 64
ALWAYS = 2**28


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


def check_archive(path: Path) -> dict[str, np.dtype]:
    """Whether the members of a zip archive may be unpacked; an npz's arrays are no larger than
    their members.

    Returns:
        The types of the arrays in it, by the names of their members.

    Raises:
        UserError: as `check_bytes`, and for an array whose header asks for more than is there.
        zipfile.BadZipFile: for a file that is no archive.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_bytes(path, sum(member.file_size for member in members))
        found = {}
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    found[member.filename] = _check_header(path, member, file.read(2**16))
        return found


def _check_header(path: Path, member: zipfile.ZipInfo, start: bytes) -> np.dtype:
    """An array takes the bytes behind its header, no more; its type."""
    header = io.BytesIO(start)
    version = np.lib.format.read_magic(header)
    # Version 3 is 2 with names of fields in UTF-8; sizes are read alike.
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(header)
    wanted = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and wanted > member.file_size - header.tell():
        raise UserError(
            f"{path} is damaged: the header of {member.filename} asks for {wanted:,} bytes, "
            f"{member.file_size - header.tell():,} are there."
        )
    return dtype
