"""The page that a search leaves: its candidates, and the kernels of the best one."""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from vintk_jax.ntk import reductions
from vintk_jax.proxies.scorer import Scorer, kernel_by_layer
from vintk_jax.report.search_page import write_search_report
from vintk_jax.scored_candidate import ScoredCandidate
from vintk_jax.searching.ledger import Ledger
from vintk_jax.searching.results import best, pareto
from vintk_jax.searching.run import failures
from vintk_jax.searching.setup import Setup


def write_report(
    path: Path,
    search: Setup,
    ledger: Ledger,
    scorer: Scorer,
    candidates: Sequence[ScoredCandidate],
    seconds: float,
) -> None:
    """Write report.html, with the spectra of the best candidate's kernels, and its plain kernel by
    layer.

    Args:
        seconds: what this run took.
    """
    config = search.config
    arch = search.space.from_json(best(candidates).arch)
    measured = scorer.measure([arch])[0][0]
    kernels = {
        measurement.name: measured[measurement.name]
        for measurement in search.proxy.measurements
        if measurement.of == "kernel" and not measurement.stem
    }
    layers = {}
    if "plain" in kernels and config.ntk.implementation == "structured":
        layers = kernel_by_layer(scorer.supernet, arch)
    write_search_report(
        path,
        title=f"Search of {config.space}",
        space=config.space,
        candidates=candidates,
        pareto=[candidate.number for candidate in pareto(candidates)],
        spectra={view: reductions.spectrum(kernel).tolist() for view, kernel in kernels.items()},
        layers=layers,
        config=config.to_dict(),
        seed=config.seed,
        summary=_summary(search, ledger, len(candidates), seconds),
    )


def _summary(search: Setup, ledger: Ledger, scored: int, seconds: float) -> dict[str, str]:
    """Facts about the search, as the page lists them."""
    space = search.space
    failed = len(failures(ledger))
    without_score = sum(result.get("score") is None for result in ledger.results().values())
    kind = "clip" if space.frames else "image"
    sides = " x ".join(map(str, space.input_shape()[:-1]))
    facts = {}
    if search.proxy.meaning:
        facts["The score"] = search.proxy.meaning
    facts["Architectures scored"] = f"{scored:,}"
    facts["Beyond a limit, not scored"] = f"{without_score - failed:,}"
    if failed:
        facts["Score is no number"] = f"{failed:,}"
    facts["Costs are those of"] = f"one {kind} of {sides} px"
    facts["This run"] = (
        f"{seconds:.0f} s on {jax.local_device_count()} {jax.devices()[0].device_kind} device(s)"
    )
    facts["Command"] = " ".join(["python", "-m", "vintk_jax.search", *sys.argv[1:]])
    return facts
