"""Compare training-free scores with trained accuracies: `python -m vintk_jax.rank --config
configs/rank.py --config.table=FILE`.

Scores every architecture of a table with any set of proxies. Then it reads the accuracies and says
how well each proxy ranks. The workdir gets scores.jsonl (the scores), rank.json (the comparison)
and rank.html (the same to look at). The same command resumes a stopped run.
"""

import functools

from vintk_jax.command_line import Invocation, command, run
from vintk_jax.errors import UserError
from vintk_jax.files import write_json
from vintk_jax.jax_settings import set_up_jax
from vintk_jax.workdir.config_claims import claim_workdir

MAY_CHANGE = ("num_architectures", "seeds", "batch_size", "ntk.memory_gb")


@command("rank", about=__doc__, default_config="configs/rank.py")
def main(invocation: Invocation) -> None:
    """Rank."""
    config = invocation.config
    workdir = invocation.workdir
    set_up_jax(config.ntk.dtype, invocation.compile_cache)

    from filelock import FileLock, Timeout

    from vintk_jax.ranking.setup import set_up
    from vintk_jax.report.console import make_console
    from vintk_jax.report.rank_table import rank_tables

    console = make_console()
    ranking = set_up(config, functools.partial(console.print, style="yellow"))
    console.print(f"{ranking.headline()}, into {workdir}")
    if invocation.dry_run:
        console.print(
            "A dry run: nothing was written. `python -m vintk_jax.search --dry-run` says what an "
            "architecture takes."
        )
        return
    claim_workdir(workdir, "rank", config, MAY_CHANGE, ranking.definitions(), ranking.identities())
    try:
        with FileLock(workdir / ".rank.lock", timeout=0):
            result = _rank(console, ranking, workdir)
    except Timeout as error:
        raise UserError(
            f"Another process ranks into {workdir}. Wait for it, or choose another --workdir."
        ) from error
    except KeyboardInterrupt:
        console.print("\nStopped; what is scored is kept. The same command goes on.")
        raise
    for table in rank_tables(result):
        console.print(table)
    console.print(f"Written to {workdir / 'rank.json'}; open {workdir / 'rank.html'} to see it.")


def _rank(console, ranking, workdir) -> dict:
    """Score what isn't scored yet, and compare. Writes scores.jsonl, rank.json and rank.html."""
    from vintk_jax.ranking import scores
    from vintk_jax.ranking.compare import compare_all, values_of
    from vintk_jax.report.progress import Progress
    from vintk_jax.report.rank_page import write_rank_report

    config = ranking.config
    table = ranking.table
    path = workdir / "scores.jsonl"
    wanted = {(row, seed) for seed in range(config.seeds) for row in table.rows}
    done = len(scores.finished(path, table).keys() & wanted)
    with Progress(len(wanted), done=done, unit="architectures", console=console) as progress:
        records = scores.score_all(
            path,
            table,
            ranking.proxies,
            ranking.make_scorers,
            progress.update,
            progress.phase,
            config.seeds,
        )
    values = values_of(ranking.proxies, records)
    result = compare_all(table, ranking.proxies, records, values, config.seed)
    write_json(workdir / "rank.json", result)
    write_rank_report(workdir / "rank.html", result, values, table.accuracies(), config.to_dict())
    return result


if __name__ == "__main__":
    run(main)
