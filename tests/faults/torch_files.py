"""Files as PyTorch writes them, without PyTorch, and pickles that no PyTorch writes."""

import io
import pickle
import zipfile

import numpy as np


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
        self.module = module
        self.name = name
        self.arguments = arguments


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
