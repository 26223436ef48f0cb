"""The model card of an exported model: README.md in the Hugging Face Hub's layout."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from vintk_jax.defaults.field import fields
from vintk_jax.report.describe import human_count
from vintk_jax.report.page import as_yaml, render

_SHOWN_CLASSES = 20


@dataclasses.dataclass(frozen=True)
class LengthRow:
    """A line of the card's table.

    Attributes:
        name: the number of tokens.
        multiply_adds: of an image.
        accuracy: a share; None where none was measured.
    """

    name: str
    multiply_adds: int
    accuracy: float | None


def model_card(
    *,
    title: str,
    pipeline: str,
    license: str,
    rows: Sequence[LengthRow],
    training: ml_collections.ConfigDict,
    classes: Sequence[str],
    expected: Mapping[str, float] | None,
    budget: Mapping[str, Any] | None,
    version: str,
    clips: bool,
) -> str:
    """The card's text.

    Args:
        pipeline: the Hub's name of the task.
        license: an SPDX identifier; empty: the card says that nobody has chosen one.
        expected: accuracy, cost and the longest length's accuracy at the assigner's setting; None
            without an assigner.
        budget: that the setting was chosen by.
        version: of vintk_jax.
    """
    front_matter = {
        "library_name": "vintk_jax",
        "pipeline_tag": pipeline,
        "tags": ["vintk_jax", "revit", "adaptive-inference"],
    }
    if license:
        front_matter["license"] = license
    shown = [
        {
            "tokens": row.name,
            "multiply_adds": human_count(row.multiply_adds),
            "accuracy": "not measured" if row.accuracy is None else f"{row.accuracy:.2%}",
        }
        for row in rows
    ]
    names = ", ".join(classes[:_SHOWN_CLASSES])
    if len(classes) > _SHOWN_CLASSES:
        names += f" and {len(classes) - _SHOWN_CLASSES:,} more"
    return render(
        "model_card.md.j2",
        autoescape=False,
        front_matter=as_yaml(front_matter),
        title=title,
        license=license,
        rows=shown,
        data=training.data,
        config=as_yaml(dict(fields(training))),
        num_classes=len(classes),
        classes=names,
        expected=expected,
        budget=budget,
        version=version,
        clips=clips,
    )
