"""The JSON object of an architecture, for spaces without a form of their own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vintk_jax.spaces.by_choices import InvalidArchitecture, numbered_name


def _lists(value: Any) -> Any:
    """A value with its tuples as lists, all the way down."""
    return [_lists(v) for v in value] if isinstance(value, list | tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def to_json(arch: Any) -> dict[str, Any]:
    """The fields of a dataclass, tuples as lists."""
    return {name: _lists(value) for name, value in dataclasses.asdict(arch).items()}


def from_json(space: Any, fields: Mapping[str, Any]) -> Any:
    """The dataclass of these fields.

    Its decisions have to be options of the space and decode to it again.

    Raises:
        InvalidArchitecture: naming the field that is missing, unknown, or has a value outside the
            space.
    """
    example = space.example()
    names = [field.name for field in dataclasses.fields(example)]
    missing = [name for name in names if name not in fields]
    unknown = [name for name in fields if name not in names]
    if missing or unknown:
        what = f"without {', '.join(missing)}" if missing else f"with {', '.join(unknown)}"
        raise InvalidArchitecture(
            f"Expected an architecture of {space.name} with {', '.join(names)}, got one {what}."
        )
    for name in names:
        if isinstance(getattr(example, name), tuple) != isinstance(fields[name], list | tuple):
            wanted = "a list" if isinstance(getattr(example, name), tuple) else "one value"
            raise InvalidArchitecture(
                f"Expected {wanted}, as in {to_json(example)}, got {name}={fields[name]!r}."
            )
    # Without __init__, which need not take values from outside the space.
    unchecked = object.__new__(type(example))
    for name, value in fields.items():
        object.__setattr__(unchecked, name, _tuples(value))
    chosen = space.encode(unchecked)
    for name, options in space.choices().items():
        if chosen[name] not in options:
            numbered = None if hasattr(example, name) else numbered_name(name)
            what = f"{name}={chosen[name]!r}"
            if numbered:
                what = f"{numbered[0]}={chosen[name]!r} in place {numbered[1]}"
            raise InvalidArchitecture(
                f"Expected for {space.name} one of {', '.join(map(str, options))}, got {what}."
            )
        chosen[name] = options[options.index(chosen[name])]  # the space's own 4.0 for a 4
    arch = space.decode(chosen)
    for name in names:
        value = _tuples(fields[name])
        wanted = getattr(arch, name)
        if isinstance(wanted, tuple) and len(value) != len(wanted):
            at_depth = f" at depth={chosen['depth']}" if "depth" in chosen else ""
            raise InvalidArchitecture(
                f"Expected for {space.name} {len(wanted)} entries of {name}{at_depth}, got "
                f"{len(value)}."
            )
        if value != wanted:
            raise InvalidArchitecture(
                f"Expected for {space.name} with these other fields {name}={wanted!r}, got "
                f"{fields[name]!r}."
            )
    return arch
