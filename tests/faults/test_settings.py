"""Every field has one definition, which --help and the check of a command line read; values are
checked when a command line is read, before data is opened.
"""

import importlib.util
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vintk_jax import command_line, config_check, ntk
from vintk_jax.adaptive import assigner_networks, length_labels
from vintk_jax.defaults.field import fields, filled
from vintk_jax.errors import UserError
from vintk_jax.exporting import folder
from vintk_jax.models import segmenter, timesformer
from vintk_jax.searching import sampler
from vintk_jax.tasks import model_spec, segmentation
from vintk_jax.training import optimizer

ROOT = Path(__file__).parents[2]
ARGUMENTS = {
    "clip_space": ["small", "mini"],
    "revit_cifar10": ["lvvit", "regions"],
    "tla_cifar10": ["regions"],
    "tla_digits": ["stem"],
    "revit_digits": ["lvvit", "stem"],
    "seg_space": ["small", "mini"],
    "vit_space": ["tiny", "small", "base", "pit", "s3", "lvvit", "cifar", "nasbench201"],
}
SHIPPED = [
    (path, *argument)
    for path in sorted((ROOT / "configs").glob("*.py"))
    for argument in [(), *((word,) for word in ARGUMENTS.get(path.stem, ()))]
]


def name_of(shipped):
    """The config as a command line names it."""
    path, *argument = shipped
    return ":".join([path.name, *argument])


def loaded(path, *argument):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*argument)


def shown_by_help(capsys, config_file):
    """What --help says about each field, without its line breaks."""
    argv = ["train", f"--config={config_file}", "--help"]
    assert command_line.parse(argv, command="train", about="", default_config="") is None
    entries = capsys.readouterr().out.split("\n  --config.")[1:]
    meanings = {}
    for entry in entries:
        setting, _, meaning = entry.partition("\n")
        meanings[setting.partition("=")[0]] = " ".join(meaning.split())
    return meanings


@pytest.mark.parametrize("shipped", SHIPPED, ids=name_of)
def test_shipped_configs(shipped, capsys):
    """Every field is defined, with a meaning that --help shows, and a value that its rule
    allows.
    """
    config = loaded(*shipped)
    config_check.check(config)
    table = config_check.table_of(config)
    assert dict(fields(config)).keys() == table.keys()
    shown = shown_by_help(capsys, ":".join(map(str, shipped)))
    assert shown.keys() == {name for name, field in table.items() if field.used}
    for name, meaning in shown.items():
        assert meaning.startswith(" ".join(table[name].meaning.split()))


def test_a_name_has_one_rule():
    """Also where tables give it other meanings, but for one: -1 means what `assign` was given, in
    commands that come after it. And defaults follow the rules.
    """
    for table in config_check.TABLES:
        for name, field in table.items():
            if name != "budget.max_drop":
                assert field.rule is config_check.RULES[name]
            assert field.rule.allows(field.default)
            assert field.meaning


def test_every_table_is_found():
    """By the names of a config's fields."""
    for table in config_check.TABLES:
        assert config_check.table_of(filled(table)) is table


OLD_CONFIG = """
import ml_collections
from vintk_jax.defaults.compile_cache import add_compile_cache
from vintk_jax.defaults.scoring import add_scoring

def get_config():
    config = ml_collections.ConfigDict()
    config.seed = 7  # my lucky number
    config.seeds = 1
    # another meaning
    config.table = ""
    config.proxies = "all"
    config.num_architectures = 0
    config.batch_size = 0
    config.mine = 3  # a field that no table has
    add_scoring(config)
    add_compile_cache(config)
    config.inputs.image_size = 32  # CIFAR's
    return config
"""


def test_a_config_file_changes_no_meaning(tmp_path, capsys):
    """Written out field by field with comments, as config files once were, it is read; its comments
    are its own.
    """
    path = tmp_path / "mine.py"
    path.write_text(OLD_CONFIG)
    shown = shown_by_help(capsys, path)
    assert shown.pop("mine") == ""
    assert shown == shown_by_help(capsys, ROOT / "configs" / "rank.py")
    config = command_line.parse(
        ["rank", f"--config={path}", "--config.mine=4"],
        command="rank",
        about="",
        default_config="",
    ).config
    assert (config.seed, config.inputs.image_size, config.mine) == (7, 32, 4)


def test_fields_without_a_use_are_not_shown(capsys):
    """A field that a kind of training has and can't use."""
    clips = shown_by_help(capsys, ROOT / "configs" / "revit_clips.py")
    assert "model.lengths" not in clips
    assert "clips.lengths" in clips
    segmenter = shown_by_help(capsys, ROOT / "configs" / "segment_digits.py")
    assert "loss.distill" not in segmenter
    assert "pairs:PATH" in segmenter["data.source"]


def parsed(*overrides, config="revit_digits"):
    argv = ["train", f"--config={ROOT / 'configs' / config}.py", *overrides]
    return command_line.parse(argv, command="train", about="", default_config="")


@pytest.mark.parametrize(
    ("config", "override", "words"),
    [
        (
            "revit_digits",
            "log_every=0",
            "Expected a whole number of at least 1, got log_every=0.",
        ),
        (
            "revit_digits",
            "optimizer.accumulate=-1",
            "whole number of at least 0, got optimizer.accumulate=-1",
        ),
        (
            "revit_digits",
            "optimizer.learning_rate=nan",
            "a number above 0, got optimizer.learning_rate=nan",
        ),
        ("revit_digits", "optimizer.learning_rate=inf", "above 0, got"),
        ("revit_digits", "optimizer.learning_rate=-1.0", "above 0, got"),
        ("revit_digits", "loss.drop_path=1.0", "from 0 to below 1, got loss.drop_path=1.0"),
        ("revit_digits", "optimizer.name=moun", "Did you mean 'muon'"),
        (
            "revit_digits",
            "seed=-1",
            "a whole number from 0 to 4,294,967,295, got seed=-1",
        ),
        (
            "vit_space",
            "limits.max_params_m=nan",
            "a number of at least 0, got limits.max_params_m=nan",
        ),
        ("vit_space", "search.lease_s=0.0", "a number above 0, got search.lease_s=0.0"),
        ("vit_space", "ntk.num_directions=0", "got ntk.num_directions=0"),
        ("vit_space", "search.algorithm=nsga3", "Did you mean 'nsga2'"),
        ("tla_digits", "budget.confidence=1.0", "got budget.confidence=1.0"),
        ("tla_digits", "budget.max_drop=-1.0", "a number of at least 0, or inf"),
        ("tla_digits", "budget.confidence=0.3", "a number from 0.5 to below 1"),
        ("export", "budget.max_drop=-2.0", "percentage points of at least 0, -1, or inf"),
        (
            "tla_digits",
            "engine.batch_sizes=(0,)",
            "a tuple of numbers of images, each a whole number from 1",
        ),
        ("segment_digits", "segmentation.scale=(2.0,1.0)", "from small to large"),
        ("spectrum", "signals.cycles=()", "a tuple of numbers of cycles, at least 1, each"),
    ],
)
def test_values_that_cannot_be_meant(config, override, words):
    """One message, with what was wanted."""
    with pytest.raises(UserError) as caught:
        parsed(f"--config.{override}", config=config)
    assert words in str(caught.value)


def test_all_are_named_at_once():
    """Two mistakes, one run."""
    with pytest.raises(
        UserError, match=r"got log_every=0\. Expected .*, got optimizer\.warmup=2\.0"
    ):
        parsed("--config.log_every=0", "--config.optimizer.warmup=2.0")


def test_no_limit_by_inf():
    """Where infinity means something it is taken."""
    assert parsed("--config.budget.max_drop=inf", config="tla_digits").config.budget.max_drop > 1e9


@given(value=st.one_of(st.floats(), st.integers(-(10**12), 10**12), st.booleans(), st.text()))
def test_no_rule_takes_nan_or_raises(value):
    """Any value gets an answer from any rule; NaN always the same one."""
    for rule in config_check.RULES.values():
        taken = rule.allows(value)
        assert isinstance(taken, bool)
        if isinstance(value, float) and math.isnan(value):
            assert not taken


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("search.algorithm", sampler.ALGORITHMS),
        ("optimizer.name", optimizer.OPTIMIZERS),
        ("ntk.cotangent", ntk.COTANGENTS),
        ("ntk.implementation", ntk.IMPLEMENTATIONS),
        ("tla.kind", assigner_networks.KINDS),
        ("tla.target", assigner_networks.TARGETS),
        ("labels.none_right", length_labels.NONE_RIGHT),
        ("model.init", model_spec.INITS),
        ("clips.attention", timesformer.ATTENTIONS),
        ("segmentation.decoder", segmenter.DECODERS),
        ("segmentation.evaluation", segmentation.EVALUATIONS),
    ],
)
def test_a_choice_is_what_the_code_knows(field, words):
    """A word that the code has learned and the rule hasn't would be refused; the other way round it
    would fail late.
    """
    assert set(config_check.RULES[field].choices) == set(words)


def test_formats_are_those_of_an_export():
    """All at once are allowed, no other is."""
    rule = config_check.RULES["formats"]
    assert rule.allows(folder.FORMATS)
    assert not rule.allows((*folder.FORMATS, "torchscript"))
