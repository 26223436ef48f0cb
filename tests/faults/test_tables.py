"""Tables of accuracies are checked before anything is scored."""

import json

import numpy as np
import pytest

from vintk_jax import spaces
from vintk_jax.errors import UserError
from vintk_jax.ranking import tables

SPACE = spaces.get("autoformer-tiny")
ARCHS = [SPACE.to_json(SPACE.sample(np.random.default_rng(i))) for i in range(4)]


def loaded(path, *accuracies):
    rows = [{"arch": arch, "accuracy": a} for arch, a in zip(ARCHS, accuracies, strict=True)]
    path.write_text(json.dumps({"space": "autoformer-tiny", "rows": rows}))
    return tables.load(str(path), 0, 0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            {"top1": "75.3%"},
            "row 2: Expected the accuracy top1 to be a number of percent, .*got '75.3%'",
        ),
        ({"top1": float("nan")}, "row 2: Expected the accuracy top1 .*got nan"),
        ({"top1": [75.3]}, r"row 2: Expected the accuracy top1 .*got \[75.3\]"),
        ({"top1": True}, "row 2: Expected the accuracy top1 .*got True"),
        (75.3, "row 2: Expected accuracy .*got 75.3"),
        (None, "row 2: Expected accuracy .*got None"),
        ({"top1": 75.0, "other": None}, "has no accuracy for other"),
    ],
)
def test_what_is_no_accuracy(tmp_path, wrong, words):
    """Named by its row."""
    with pytest.raises(UserError, match=words):
        loaded(tmp_path / "t.json", {"top1": 70.0}, {"top1": 71}, wrong, {"top1": 73.0})


def test_accuracies_that_were_not_measured(tmp_path):
    """null is one of some; a name that a row lacks likewise."""
    table = loaded(tmp_path / "t.json", {"top1": 70.0}, {"top1": None}, {}, {"top1": 73})
    np.testing.assert_array_equal(table.accuracies()["top1"], [70, np.nan, np.nan, 73])


def test_no_accuracies(tmp_path):
    """A table of architectures alone says nothing."""
    with pytest.raises(UserError, match="no accuracy for any name"):
        loaded(tmp_path / "t.json", {}, {}, {}, {})
