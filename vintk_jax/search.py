"""Rank vision transformers without training any: `python -m vintk_jax.search --config
configs/vit_space.py`.

Candidates come from random, evolutionary (NSGA-II) or exhaustive search. Each is scored at
initialisation by its neural tangent kernels. Results go to the workdir: candidates.jsonl while the
search runs; best.json, pareto.json and report.html at the end. The same command resumes a stopped
search. Several processes that are started with one workdir share it.
"""

import functools
import time

from vintk_jax.command_line import Invocation, command, run
from vintk_jax.config_digest import digest
from vintk_jax.jax_settings import restart_with_large_pages, set_up_jax
from vintk_jax.workdir.config_claims import claim_workdir

_DRY_RUN_BATCHES = 2  # architectures take more or less time by their widths
MAY_CHANGE = (
    "search.num_candidates",
    "search.batch_size",
    "search.storage",
    "search.lease_s",
    "ntk.memory_gb",
)


@command("search", about=__doc__, default_config="configs/vit_space.py")
def main(invocation: Invocation) -> None:
    """Run a search."""
    start = time.perf_counter()
    config = invocation.config
    workdir = invocation.workdir
    set_up_jax(config.ntk.dtype, invocation.compile_cache)

    from vintk_jax.report.console import make_console
    from vintk_jax.searching import results
    from vintk_jax.searching.report import write_report
    from vintk_jax.searching.setup import set_up

    console = make_console()
    search = set_up(config, functools.partial(console.print, style="yellow"))
    console.print(f"{search.headline()}, into {workdir}")
    if invocation.dry_run:
        _dry_run(console, search, start)
        return
    claim_workdir(workdir, "search", config, MAY_CHANGE, search.definitions(), search.identities())
    fingerprint = digest(config, without=MAY_CHANGE)
    ledger = search.open_ledger(workdir, fingerprint)
    scorer = search.make_scorer()
    candidates = _score_all(console, search, ledger, scorer, workdir)
    results.write(
        workdir,
        candidates,
        space=config.space,
        seed=config.seed,
        score=search.proxy.name,
        limits={name: limit for name, limit in config.limits.items() if limit},
        digest=fingerprint,
    )
    seconds = time.perf_counter() - start
    write_report(workdir / "report.html", search, ledger, scorer, candidates, seconds)
    _print_outcome(console, search, ledger, candidates, seconds)
    console.print(
        f"The best is in {workdir / 'best.json'}; open {workdir / 'report.html'} to see the search."
    )


def _score_all(console, search, ledger, scorer, workdir) -> list:
    """Run the loop, with a line that says how far it is. Returns the scored candidates."""
    from vintk_jax.report.progress import Progress
    from vintk_jax.searching.run import run

    done = len(ledger.finished())
    try:
        with Progress(search.total, done=done, console=console) as progress:
            return run(
                ledger,
                scorer,
                search.proxy,
                search.limits,
                workdir,
                two_objectives=search.two_objectives,
                report=progress.update,
                phase=progress.phase,
            )
    except KeyboardInterrupt:
        console.print(
            f"\nStopped with {len(ledger.finished()):,} of {search.total:,} trials finished; all "
            "are kept. The same command goes on."
        )
        raise


def _print_outcome(console, search, ledger, candidates, seconds: float) -> None:
    """The table of the best, and what else there is to say."""
    from vintk_jax.report.search_table import best_table
    from vintk_jax.searching.run import failures

    console.print(best_table(candidates))
    console.print(f"{len(candidates):,} architectures scored; this run took {seconds:.0f} s.")
    failed = failures(ledger)
    if failed:
        console.print(
            f"{len(failed):,} could not be scored, and were left out. The first: {failed[0]}",
            style="yellow",
        )
    scores = {candidate.score for candidate in candidates}
    if len(candidates) > 1 and len(scores) == 1:
        console.print(
            f"All scores are {candidates[0].score:g}: {search.proxy.name} can't tell these "
            "architectures apart, so the best is any of them.",
            style="yellow",
        )


def _dry_run(console, search, start: float) -> None:
    """Compile, score some batches, and say what the whole would take."""
    import numpy as np

    scorer = search.make_scorer()
    compile_start = time.perf_counter()
    scorer.compile()
    compile_end = time.perf_counter()
    scorer.measure([search.space.example()])
    score_start = time.perf_counter()
    generator = np.random.default_rng(search.config.seed)
    for _ in range(_DRY_RUN_BATCHES):
        scorer.measure([search.space.sample(generator) for _ in range(scorer.batch_size)])
    each = (time.perf_counter() - score_start) / (_DRY_RUN_BATCHES * scorer.batch_size)
    minutes = (search.total * each + compile_end - start) / 60
    console.print(
        f"A dry run: nothing was written. Compiling takes {compile_end - compile_start:.0f} s and "
        f"{scorer.peak_bytes / 2**30:.2f} GiB a device are needed; a candidate takes {each:.2f} s, "
        f"{search.total:,} take about {minutes:.1f} minutes."
    )


if __name__ == "__main__":
    restart_with_large_pages()
    run(main)
