"""A torchvision of nothing: timm imports it, its ViTs don't use it, and there is no build of it
beside PyTorch's for CPUs.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types


class _Thing(type):
    """A class that has whatever is asked of it."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Thing(name, (), {})


class _Module(types.ModuleType):
    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Thing(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return (
            importlib.machinery.ModuleSpec(name, self, is_package=True)
            if name.split(".")[0] == "torchvision"
            else None
        )

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        """There is nothing to run."""


def import_timm():
    """timm, with a torchvision of nothing where there isn't one."""
    if importlib.util.find_spec("torchvision") is None:
        finder = _Finder()
        sys.meta_path.append(finder)
        try:
            import timm
        finally:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]
        return timm
    import timm

    return timm
