"""A field of a config has one definition: its default value, its meaning, and a rule for what it
may be.

A table holds the definitions of a command's fields by dotted name, such as "model.depth". Config
files are filled from it and change values only: --help and the checks read meanings and rules from
the table.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from vintk_jax.defaults.rules import Rule


@dataclasses.dataclass(frozen=True)
class Field:
    """The definition of a field.

    Attributes:
        default: its value where nobody gives another.
        meaning: what --help says about it.
        rule: what it may be.
        used: False where a command has the field, but only its default is of use (other values are
            refused or change nothing); --help leaves it out.
    """

    default: Any
    meaning: str
    rule: Rule
    used: bool = True


Table = Mapping[str, Field]


def fields(config: ml_collections.ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every leaf."""
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from fields(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def filled(table: Table) -> ml_collections.ConfigDict:
    """A config of a table's fields, at their default values."""
    config = ml_collections.ConfigDict()
    add_fields(config, table)
    return config


def add_fields(config: ml_collections.ConfigDict, table: Table) -> None:
    """Add a table's fields to a config, at their default values."""
    for name, field in table.items():
        set_field(config, name, field.default)


def set_field(config: ml_collections.ConfigDict, name: str, value: Any) -> None:
    """Give a field its value by its dotted name; sections that are missing are made."""
    *sections, leaf = name.split(".")
    inside = config
    for section in sections:
        if section not in inside:
            inside[section] = ml_collections.ConfigDict()
        inside = inside[section]
    inside[leaf] = value


def unused(table: Table, *names: str) -> dict[str, Field]:
    """Those fields of a table, for a kind of config that has them without a use."""
    return {name: dataclasses.replace(table[name], used=False) for name in names}
