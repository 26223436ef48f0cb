"""Forms of a score, made of what `collect` measured, against accuracies.

    python -m benchmarks.score_study.forms --table benchmarks/results/cifar_table.json --rows first

Prints each form's Kendall tau, the mean over seeds, beside the counts and beside the same form of
Gaussian matrices of equal shapes; writes benchmarks/results/score_forms.json.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.score_study import tried
from benchmarks.score_study.collect import ROWS
from vintk_jax.ntk import reductions
from vintk_jax.proxies import block_counts
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

    def __init__(self, collected: dict[str, np.ndarray], place: int, pooled: bool, size: float):
        self.pooled = pooled
        self.size = size
        kernels = []
        spectra = []
        for name, values in collected.items():
            what, _, _ = name.partition(":")
            if what == "kernel":
                kernels.append(values[place].reshape(-1, *values.shape[-2:]))
            elif what == "spectra":
                spectra.append(values[place].reshape(-1, values.shape[-1]))
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
    made.pooled = measured.pooled
    made.size = measured.size
    made.kernels = measured.kernels
    made.shapes = measured.shapes

    def drawn(column: int, centred: bool) -> np.ndarray:
        spectra = []
        for width in measured.shapes[:, column]:
            x = rng.standard_normal((ROWS, width))
            x = x - x.mean(axis=0) if centred else x
            values = np.zeros(ROWS)
            squares = np.linalg.svd(x, compute_uv=False) ** 2
            values[: len(squares)] = squares
            spectra.append(np.sort(values / values.mean()))
        return np.stack(spectra)

    made.a = drawn(0, False)
    made.a_centred = drawn(0, True)
    made.g = drawn(1, False)
    made.g_centred = drawn(1, True)
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


def forms(measured: Measured) -> dict[str, float]:
    """The value of every form by its name; higher is better."""
    values = {
        **_forms_of_spectra(measured),
        **_forms_of_kernel(measured.kernels.sum(axis=0), measured.pooled),
        **_forms_of_layers(measured.kernels, measured.pooled),
    }
    for name, value in list(values.items()):
        if not name.startswith("mean"):
            log_value = np.log(max(value, 1e-12))
            values[f"log size + log({name})"] = float(np.log(measured.size) + log_value)
    return values


def _forms_of_spectra(measured: Measured) -> dict[str, float]:
    """Of both factors of each linear layer."""
    values = {}
    for centred in ("", "_centred"):
        a = getattr(measured, f"a{centred}")
        g = getattr(measured, f"g{centred}")
        for rho in RHOS:
            by_layer = {
                "A": logs(a, rho),
                "G": logs(g, rho),
                "A+G": logs(a, rho) + logs(g, rho),
                "evidence": evidence(a, g, rho),
            }
            for name, of_layers in by_layer.items():
                title = f"{name}{centred} rho={rho:g}"
                values[f"sum {title}"] = float(of_layers.sum())
                values[f"mean {title}"] = float(of_layers.mean())
        for name, spectra in {"a": a, "g": g}.items():
            ratios = participation(spectra)
            values[f"sum log PR {name}{centred}"] = float(np.log(ratios).sum())
            values[f"sum PR {name}{centred}"] = float(ratios.sum())
            values[f"mean PR {name}{centred}"] = float(ratios.mean())
    return values


def _forms_of_kernel(kernel: np.ndarray, pooled: bool) -> dict[str, float]:
    """Of the whole kernel."""
    distinct = reductions.distinct_share(kernel)
    return {
        "K log PR": reductions.log_participation_ratio(kernel),
        "K effective rank": reductions.effective_rank(kernel),
        "K distinct share": distinct,
        "K blocks' effect": abs(pooled - distinct),
        "K log trace": float(np.log(reductions.trace(kernel))),
        "K -log cond": -float(np.log(reductions.condition_number(kernel))),
    }


def _forms_of_layers(kernels: np.ndarray, pooled: bool) -> dict[str, float]:
    """Of each layer's share of the kernel."""
    distinct = shares(kernels)
    effects = np.abs(pooled - distinct)
    log_ratios = [reductions.log_participation_ratio(kernel) for kernel in kernels]
    return {
        "layers' mean effect": float(effects.mean()),
        "layers' sum of effects": float(effects.sum()),
        "layers' log PR of K": sum(log_ratios),
        "layers' mean log PR of K": float(np.mean(log_ratios)),
        "layers' sum of distinct shares": float(distinct.sum()),
        "layers' mean distinct share": float(distinct.mean()),
    }


def count_values(table: tables.Table) -> dict[str, np.ndarray]:
    """The counts, and the family width^p ratio^q."""
    space = table.space
    costs = [space.cost(arch) for arch in table.archs]
    values = {
        "params": [cost.params for cost in costs],
        "flops": [cost.flops for cost in costs],
        "depth": [space.total_depth(arch) for arch in table.archs],
        "log_hidden": [block_counts.log_hidden(space, arch) for arch in table.archs],
        "nsc": [block_counts.nsc(space, arch) for arch in table.archs],
    }
    for p in (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0):
        for q in (-0.5, 0.0, 0.25, 0.5, 1.0):
            if p or q:
                count = block_counts.width_ratio(p, q)
                name = f"width^{p:g} ratio^{q:g}"
                values[name] = [count(space, arch) for arch in table.archs]
    return {name: np.array(of_archs, float) for name, of_archs in values.items()}


def _by_form(measured: list[Measured]) -> dict[str, np.ndarray]:
    """By form, its value of each architecture."""
    values = [forms(m) for m in measured]
    return {name: np.array([of_arch[name] for of_arch in values]) for name in values[0]}


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
        collected = dict(np.load(path))
        places = np.flatnonzero(keep)
        sizes = [block_counts.width_ratio(0.5, 0.0)(table.space, table.archs[i]) for i in places]
        measured = [
            Measured(collected, i, getattr(table.archs[i], "pool", "mean") == "mean", size)
            for i, size in zip(places, sizes, strict=True)
        ]
        for name, values in _by_form(measured).items():
            results.setdefault(f"{view}: {name}", []).append(statistics.kendall_tau(values, y))
        if view != "plain":
            continue
        control = [gaussian(m, int(seed)) for m in measured]
        for name, values in _by_form(control).items():
            if "K" not in name and "layers'" not in name:
                tau = statistics.kendall_tau(values, y)
                results.setdefault(f"gaussian: {name}", []).append(tau)
    tried.report("forms", table, arguments.rows, results, arguments.show)


if __name__ == "__main__":
    main()
