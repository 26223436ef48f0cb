"""Rank vision transformers without training any: `python -m vintk_jax.search --config
configs/vit_space.py`.

Candidates come from random, evolutionary (NSGA-II) or exhaustive search; each is scored at
initialisation by its neural tangent kernels. Results go to the workdir: candidates.jsonl as it
goes; best.json, pareto.json and report.html at the end. The same command resumes a stopped search;
several processes started with one workdir share it.
"""

import sys
import time

from vintk_jax import config as configs
from vintk_jax import counting
from vintk_jax.errors import UserError
from vintk_jax.set_up import set_up_jax

MAY_CHANGE = (
    "search.num_candidates",
    "search.batch_size",
    "search.storage",
    "search.lease_s",
    "ntk.memory_gb",
)


def main(argv: list[str]) -> None:
    """Run a search from a command line."""
    start = time.perf_counter()
    invocation = configs.parse(
        argv, command="search", about=__doc__, default_config="configs/vit_space.py"
    )
    if invocation is None:
        return
    config, workdir = invocation.config, invocation.workdir
    set_up_jax(config.ntk.dtype, invocation.compile_cache)

    from vintk_jax import proxies, spaces
    from vintk_jax.data.identity import of_arrays
    from vintk_jax.proxies.scorer import Scorer
    from vintk_jax.proxies.setup import described, load_images, make_supernet
    from vintk_jax.report.console import make_console
    from vintk_jax.report.progress import Progress
    from vintk_jax.report.search_table import best_table
    from vintk_jax.study import results
    from vintk_jax.study.ledger import Ledger
    from vintk_jax.study.limits import Limits
    from vintk_jax.study.run import failures, run
    from vintk_jax.study.sampler import MOST_EXHAUSTIVE, TrialSampler
    from vintk_jax.study.storage import open_study

    console = make_console()
    space, proxy, limits = (
        spaces.get(config.space),
        proxies.get(config.score.name),
        Limits(**config.limits),
    )
    if proxy.join:
        raise UserError(
            f"score.name={proxy.name} compares candidates with each other and is known only once "
            "all are measured, so a search can't climb "
            "it. Choose another score; `python -m vintk_jax.rank` knows this one."
        )
    limits.check(space)
    several, exhaustive = (
        config.search.algorithm == "nsga2",
        config.search.algorithm == "exhaustive",
    )
    if exhaustive and space.size() > MOST_EXHAUSTIVE:
        raise UserError(
            f"search.algorithm=exhaustive came, but {space.name} has {space.size():,} "
            f"architectures; {MOST_EXHAUSTIVE:,} are the most. "
            "Use random or nsga2, or a smaller space."
        )
    sampler = TrialSampler(
        space,
        config.search.algorithm,
        config.seed,
        lambda arch: limits.fits(space, arch),
        config.search.population,
    )
    total = (
        min(config.search.num_candidates, sampler.num_exhaustive())
        if exhaustive
        else config.search.num_candidates
    )
    images = load_images(config, space, lambda note: console.print(note, style="yellow"))

    def make_scorer():
        return Scorer(
            make_supernet(config, space, proxy.measurements, images),
            proxy.measurements,
            batch_size=config.search.batch_size,
        )

    console.print(
        f"{config.search.algorithm} search of {space.name} ({space.size():.3g} architectures): "
        f"{total:,} candidates by {proxy.name} "
        f"on {described(config, space)}, seed {config.seed}, into {workdir}"
    )
    if invocation.dry_run:
        _dry_run(console, make_scorer(), space, total, start)
        return

    counted = {"multiply_adds": counting.DEFINITION, **proxies.definitions([proxy])}
    own = {"images": of_arrays(images)}
    configs.claim_workdir(workdir, "search", config, MAY_CHANGE, counted, own)
    digest = configs.digest(config, without=MAY_CHANGE)
    directions = ["maximize", "minimize"] if several else ["maximize"]
    study, lock = open_study(
        workdir, config.search.storage, f"vintk_jax-search-{digest}", directions, sampler
    )
    ledger = Ledger(
        study,
        space,
        lock,
        total=total,
        generation=config.search.population if several else None,
        lease_s=config.search.lease_s,
        remote=bool(config.search.storage),
    )
    if len(ledger.finished()) > total:
        raise UserError(
            f"{workdir} holds {len(ledger.finished())} finished trials; "
            f"search.num_candidates={total} can be raised, not lowered."
        )
    scorer = make_scorer()
    try:
        with Progress(total, done=len(ledger.finished()), console=console) as progress:
            candidates = run(
                ledger,
                scorer,
                proxy,
                limits,
                workdir,
                several=several,
                report=lambda done, best: progress.update(done, best),
                phase=progress.phase,
            )
    except KeyboardInterrupt:
        console.print(
            f"\nStopped with {len(ledger.finished()):,} of {total:,} trials finished; all are "
            "kept. The same command goes on."
        )
        raise
    limits_json = {k: v for k, v in config.limits.items() if v}
    winner, front = results.write(
        workdir,
        candidates,
        space=config.space,
        seed=config.seed,
        score=proxy.name,
        limits=limits_json,
        digest=digest,
    )
    seconds = time.perf_counter() - start
    _report(workdir, config, ledger, scorer, proxy, candidates, winner, front, seconds)
    console.print(best_table(candidates))
    console.print(f"{len(candidates):,} architectures scored; this run took {seconds:.0f} s.")
    if failed := failures(ledger):
        console.print(
            f"{len(failed):,} could not be scored, and were left out. The first: {failed[0]}",
            style="yellow",
        )
    if len(candidates) > 1 and len({candidate["score"] for candidate in candidates}) == 1:
        console.print(
            f"All scores are {candidates[0]['score']:g}: {proxy.name} can't tell these "
            "architectures apart, so the best is any of them.",
            style="yellow",
        )
    console.print(
        f"The best is in {workdir / 'best.json'}; open {workdir / 'report.html'} to see the search."
    )


def _dry_run(console, scorer, space, total: int, start: float) -> None:
    """Compile, score one batch, and say what the whole would take."""
    compiling = time.perf_counter()
    scorer.compile()
    compiled = time.perf_counter()
    scorer.measure([space.example()])
    begun = time.perf_counter()
    scorer.measure([space.sample(i) for i in _generators(scorer.batch_size)])
    each = (time.perf_counter() - begun) / scorer.batch_size
    console.print(
        f"A dry run: nothing was written. Compiling takes {compiled - compiling:.0f} s and "
        f"{scorer.peak_bytes / 2**30:.2f} GiB a device are "
        f"needed; a candidate takes {each:.2f} s, {total:,} take about "
        f"{(total * each + compiled - start) / 60:.1f} minutes."
    )


def _generators(count: int):
    import numpy as np

    return [np.random.default_rng(i) for i in range(count)]


def _report(
    workdir, config, ledger, scorer, proxy, candidates, winner, front, seconds: float
) -> None:
    """report.html, with the spectra of the winner's kernels, and its plain kernel by layer."""
    import jax

    from vintk_jax.ntk import reductions
    from vintk_jax.proxies.scorer import kernel_by_layer
    from vintk_jax.report.search_page import write_search_report
    from vintk_jax.study.run import failures

    space = ledger.space
    measured = scorer.measure([space.from_json(winner["arch"])])[0][0]
    kernels = {
        m.name: measured[m.name] for m in proxy.measurements if m.of == "kernel" and not m.stem
    }
    structured = config.ntk.implementation == "structured"
    layers = (
        kernel_by_layer(scorer.supernet, space.from_json(winner["arch"]))
        if "plain" in kernels and structured
        else {}
    )
    failed = len(failures(ledger))
    unscored = sum(r.get("score") is None for r in ledger.results().values()) - failed
    write_search_report(
        workdir / "report.html",
        title=f"Search of {config.space}",
        space=config.space,
        candidates=candidates,
        pareto=[c["number"] for c in front],
        spectra={view: reductions.spectrum(kernel).tolist() for view, kernel in kernels.items()},
        layers=layers,
        config=config.to_dict(),
        seed=config.seed,
        summary={
            **({"The score": proxy.meaning} if proxy.meaning else {}),
            "Architectures scored": f"{len(candidates):,}",
            "Beyond a limit, not scored": f"{unscored:,}",
            **({"Score is no number": f"{failed:,}"} if failed else {}),
            "Costs are those of": (
                f"one {'clip' if space.frames else 'image'} of "
                f"{' x '.join(map(str, space.input_shape()[:-1]))} px"
            ),
            "This run": (
                f"{seconds:.0f} s on {jax.local_device_count()} {jax.devices()[0].device_kind} "
                "device(s)"
            ),
            "Command": " ".join(["python", "-m", "vintk_jax.search", *sys.argv[1:]]),
        },
    )


if __name__ == "__main__":
    configs.run(main)
