"""`planner.Machine` by processes of their own (`machine`)."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vintk_jax.adapting.machine import ScoringSpeed, StepSpeed
from vintk_jax.adapting.planner import Machine
from vintk_jax.adapting.running import run_process
from vintk_jax.files import write_json

_MODULE = "vintk_jax.adapting.machine"


class Processes(Machine):
    """Measures this machine.

    Args:
        environment: of the processes.
        tick: called now and then.
    """

    def __init__(self, environment: Mapping[str, str], tick: Callable[[], None]):
        self._environment = environment
        self._tick = tick

    def step(self, values: dict[str, Any], best: dict[str, Any] | None) -> StepSpeed:
        """See `planner.Machine`."""
        return StepSpeed(**self._measured("train", values, best))

    def scoring(self, values: dict[str, Any]) -> ScoringSpeed:
        """See `planner.Machine`."""
        return ScoringSpeed(**self._measured("search", values, None))

    def _measured(
        self, what: str, values: dict[str, Any], best: dict[str, Any] | None
    ) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="vintk_adapt_") as made:
            folder = Path(made)
            if best is not None:
                write_json(folder / "best.json", best)
                values = {**values, "model.arch": str(folder / "best.json")}
            write_json(folder / "asked.json", values)
            answer = folder / "answer.json"
            words = [_MODULE, what, str(folder / "asked.json"), str(answer)]
            run_process(words, folder / "log", self._environment, self._tick)
            return json.loads(answer.read_text())
