"""Every setting is checked when a command line is read, before data is opened."""

import importlib.util
import math
from pathlib import Path

import ml_collections
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vintk_jax import config as configs
from vintk_jax import settings
from vintk_jax.errors import UserError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.py"))
# Numbers that no rule can judge, with the reason.
FREE = {
    "model.lengths": "by the model and the image",
    "clips.lengths": "by the model and the clip",
    "lengths": "by the model",
    "formats": "named by the export, with what is installed",
}


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def fields(config, prefix=""):
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs(path):
    """Pass, and every number and tuple of theirs has a rule."""
    config = loaded(path)
    settings.check(config)
    for name, value in fields(config):
        counted = isinstance(value, int | float | tuple) and not isinstance(value, bool)
        assert not counted or name in settings.RULES or name in FREE or name.endswith("names"), name


def parsed(*overrides, config="revit_digits"):
    argv = ["train", f"--config={ROOT / 'configs' / config}.py", *overrides]
    return configs.parse(argv, command="train", about="", default_config="")


@pytest.mark.parametrize(
    ("config", "override", "words"),
    [
        (
            "revit_digits",
            "log_every=0",
            "log_every=0 came; a whole number of 1 at least was wanted",
        ),
        ("revit_digits", "optimizer.accumulate=-1", "optimizer.accumulate=-1 came"),
        ("revit_digits", "optimizer.learning_rate=nan", "learning_rate=nan came; a number"),
        ("revit_digits", "optimizer.learning_rate=inf", "above 0 was wanted"),
        ("revit_digits", "optimizer.learning_rate=-1.0", "above 0 was wanted"),
        ("revit_digits", "loss.drop_path=1.0", "from 0 to 1 (excluded)"),
        ("revit_digits", "optimizer.name=moun", "Did you mean 'muon'"),
        ("revit_digits", "seed=-1", "seed=-1 came"),
        ("vit_space", "limits.max_params_m=nan", "limits.max_params_m=nan came"),
        ("vit_space", "search.lease_s=0.0", "search.lease_s=0.0 came"),
        ("vit_space", "ntk.num_directions=0", "ntk.num_directions=0 came"),
        ("vit_space", "search.algorithm=nsga3", "Did you mean 'nsga2'"),
        ("tla_digits", "budget.confidence=1.0", "budget.confidence=1.0 came"),
        ("tla_digits", "budget.max_drop=-2.0", "percentage points of 0 at least, or inf"),
        ("tla_digits", "engine.batch_sizes=(0,)", "engine.batch_sizes=(0,) came"),
        ("segment_digits", "segmentation.scale=(2.0,1.0)", "from small to large"),
        ("spectrum", "signals.cycles=()", "signals.cycles=() came"),
    ],
)
def test_values_that_cannot_be_meant(config, override, words):
    """One message, with what was wanted."""
    with pytest.raises(UserError) as caught:
        parsed(f"--config.{override}", config=config)
    assert words in str(caught.value)


def test_all_are_named_at_once():
    """Two mistakes, one run."""
    with pytest.raises(UserError, match=r"log_every=0.*optimizer\.warmup=2\.0"):
        parsed("--config.log_every=0", "--config.optimizer.warmup=2.0")


def test_no_limit_by_inf():
    """Where infinity means something it is taken."""
    assert parsed("--config.budget.max_drop=inf", config="tla_digits").config.budget.max_drop > 1e9


@given(value=st.one_of(st.floats(), st.integers(-(10**12), 10**12), st.booleans(), st.text()))
def test_no_rule_takes_nan_or_raises(value):
    """Any value gets an answer from any rule; NaN always the same one."""
    for rule in settings.RULES.values():
        taken = rule.allows(value)
        assert isinstance(taken, bool)
        if isinstance(value, float) and math.isnan(value):
            assert not taken
