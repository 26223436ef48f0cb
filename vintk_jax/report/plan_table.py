"""A plan for the terminal: what was decided and why, and what each stage will take."""

import datetime
from collections.abc import Sequence
from typing import Any

import rich.box
from rich.table import Table


def plan_tables(plan: Any) -> Sequence[Table]:
    """What was decided, and the stages with their expected times.

    Args:
        plan: an `adapting.plan.Plan`.
    """
    decided = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("decided", "to", "why"):
        decided.add_column(heading, overflow="fold")
    for row in plan.reasons:
        decided.add_row(*row)
    stages = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    stages.add_column("stage")
    stages.add_column("expected to take", justify="right")
    for name, seconds in plan.seconds.items():
        stages.add_row(name, in_words(seconds))
    stages.add_section()
    stages.add_row("the whole", in_words(plan.total_s))
    stages.add_row("memory", f"{plan.memory / 2**30:.1f} GiB")
    stages.add_row("disk", f"{plan.disk / 1e9:.2f} GB")
    return decided, stages


def in_words(seconds: int | float) -> str:
    """A time as people read it: 0:03:20."""
    return str(datetime.timedelta(seconds=round(seconds)))
