"""The definition of every field that a config may have, and the check of a config's values by it:
when a command line is read, before data is opened or anything is written.

A new field gets a line in a table of `vintk_jax.defaults`, and a new kind of config gets its table
here.
"""

from collections.abc import Collection
from pathlib import Path

import ml_collections

from vintk_jax.defaults.adapt import ADAPT
from vintk_jax.defaults.adaptive import ADAPTIVE
from vintk_jax.defaults.clips import CLIPS
from vintk_jax.defaults.export import EXPORT
from vintk_jax.defaults.field import Table, fields
from vintk_jax.defaults.infer import INFER
from vintk_jax.defaults.rank import RANK
from vintk_jax.defaults.rules import CHECKED_WHERE_USED
from vintk_jax.defaults.search import SEARCH
from vintk_jax.defaults.segmentation import SEGMENTATION
from vintk_jax.defaults.serve import SERVE
from vintk_jax.defaults.spectrum import SPECTRUM
from vintk_jax.defaults.training import TRAINING
from vintk_jax.defaults.weights import WEIGHTS
from vintk_jax.errors import UserError, nearest

TABLES: tuple[Table, ...] = (
    SEARCH,
    RANK,
    TRAINING,
    SEGMENTATION,
    CLIPS,
    WEIGHTS,
    ADAPTIVE,
    INFER,
    EXPORT,
    SERVE,
    SPECTRUM,
    ADAPT,
)

# Of names that the config's own table doesn't have.
RULES = {name: field.rule for table in TABLES for name, field in table.items()}


def table_of(config: ml_collections.ConfigDict) -> Table:
    """The table that defines a config's fields: the one with most of them, and of several such
    the smallest.
    """
    names = {name for name, _ in fields(config)}

    def fit(table: Table) -> tuple[int, int]:
        return len(names & table.keys()), -len(table)

    return max(TABLES, key=fit)


def check(config: ml_collections.ConfigDict) -> None:
    """Refuse a config with a value that its field's rule doesn't allow.

    Raises:
        UserError: one message that names every such field.
    """
    wrong = []
    own = table_of(config)
    for name, value in fields(config):
        rule = own[name].rule if name in own else RULES.get(name, CHECKED_WHERE_USED)
        if not rule.allows(value):
            hint = nearest(value, rule.choices) if isinstance(value, str) and rule.choices else ""
            wrong.append(f"Expected {rule.expected}, got {name}={value!r}.{hint}")
    if wrong:
        raise UserError(" ".join([*wrong, "--help says what each field means."]))


def unknown_field(name: str, known: Collection[str], path: Path) -> str:
    """What to say of a name that is no field.

    Args:
        known: the fields, by dotted name.
        path: of the config file.
    """
    inside = [field for field in known if field.startswith(f"{name}.")]
    hint = f" Its fields are {', '.join(inside)}." if inside else nearest(name, known)
    return f"Expected a field of {path}, got {name!r}.{hint}"
