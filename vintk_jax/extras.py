"""Packages that only some commands need, and the line that installs them."""

from importlib import metadata

from packaging.requirements import Requirement

from vintk_jax.errors import UserError


class MissingPackage(UserError):
    """A command needs a package that the light installation leaves out."""


def install_line(extra: str) -> str:
    """The shell command that installs what an extra of pyproject.toml names."""
    wanted = []
    for text in metadata.requires("vintk_jax") or ():
        requirement = Requirement(text)
        if requirement.marker is not None and requirement.marker.evaluate({"extra": extra}):
            wanted.append(f"'{requirement.name}{requirement.specifier}'")
    return f"pip install {' '.join(wanted)}"


def missing(what: str, error: ModuleNotFoundError, extra: str) -> MissingPackage:
    """The error to raise where an import failed.

    Args:
        what: what the user asked for, that needs the package.
        error: of the import.
        extra: the extra of pyproject.toml that has the package.
    """
    return MissingPackage(
        f"{what} needs the package {error.name}, which is not installed. Run: {install_line(extra)}"
    )
