"""What the kernel's speed and memory have to be, and whether a run of `ntk_speed` shows it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.jax_kernels import FLOOR, NEURAL_TANGENTS, OURS
from benchmarks.torch_kernels import LOOP, VMAP

Result = dict[str, Any]


class Target(NamedTuple):
    """A bound on a ratio: `value(result)` is None where it was not measured."""

    text: str
    applies: Callable[[dict[str, Any]], bool]
    value: Callable[[Result], float | None]
    bound: float
    at_most: bool


def _seconds(result: Result, *names: str) -> float | None:
    """The shortest median among contestants."""
    return min(
        (
            result["contestants"][name]["median_s"]
            for name in names
            if "median_s" in result["contestants"].get(name, {})
        ),
        default=None,
    )


def _over(upper: float | None, lower: float | None) -> float | None:
    return None if upper is None or lower is None else upper / lower


def _speedup(*names: str) -> Callable[[Result], float | None]:
    def of_result(result: Result) -> float | None:
        return _over(_seconds(result, *names), _seconds(result, OURS))

    return of_result


def _over_floor(result: Result) -> float | None:
    return _over(_seconds(result, OURS), _seconds(result, FLOOR))


def _over_counted(result: Result) -> float | None:
    return _over(_seconds(result, OURS), result["counted"]["seconds"])


def _memory(result: Result) -> float | None:
    peaks = [result.get("memory", {}).get(name, {}).get("peak_bytes") for name in (OURS, VMAP)]
    return _over(*peaks)


def _small_images(case):
    return case["image_size"] == 64


def _few_small_images(case):
    return case["image_size"] == 64 and case["images"] == 16


def _many_images_of_small(case):
    return case["space"] == "autoformer-small" and case["images"] == 64


def _large_images(case):
    return case["image_size"] == 224


def _all(case):
    return True


TARGETS = (
    Target(
        "time over forward + backward",
        _large_images,
        _over_floor,
        1.15,
        True,
    ),
    Target(
        "time over counted operations",
        _few_small_images,
        _over_counted,
        1.3,
        True,
    ),
    Target(
        "times faster than neural-tangents' best",
        _small_images,
        _speedup(*NEURAL_TANGENTS),
        4.0,
        False,
    ),
    Target(
        "times faster than neural-tangents' best",
        _large_images,
        _speedup(*NEURAL_TANGENTS),
        2.0,
        False,
    ),
    Target("times faster than the PyTorch loop", _all, _speedup(LOOP), 6.0, False),
    Target("times faster than PyTorch vmap(grad)", _small_images, _speedup(VMAP), 1.5, False),
    Target("times faster than PyTorch vmap(grad)", _large_images, _speedup(VMAP), 1.0, False),
    Target(
        "peak memory over PyTorch vmap(grad)'s",
        _many_images_of_small,
        _memory,
        0.25,
        True,
    ),
)


def evaluate(results: dict[str, Result]) -> list[dict[str, Any]]:
    """Every target on every case it applies to; `met` is None where something was not measured."""
    found = []
    for target in TARGETS:
        for label, result in results.items():
            if target.applies(result["case"]):
                value = target.value(result)
                met = (
                    None
                    if value is None
                    else value <= target.bound
                    if target.at_most
                    else value >= target.bound
                )
                bound = f"{'<=' if target.at_most else '>='} {target.bound:g}"
                found.append(
                    {
                        "target": target.text,
                        "case": label,
                        "value": value,
                        "bound": bound,
                        "met": met,
                    }
                )
    return found


def fastest_neural_tangents(result: Result) -> str | None:
    """Which of neural-tangents' implementations was the faster one."""
    times = {name: _seconds(result, name) for name in NEURAL_TANGENTS}
    return min(
        (name for name, seconds in times.items() if seconds is not None),
        key=times.get,
        default=None,
    )
