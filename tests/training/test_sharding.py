"""Where parameters lie, and that it changes nothing."""

import socket

import jax
import pytest
from jax.sharding import PartitionSpec as P
from training.commands import finish, metrics, train

from vintk_jax.errors import UserError
from vintk_jax.training import sharding

SIZES = {"data": 2, "fsdp": 2, "tensor": 2}
STEPS = [
    "--config.optimizer.steps=3",
    "--config.data.test_split=test[:16]",
    "--config.data.batch_size=16",
    "--config.model.depth=1",
]


@pytest.mark.parametrize(
    ("path", "shape", "wanted"),
    [
        ("params/block_0/attention/qkv/kernel", (8, 24), P("fsdp", "tensor")),
        ("params/block_0/mlp/fc2/kernel", (12, 8), P("tensor", "fsdp")),
        ("params/blocks/block/mlp/fc1/kernel", (3, 8, 12), P(None, "fsdp", "tensor")),
        ("0/mu/params/block_0/mlp/fc1/bias", (12,), P("tensor")),
        ("params/block_0/mlp/fc1/kernel", (7, 12), P(None, "tensor")),
        ("params/patch_embed/kernel", (4, 4, 3, 8), P(None, None, None, "fsdp")),
        ("params/head/kernel", (8, 10), P("fsdp", None)),
        ("params/norm/scale", (8,), P()),
    ],
)
def test_rules(path, shape, wanted):
    """By the end of the name; what doesn't divide is replicated."""
    assert sharding.spec_of(path, shape, SIZES) == wanted
    assert all(axis is None for axis in sharding.spec_of(path, shape, dict.fromkeys(SIZES, 1)))


def test_meshes_that_do_not_fit_are_named():
    """The product has to be the number of devices; -1 takes the rest."""
    assert dict(sharding.make_mesh(-1, 1, 1).shape) == {
        "data": jax.device_count(),
        "fsdp": 1,
        "tensor": 1,
    }
    with pytest.raises(UserError, match="data=3 x fsdp=1 x tensor=1"):
        sharding.make_mesh(3, 1, 1)
    with pytest.raises(UserError, match="multiple of 8"):
        sharding.check_batch(sharding.make_mesh(-1, 1, 1), 12, 8 // jax.device_count())


def test_some_of_a_cpu_s_devices():
    """A training may leave cores to others."""
    assert sharding.make_mesh(1, 1, 1).size == 1
    assert sharding.make_mesh(-1, 1, 1, cpu_devices=1).size == 1
    with pytest.raises(UserError, match="data=9"):
        sharding.make_mesh(-1, 1, 1, cpu_devices=9)


def losses(workdir):
    """Of every step, and the accuracy at the end."""
    lines = metrics(workdir)
    return [line["loss"] for line in lines if "loss" in line], lines[-1]["accuracy"]


def test_eight_devices_give_the_losses_of_one(tmp_path):
    """data 2 x fsdp 2 x tensor 2 on eight CPU devices against one device; and two that share each
    batch.
    """
    mesh = [f"--config.mesh.{axis}=2" for axis in SIZES]
    alone = "--config.mesh.cpu_devices=1"
    shared = ["--config.mesh.cpu_devices=2", "--config.optimizer.accumulate=2"]
    running = (
        train(tmp_path / "one", *STEPS, alone),
        train(tmp_path / "eight", *STEPS, *mesh, JAX_NUM_CPU_DEVICES="8"),
        train(tmp_path / "two", *STEPS, *shared),
    )
    for process in running:
        finish(process)
    one = losses(tmp_path / "one")
    assert len(one[0]) == 3
    for name in ("eight", "two"):
        found = losses(tmp_path / name)
        assert found[0] == pytest.approx(one[0], rel=1e-5)
        assert found[1] == one[1]


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path):
    """Under jax.distributed on this machine: each reads its half of every batch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    cluster = [
        {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(i)}
        for i in range(2)
    ]
    running = [train(tmp_path / "two", *STEPS, **environment) for environment in cluster] + [
        train(tmp_path / "one", *STEPS)
    ]
    try:
        for process in running:
            finish(process)
    finally:
        for process in running:
            with process:
                process.kill()
    one = losses(tmp_path / "one")
    two = losses(tmp_path / "two")
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    assert two[1] == one[1]
