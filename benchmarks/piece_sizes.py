"""In pieces of how many images does a train step go through its batch fastest?

    python -m benchmarks.piece_sizes

Times a step of several models with the batch whole and in 2, 4, 8 ... pieces, in turns, and prints
each beside the fastest; and beside it the bytes that all operations of a piece's forward pass put
out, by which `vintk_jax/pieces.py` chooses. The mark is on the choice of that rule.
"""

import argparse
import dataclasses

import numpy as np

from benchmarks import common


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and a batch of it; the fields are those of `ViT`, sizes in pixels and tokens a
    side.
    """

    name: str
    embed_dim: int
    depth: int
    num_heads: int
    image_size: int
    lengths: tuple[int, ...]
    batch: int


CASES = (
    Case("64 columns, three lengths", 64, 6, 4, 32, (4, 2, 1), 64),
    Case("128 columns, three lengths", 128, 8, 4, 32, (8, 6, 4), 128),
    Case("narrow, fine patches", 48, 4, 4, 32, (16,), 64),
    Case("DeiT-Ti, 64 px", 192, 12, 3, 64, (4,), 64),
    Case("DeiT-Ti, 224 px", 192, 12, 3, 224, (14,), 16),
)


def main() -> None:
    """Time all cases; print a table of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    common.add_cases(parser, len(CASES))
    arguments = parser.parse_args()
    from vintk_jax.jax_settings import cores, set_up_training

    set_up_training(cpu_devices=cores())
    from benchmarks.revits import chosen_pieces, revit, train_step
    from vintk_jax.models.passes import bytes_a_sample

    results = {}
    for case in (CASES[number] for number in arguments.cases):
        counts = [count for count in (1, 2, 4, 8, 16, 32) if case.batch // count >= cores()]
        shape = (case.image_size, case.image_size, 3)
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (case.batch, *shape), np.uint8)
        labels = rng.integers(0, 10, case.batch).astype(np.int32)
        grids = tuple((side, side) for side in case.lengths)
        size = bytes_a_sample(revit(case, case.lengths), grids, shape)
        runs = {
            str(count): train_step(case, case.lengths, images, labels, pieces=count)
            for count in counts
        }
        sampled = common.alternate(runs, arguments.rounds)
        seconds = {count: sampled[str(count)].median_s for count in counts}
        chosen = chosen_pieces(case, case.lengths, case.batch)
        fastest = min(seconds.values())
        rows = [
            [
                f"{count}{' *' if count == chosen else ''}",
                str(case.batch // count),
                f"{case.batch // count * size / 2**20:.0f}",
                f"{1000 * seconds[count]:.0f}",
                f"{seconds[count] / fastest:.2f}",
            ]
            for count in counts
        ]
        heads = ["pieces", "images", "MiB put out", "ms a step", "over the fastest"]
        common.print_table(f"{case.name}: batch {case.batch}", heads, rows)
        results[case.name] = {"bytes_a_sample": size, "seconds": seconds, "chosen": chosen}
    common.write_json(
        common.RESULTS / "piece_sizes.json", {"machine": common.machine(), "cases": results}
    )


if __name__ == "__main__":
    main()
