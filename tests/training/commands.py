"""The commands on a few digits: in this process, or as processes of their own, which can be
killed.
"""

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--config.data.train_split=train[:64]",
    "--config.data.test_split=test[:32]",
    "--config.data.batch_size=32",
    "--config.data.threads=0",
    "--config.log_every=1",
    "--config.model.embed_dim=16",
    "--config.model.depth=2",
    "--config.model.lengths=(4,2)",
]


def command(name, config, workdir, *options):
    """Arguments of a process."""
    return [
        sys.executable,
        "-m",
        f"vintk_jax.{name}",
        "--config",
        f"configs/{config}.py",
        "--workdir",
        str(workdir),
        *options,
    ]


def run(arguments):
    """The same command in this process; what it printed."""
    _, _, module, *words = arguments
    main = importlib.import_module(module).main
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.chdir(ROOT):
        main([module, *words])
    return printed.getvalue()


def start(arguments, **environment):
    """The process, on as many CPU devices as this one has unless the environment says otherwise:
    a run may be begun in one and ended in the other, bit for bit.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment = {
        **inherited,
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "2",
        "PYTHONPATH": str(ROOT / "tests"),
        **environment,
    }
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process, seconds=300):
    """What it printed; it has to end well, and in time."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(
            f"not done after {seconds} s; until then it printed:\n{output}"
        ) from None
    assert process.returncode == 0, output
    return output


def small_training(workdir, *options):
    """Arguments of a training of seconds."""
    return command("train", "revit_digits", workdir, *SMALL, *options)


def train(workdir, *options, **environment):
    """Start a training of seconds, as a process."""
    return start(small_training(workdir, *options), **environment)


def metrics(workdir):
    """The lines of metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("images_per_second", "waiting_for_data")}
        for line in lines
    ]


def checksums(workdir, kind="last"):
    """Of the latest checkpoint: its step and a checksum over the bytes of parameters, optimiser and
    running mean.
    """
    folder = workdir / "checkpoints" / kind
    step = max(int(child.name) for child in folder.iterdir() if child.name.isdigit())
    return step, json.loads((folder / str(step) / "meta" / "metadata").read_text())["checksums"]
