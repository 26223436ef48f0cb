"""The state of a training: what a checkpoint holds."""

from typing import Any

import flax.struct


@flax.struct.dataclass
class State:
    """All that a step changes; also its shapes or shardings, in the places of the arrays.

    Attributes:
        step: how many were done.
        params: the model's variables, float32.
        opt_state: the optimiser's.
        ema: a running mean of the parameters; None without one.
    """

    step: Any
    params: Any
    opt_state: Any
    ema: Any

    @property
    def evaluated_params(self) -> Any:
        """What is evaluated: the running mean where there is one."""
        return self.params if self.ema is None else self.ema
