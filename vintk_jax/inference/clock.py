"""What a pass at each length takes on this machine: costs by the clock, in place of counted
multiply-adds. Small passes take longer than their count says, and so do passes that XLA runs badly.
"""

import json
import os
import statistics
import time
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from vintk_jax.files import write_json
from vintk_jax.inference.plan import DONE
from vintk_jax.inference.plans import Plans

FILE = "clock.json"
_ROUNDS = 15


def seconds_of_passes(
    plans: Plans, batch_size: int, rounds: int = _ROUNDS
) -> Float[np.ndarray, " lengths"]:
    """Seconds of an image in each length's own pass, cheapest first, in full batches: the lengths
    in turn, medians.
    """

    def stays(outputs):
        return np.full(len(outputs[0]), DONE)

    images = np.random.default_rng(0).integers(0, 256, (batch_size, *plans.shape), np.uint8)
    steps = [
        plans.step(number, stays, carries=plans.carries(number))
        for number in range(len(plans.names))
    ]
    inputs = [step.inputs(images) for step in steps]
    taken: list[list[float]] = [[] for _ in steps]
    for turn in range(rounds + 1):
        for i, step in enumerate(steps):
            start = time.perf_counter()
            jax.block_until_ready(step.run(*inputs[i]))
            # The first turn compiles.
            if turn:
                taken[i].append(time.perf_counter() - start)
    return np.array([statistics.median(one) for one in taken]) / batch_size


def kept_seconds(
    plans: Plans, batch_size: int, folder: Path, identity: str, keep: bool = True
) -> Float[np.ndarray, " lengths"]:
    """`seconds_of_passes`, measured once for a model, a machine and a size of batch: a command that
    was killed goes on with the same numbers.

    Args:
        folder: where they are kept.
        identity: of the model.
        keep: whether to write what is measured.
    """
    device = jax.devices()[0]
    key = [identity, batch_size, device.platform, device.device_kind, os.cpu_count(), *plans.names]
    path = folder / FILE
    try:
        known = json.loads(path.read_text())
        if known["of"] == key:
            return np.array(known["seconds"], float)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or one that can't be read: it is measured again
    seconds = seconds_of_passes(plans, batch_size)
    if keep:
        write_json(path, {"of": key, "seconds": seconds.tolist()})
    return seconds
