"""The plan of a run: what is decided once, from the images, the machine and the time, and kept."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vintk_jax.adapting.survey import Survey
from vintk_jax.errors import UserError
from vintk_jax.files import write_json

FILE = "plan.json"
LAYOUT = 1
STAGES = ("search", "train", "assign", "infer", "export", "page")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be run.

    Attributes:
        survey: the images.
        image_size, lengths: that the model sees.
        values: fields of each stage's config that differ from its config file's, by the stage's
            name; a stage that is not needed has none.
        seconds: what each stage is expected to take.
        memory, disk: bytes that the whole is expected to take.
        reasons: (what was decided, to what, and why).
        measured: what was measured on this machine.
    """

    survey: Survey
    image_size: int
    lengths: tuple[int, ...]
    values: dict[str, dict[str, Any]]
    seconds: dict[str, float]
    memory: int
    disk: int
    reasons: tuple[tuple[str, str, str], ...]
    measured: dict[str, Any]

    @property
    def total_s(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    def write(self, workdir: Path) -> None:
        """Keep it."""
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        write_json(workdir / FILE, {"layout": LAYOUT, **kept, "survey": self.survey.to_json()})

    @classmethod
    def read(cls, workdir: Path) -> "Plan | None":
        """The plan that was kept; None where there is none.

        Raises:
            UserError: for one that can't be read.
        """
        path = workdir / FILE
        try:
            kept = json.loads(path.read_text())
            if kept.pop("layout") != LAYOUT:
                raise KeyError("layout")
            survey = Survey.from_json(kept.pop("survey"))
            reasons = tuple(map(tuple, kept.pop("reasons")))
            lengths = tuple(kept.pop("lengths"))
            return cls(survey=survey, reasons=reasons, lengths=lengths, **kept)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} can't be read as a plan ({type(error).__name__} {error}). Bring it back, "
                "or choose another --workdir."
            ) from error


def flags(values: Mapping[str, Any]) -> list[str]:
    """Fields as words of a command line."""

    def word(value: Any) -> str:
        if not isinstance(value, list | tuple):
            return str(value)
        inside = ",".join(repr(one) if isinstance(one, str) else str(one) for one in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"

    return [f"--config.{name}={word(value)}" for name, value in values.items()]
