"""Which form of the former score? The plan in docs/blocks_effect.md, carried out on the kernels
that `collect` kept.

    python -m benchmarks.vintk_study.forms TABLES_FOLDER KERNELS_FOLDER [--top 15]

A form takes one view alone, or joins the plain kernel and one Fourier view, which is what a config
can say (`fourier.mode` is one), by a sum or a difference of one reduction. Its value on a family is
the mean Kendall tau over the family's columns; forms are compared on a random half of the rows
(seed 0), by the smaller of two families' values, and what the chosen one reaches on the other half
of the third family is its worth.
"""

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from vintk_jax.ntk import reductions

FAMILIES = {
    "autoformer-tiny": {
        "autoformer_tiny_imagenet": ("imagenet_inherited",),
        "autoformer_tiny_trained": ("c100_kd", "flower_kd"),
    },
    "autoformer-small": {"autoformer_small_imagenet": ("imagenet_inherited",)},
    "pit": {"pit_trained": ("c100_base", "c100_kd")},
}
SHORT = {
    "autoformer_tiny_imagenet": "tiny",
    "autoformer_tiny_trained": "trained",
    "autoformer_small_imagenet": "small",
    "pit_trained": "pit",
}


def _log_of(reduction: Callable, sign: int = 1) -> Callable:
    def log(kernel) -> float:
        return sign * float(np.log(reduction(kernel)))

    return log


REDUCTIONS: dict[str, Callable] = {
    "participation": reductions.log_participation_ratio,
    "effective rank": _log_of(reductions.effective_rank),
    "-condition": _log_of(reductions.condition_number, sign=-1),
    "trace": _log_of(reductions.trace),
    "determinant": reductions.log_determinant,
    "largest": _log_of(reductions.largest_eigenvalue),
}
# Without its blocks a network with pooled tokens tells all images apart, one with a class token
# none (`proxies.kernels.blocks_effect`).
BEGIN = {
    "autoformer_tiny_imagenet": 1,
    "autoformer_tiny_trained": 1,
    "autoformer_small_imagenet": 1,
    "pit_trained": 0,
}
EFFECT = "blocks' effect"
PLAIN = "plain"


def load(tables: Path, kernels: Path, group: str):
    """By table: accuracies by name, and reduced kernels by (reduction, view); only tables that were
    collected.
    """
    found = {}
    for table, short in SHORT.items():
        path = kernels / f"{short}_{group}.npz"
        if not path.exists():
            continue
        content = json.loads((tables / f"{table}.json").read_text())
        with np.load(path) as data:
            rows = data["rows"]
            done = int(data["done"])
            views = {
                name: data[name][:done, 0] for name in data.files if name not in ("rows", "done")
            }
        accuracy = {}
        for name in content["rows"][0]["accuracy"]:
            column = [content["rows"][i]["accuracy"].get(name) for i in rows[:done]]
            accuracy[name] = np.array([np.nan if v is None else v for v in column], float)
        reduced = {
            (r, view): np.array([f(k) for k in ks])
            for view, ks in views.items()
            for r, f in REDUCTIONS.items()
        }

        def effect(ks, table=table):
            return np.array([abs(BEGIN[table] - reductions.distinct_share(k)) for k in ks])

        found[table] = (
            accuracy,
            reduced | {(EFFECT, view): effect(ks) for view, ks in views.items()},
        )
    return found


class Form(NamedTuple):
    """A score of reduced kernels: one reduction of one view, or of two.

    Attributes:
        sign: of the second view's: 1 or -1.
    """

    reduction: str
    view: str
    second: str | None = None
    sign: int = 1

    def __str__(self) -> str:
        name = f"{self.reduction}({self.view})"
        if self.second is None:
            return name
        return f"{name} {'+' if self.sign > 0 else '-'} {self.reduction}({self.second})"

    def score(self, reduced):
        """Of each architecture, from reduced kernels by (reduction, view)."""
        value = reduced[self.reduction, self.view]
        if self.second is None:
            return value
        return value + self.sign * reduced[self.reduction, self.second]


def forms(views: list[str]) -> dict[str, Form]:
    """All forms by name."""
    made = []
    for reduction in (*REDUCTIONS, EFFECT):
        made += [Form(reduction, view) for view in views]
        for a, b in itertools.permutations(views, 2):
            if PLAIN in (a, b):
                made.append(Form(reduction, a, b, sign=-1))
        for a, b in itertools.combinations(views, 2):
            if PLAIN in (a, b):
                made.append(Form(reduction, a, b))
    return {str(form): form for form in made}


def tau(score, accuracy) -> float:
    """Kendall's tau-b over what is known."""
    known = np.isfinite(score) & np.isfinite(accuracy)
    return float(stats.kendalltau(score[known], accuracy[known]).statistic)


def main() -> None:
    """Print the best forms, and what is chosen with each family left out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path)
    parser.add_argument("kernels", type=Path)
    parser.add_argument("--group", default="views")
    parser.add_argument("--top", type=int, default=15)
    args = parser.parse_args()
    found = load(args.tables, args.kernels, args.group)
    views = sorted(
        {
            view
            for _, reduced in found.values()
            for _, view in reduced
            if not view.startswith("noise")
        }
    )
    controls = sorted({view for _, reduced in found.values() for _, view in reduced} - set(views))
    half = {
        table: np.random.default_rng(0).permutation(len(next(iter(a.values())))) % 2 == 0
        for table, (a, _) in found.items()
    }

    def values(form, part):
        of_family = {}
        for family, tables in FAMILIES.items():
            taus = [
                tau(form.score(found[t][1])[half[t] == part], found[t][0][column][half[t] == part])
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

    def least(name: str) -> float:
        return min(chosen[name].values())

    for name in sorted(chosen, key=least, reverse=True)[: args.top]:
        print(name.ljust(64), *(f"{chosen[name][f]:17.2f}" for f in families))
    print("controls, and what they stand beside:")
    for view in controls:
        for form in (Form(EFFECT, view), Form(EFFECT, PLAIN, view)):
            print(str(form).ljust(64), *(f"{values(form, True)[f]:17.2f}" for f in families))
    for left in families:
        others = [f for f in families if f != left]
        worst = {name: min(of_family[f] for f in others) for name, of_family in chosen.items()}
        best = max(worst, key=worst.get)
        worth = values(forms(views)[best], False)
        print(f"left out {left}: chosen {best}; on its other half {worth[left]:.2f}")


if __name__ == "__main__":
    main()
