"""Which form of the score? The plan in docs/proxies.md, carried out on the kernels that `collect` kept.

    python -m benchmarks.vintk_study.forms TABLES_FOLDER KERNELS_FOLDER [--top 15]

A form joins two views by a sum or a difference of one reduction, or takes one view alone. Its value on a family is the mean Kendall tau over
the family's columns; forms are compared on a random half of the rows (seed 0), by the smaller of two families' values, and what the chosen
one reaches on the other half of the third family is its worth.
"""

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from vintk_jax.ntk import reductions

FAMILIES = {
    "autoformer-tiny": {"autoformer_tiny_imagenet": ("imagenet_inherited",), "autoformer_tiny_trained": ("c100_kd", "flower_kd")},
    "autoformer-small": {"autoformer_small_imagenet": ("imagenet_inherited",)},
    "pit": {"pit_trained": ("c100_base", "c100_kd")},
}
SHORT = {
    "autoformer_tiny_imagenet": "tiny",
    "autoformer_tiny_trained": "trained",
    "autoformer_small_imagenet": "small",
    "pit_trained": "pit",
}
REDUCTIONS: dict[str, Callable] = {
    "participation": reductions.log_participation_ratio,
    "effective rank": lambda k: float(np.log(reductions.effective_rank(k))),
    "-condition": lambda k: -float(np.log(reductions.condition_number(k))),
    "trace": lambda k: float(np.log(reductions.trace(k))),
    "determinant": reductions.log_determinant,
    "largest": lambda k: float(np.log(reductions.largest_eigenvalue(k))),
}
JOINS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b}


def load(tables: Path, kernels: Path, group: str):
    """By table: accuracies by name, and reduced kernels by (reduction, view); only tables that were collected."""
    found = {}
    for table, short in SHORT.items():
        path = kernels / f"{short}_{group}.npz"
        if not path.exists():
            continue
        content = json.loads((tables / f"{table}.json").read_text())
        with np.load(path) as data:
            rows, done = data["rows"], int(data["done"])
            views = {name: data[name][:done, 0] for name in data.files if name not in ("rows", "done")}
        accuracy = {}
        for name in content["rows"][0]["accuracy"]:
            column = [content["rows"][i]["accuracy"].get(name) for i in rows[:done]]
            accuracy[name] = np.array([np.nan if v is None else v for v in column], float)
        reduced = {(r, view): np.array([f(k) for k in ks]) for view, ks in views.items() for r, f in REDUCTIONS.items()}
        found[table] = (accuracy, reduced)
    return found


def forms(views: list[str]):
    """Names and functions from reduced kernels to scores."""
    made = {}
    for r in REDUCTIONS:
        for view in views:
            made[f"{r}({view})"] = lambda reduced, r=r, view=view: reduced[r, view]
        for a, b in itertools.permutations(views, 2):
            made[f"{r}({a}) - {r}({b})"] = lambda reduced, r=r, a=a, b=b: reduced[r, a] - reduced[r, b]
        for a, b in itertools.combinations(views, 2):
            made[f"{r}({a}) + {r}({b})"] = lambda reduced, r=r, a=a, b=b: reduced[r, a] + reduced[r, b]
    return made


def tau(score, accuracy) -> float:
    """Kendall's tau-b over what is known."""
    known = np.isfinite(score) & np.isfinite(accuracy)
    return float(stats.kendalltau(score[known], accuracy[known]).statistic)


def main() -> None:
    """Print the best forms, and what is chosen with each family left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("kernels", type=Path)
    parser.add_argument("--group", default="views")
    parser.add_argument("--top", type=int, default=15)
    args = parser.parse_args()
    found = load(args.tables, args.kernels, args.group)
    views = sorted({view for _, reduced in found.values() for _, view in reduced})
    half = {table: np.random.default_rng(0).permutation(len(next(iter(a.values())))) % 2 == 0 for table, (a, _) in found.items()}

    def values(form, part):
        of_family = {}
        for family, tables in FAMILIES.items():
            taus = [
                tau(form(found[t][1])[half[t] == part], found[t][0][column][half[t] == part])
                for t, columns in tables.items()
                if t in found
                for column in columns
            ]
            if taus:
                of_family[family] = float(np.mean(taus))
        return of_family

    chosen = {name: values(form, True) for name, form in forms(views).items()}
    families = list(next(iter(chosen.values())))
    print("form".ljust(64), *(f.rjust(17) for f in families))
    for name in sorted(chosen, key=lambda n: -min(chosen[n].values()))[: args.top]:
        print(name.ljust(64), *(f"{chosen[name][f]:17.2f}" for f in families))
    for left in families:
        others = [f for f in families if f != left]
        best = max(chosen, key=lambda n: min(chosen[n][f] for f in others))
        worth = values(forms(views)[best], False)
        print(f"left out {left}: chosen {best}; on its other half {worth[left]:.2f}")


if __name__ == "__main__":
    main()
