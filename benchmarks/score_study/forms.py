"""Forms of a score, made of what `collect` measured, against accuracies.

    python -m benchmarks.score_study.forms --table benchmarks/results/cifar_table.json --rows first

Prints each form's Kendall tau, the mean over seeds, beside the counts and beside the same form of
Gaussian matrices of equal shapes; writes benchmarks/results/score_forms.json.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.score_study import tried
from benchmarks.score_study.collect import ROWS
from vintk_jax.ntk import reductions
from vintk_jax.proxies import counts
from vintk_jax.ranking import statistics, tables

RHOS = (1.0, 30.0, 1000.0)


class Measured:
    """What was collected of one architecture in one view.

    Attributes:
        pooled: whether the classifier reads a mean over tokens.
        size: the sum over blocks of the square root of the width.
        kernels: (layers, n, n), the live layers' shares.
        a, a_centred, g, g_centred: (linear layers, rows), spectra of both factors.
        shapes: (linear layers, 2), live columns of X and D.
    """

    def __init__(self, found: dict[str, np.ndarray], place: int, pooled: bool, size: float):
        self.pooled = pooled
        self.size = size
        kernels, spectra = [], []
        for name, values in found.items():
            what, _, _ = name.partition(":")
            if what == "kernel":
                own = values[place]
                kernels.append(own.reshape(-1, *own.shape[-2:]))
            elif what == "spectra":
                own = values[place]
                spectra.append(own.reshape(-1, own.shape[-1]))
        kernels = np.concatenate(kernels).astype(np.float64)
        self.kernels = kernels[np.trace(kernels, axis1=1, axis2=2) > 0]
        spectra = np.concatenate(spectra).astype(np.float64)
        shapes = np.round(spectra[:, -2:]).astype(int)
        live = (shapes > 0).all(axis=1)
        self.shapes = shapes[live]
        parts = np.split(np.maximum(spectra[live, :-2], 0), 4, axis=1)
        self.a, self.a_centred, self.g, self.g_centred = parts


def gaussian(measured: Measured, seed: int) -> Measured:
    """The same with spectra of Gaussian matrices of these shapes."""
    rng = np.random.default_rng(seed)
    made = object.__new__(Measured)
    made.pooled, made.size = measured.pooled, measured.size
    made.kernels = measured.kernels
    made.shapes = measured.shapes

    def drawn(column: int, centred: bool) -> np.ndarray:
        found = []
        for width in measured.shapes[:, column]:
            x = rng.standard_normal((ROWS, width))
            x = x - x.mean(axis=0) if centred else x
            values = np.zeros(ROWS)
            own = np.linalg.svd(x, compute_uv=False) ** 2
            values[: len(own)] = own
            found.append(np.sort(values / values.mean()))
        return np.stack(found)

    made.a, made.a_centred = drawn(0, False), drawn(0, True)
    made.g, made.g_centred = drawn(1, False), drawn(1, True)
    return made


def logs(values: np.ndarray, rho: float) -> np.ndarray:
    """By layer, sum over eigenvalues of log(1 + rho lambda)."""
    return np.log1p(rho * values).sum(axis=1)


def evidence(a: np.ndarray, g: np.ndarray, rho: float) -> np.ndarray:
    """By layer, mean over both spectra's pairs of log(1 + rho lambda mu), times the rows: the
    log-determinant of the layer's kernel as K-FAC has it, over the rows.
    """
    return np.log1p(rho * a[:, :, None] * g[:, None, :]).mean(axis=2).sum(axis=1)


def participation(values: np.ndarray) -> np.ndarray:
    """By layer, the participation ratio."""
    return values.sum(axis=1) ** 2 / (values**2).sum(axis=1)


def shares(kernels: np.ndarray) -> np.ndarray:
    """By layer, the share of the kernel's trace that tells inputs apart."""
    n = kernels.shape[-1]
    return 1 - kernels.sum((1, 2)) / (n * np.trace(kernels, axis1=1, axis2=2))


def forms() -> dict[str, Callable[[Measured], float]]:
    """All forms by name; higher is better."""
    found: dict[str, Callable[[Measured], float]] = {}
    for centred in ("", "_centred"):
        for rho in RHOS:

            def a(m, c=centred, r=rho):
                return logs(getattr(m, f"a{c}"), r)

            def g(m, c=centred, r=rho):
                return logs(getattr(m, f"g{c}"), r)

            def e(m, c=centred, r=rho):
                return evidence(getattr(m, f"a{c}"), getattr(m, f"g{c}"), r)

            def both(m, a=a, g=g):
                return a(m) + g(m)

            for name, by_layer in {"A": a, "G": g, "A+G": both, "evidence": e}.items():
                title = f"{name}{centred} rho={rho:g}"
                found[f"sum {title}"] = lambda m, f=by_layer: float(f(m).sum())
                found[f"mean {title}"] = lambda m, f=by_layer: float(f(m).mean())
        for factor in ("a", "g"):

            def of(m, f=factor + centred):
                return participation(getattr(m, f))

            found[f"sum log PR {factor}{centred}"] = lambda m, f=of: float(np.log(f(m)).sum())
            found[f"sum PR {factor}{centred}"] = lambda m, f=of: float(f(m).sum())
            found[f"mean PR {factor}{centred}"] = lambda m, f=of: float(f(m).mean())

    def whole(m):
        return m.kernels.sum(axis=0)

    found["K log PR"] = lambda m: reductions.log_participation_ratio(whole(m))
    found["K effective rank"] = lambda m: reductions.effective_rank(whole(m))
    found["K distinct share"] = lambda m: reductions.distinct_share(whole(m))

    def effect(m):
        return abs(m.pooled - reductions.distinct_share(whole(m)))

    found["K blocks' effect"] = effect
    found["layers' mean effect"] = lambda m: float(np.abs(m.pooled - shares(m.kernels)).mean())
    found["layers' sum of effects"] = lambda m: float(np.abs(m.pooled - shares(m.kernels)).sum())
    found["K log trace"] = lambda m: float(np.log(reductions.trace(whole(m))))
    found["K -log cond"] = lambda m: -float(np.log(reductions.condition_number(whole(m))))
    found["layers' log PR of K"] = lambda m: sum(
        reductions.log_participation_ratio(k) for k in m.kernels
    )
    found["layers' mean log PR of K"] = lambda m: float(
        np.mean([reductions.log_participation_ratio(k) for k in m.kernels])
    )
    found["layers' sum of distinct shares"] = lambda m: float(shares(m.kernels).sum())
    found["layers' mean distinct share"] = lambda m: float(shares(m.kernels).mean())
    for name, form in list(found.items()):
        if not name.startswith("mean"):
            found[f"log size + log({name})"] = lambda m, f=form: float(
                np.log(m.size) + np.log(max(f(m), 1e-12))
            )
    return found


def count_values(table: tables.Table) -> dict[str, np.ndarray]:
    """The counts, and the family width^p ratio^q."""
    space = table.space
    of = {
        "params": lambda arch: space.cost(arch).params,
        "flops": lambda arch: space.cost(arch).flops,
        "depth": space.total_depth,
        "log_hidden": lambda arch: counts.log_hidden(space, arch),
        "nsc": lambda arch: counts.nsc(space, arch),
    }
    for p in (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0):
        for q in (-0.5, 0.0, 0.25, 0.5, 1.0):
            if p or q:
                count = counts.width_ratio(p, q)
                of[f"width^{p:g} ratio^{q:g}"] = lambda arch, c=count: c(space, arch)
    return {name: np.array([f(arch) for arch in table.archs], float) for name, f in of.items()}


def main() -> None:
    """Evaluate all forms on the rows asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", required=True)
    parser.add_argument("--measured", type=Path, required=True, help="folder of collect's files")
    parser.add_argument("--accuracy", default="cifar10")
    parser.add_argument("--rows", choices=tried.ROWS, default="first")
    parser.add_argument("--show", type=int, default=40)
    arguments = parser.parse_args()
    table = tables.load(arguments.table, 0, 0)
    accuracy = table.accuracies()[arguments.accuracy]
    keep = tried.kept_rows(table, accuracy, arguments.rows)
    y = accuracy[keep]
    results = {}
    for name, values in count_values(table).items():
        results[f"count: {name}"] = [statistics.kendall_tau(values[keep], y)]
    for path in sorted(arguments.measured.glob("*.npz")):
        view, _, seed = path.stem.rpartition("-")
        found = dict(np.load(path))
        places = np.flatnonzero(keep)
        sizes = [counts.width_ratio(0.5, 0.0)(table.space, table.archs[i]) for i in places]
        measured = [
            Measured(found, i, getattr(table.archs[i], "pool", "mean") == "mean", size)
            for i, size in zip(places, sizes, strict=True)
        ]
        control = [gaussian(m, int(seed)) for m in measured] if view == "plain" else None
        for name, form in forms().items():
            values = np.array([form(m) for m in measured])
            results.setdefault(f"{view}: {name}", []).append(statistics.kendall_tau(values, y))
            if control is not None and "K" not in name and "layers'" not in name:
                values = np.array([form(m) for m in control])
                results.setdefault(f"gaussian: {name}", []).append(
                    statistics.kendall_tau(values, y)
                )
    tried.report("forms", table, arguments.rows, results, arguments.show)


if __name__ == "__main__":
    main()
