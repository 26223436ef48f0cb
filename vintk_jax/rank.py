"""Hold training-free scores against trained accuracies: `python -m vintk_jax.rank --config
configs/rank.py --config.table=FILE`.

Scores every architecture of a table with any set of proxies, then reads the accuracies and says,
for each proxy, how well it ranks. scores.jsonl in the workdir holds the scores, rank.json the
comparison, rank.html the same to look at. The same command resumes a stopped run.
"""

from vintk_jax import config as configs
from vintk_jax import counting
from vintk_jax.errors import UserError
from vintk_jax.set_up import set_up_jax

MAY_CHANGE = ("num_architectures", "seeds", "batch_size", "ntk.memory_gb")


def _chosen(names: str) -> list:
    """The proxies of a comma-separated list, each once."""
    from vintk_jax import proxies

    listed = (
        proxies.names()
        if names.strip() == "all"
        else [name.strip() for name in names.split(",") if name.strip()]
    )
    if not listed:
        raise UserError(
            f"proxies={names!r} came; all, or some of {', '.join(proxies.names())}, was wanted."
        )
    return [proxies.get(name) for name in dict.fromkeys(listed)]


def main(argv: list[str]) -> None:
    """Rank from a command line."""
    invocation = configs.parse(
        argv, command="rank", about=__doc__, default_config="configs/rank.py"
    )
    if invocation is None:
        return
    config, workdir = invocation.config, invocation.workdir
    set_up_jax(config.ntk.dtype, invocation.compile_cache)

    from filelock import FileLock, Timeout

    from vintk_jax.data.identity import of_arrays
    from vintk_jax.proxies import definitions
    from vintk_jax.proxies.scorer import Scorer
    from vintk_jax.proxies.setup import described, load_images, make_supernet
    from vintk_jax.ranking import scores, tables
    from vintk_jax.ranking.compare import compare_all, values_of
    from vintk_jax.report.console import make_console
    from vintk_jax.report.progress import Progress
    from vintk_jax.report.rank_page import write_rank_report
    from vintk_jax.report.rank_table import rank_tables

    console = make_console()
    chosen = _chosen(config.proxies)
    table = tables.load(config.table, config.num_architectures, config.seed)
    if config.seeds < 1:
        raise UserError(f"Expected seeds of 1 at least, got {config.seeds}.")
    images = load_images(config, table.space, lambda note: console.print(note, style="yellow"))
    measurements = list({m.name: m for proxy in chosen for m in proxy.measurements}.values())
    console.print(
        f"{len(chosen)} proxies on {len(table.archs):,} architectures of {table.name} "
        f"({table.space.name}), "
        f"{described(config, table.space)}, seed {config.seed}"
        f"{f' and {config.seeds - 1} after it' if config.seeds > 1 else ''}, into {workdir}"
    )

    def make_scorers(seed: int):
        """For one seed, which draws inputs, features, weights and directions."""
        own = configs.with_seed(config, config.seed + seed)
        batch = images if seed == 0 else load_images(own, table.space, lambda note: None)
        supernet = make_supernet(own, table.space, measurements, batch)
        groups = {
            m.group: [other for other in measurements if other.group == m.group]
            for m in measurements
        }
        return {
            name: Scorer(supernet, group, batch_size=config.batch_size)
            for name, group in groups.items()
        }

    if invocation.dry_run:
        console.print(
            "A dry run: nothing was written. `python -m vintk_jax.search --dry-run` says what an "
            "architecture takes."
        )
        return
    counted = {"multiply_adds": counting.DEFINITION, **definitions(chosen)}
    own = {"images": of_arrays(images)}
    configs.claim_workdir(workdir, "rank", config, MAY_CHANGE, counted, own)
    try:
        with FileLock(workdir / ".rank.lock", timeout=0):
            wanted = {(row, seed) for seed in range(config.seeds) for row in table.rows}
            done = len(scores.finished(workdir / "scores.jsonl", table).keys() & wanted)
            with Progress(
                len(wanted), done=done, unit="architectures", console=console
            ) as progress:
                records = scores.score_all(
                    workdir / "scores.jsonl",
                    table,
                    chosen,
                    make_scorers,
                    progress.update,
                    progress.phase,
                    config.seeds,
                )
            values = values_of(chosen, records)
            result = compare_all(table, chosen, records, values, config.seed)
            configs.write_json(workdir / "rank.json", result)
            write_rank_report(
                workdir / "rank.html", result, values, table.accuracies(), config.to_dict()
            )
    except Timeout as error:
        raise UserError(
            f"Another process ranks into {workdir}. Wait for it, or choose another --workdir."
        ) from error
    except KeyboardInterrupt:
        console.print("\nStopped; what is scored is kept. The same command goes on.")
        raise
    for shown in rank_tables(result):
        console.print(shown)
    console.print(f"Written to {workdir / 'rank.json'}; open {workdir / 'rank.html'} to see it.")


if __name__ == "__main__":
    configs.run(main)
