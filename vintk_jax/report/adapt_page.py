"""What adapting to a set of images came to, as one web page that needs nothing beside itself."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vintk_jax.report.adaptive_page import as_png, draw_methods
from vintk_jax.report.adaptive_table import takes_longest
from vintk_jax.report.describe import human_count, human_score, summarise
from vintk_jax.report.page import as_yaml, write_page
from vintk_jax.report.style import RAMP, STAR, style
from vintk_jax.report.svg import to_svg

SHOWN = 12  # images of each kind
MOST_CLASSES = 12  # rows
TITLES = {
    "easy": "Easy: every length is right, the shortest most surely",
    "needy": "Need all tokens: only the longest length is right",
    "hard": "Hard: no length is right",
}


def write_adapt_page(
    path: Path,
    *,
    result: Mapping[str, Any],
    methods: Mapping[str, Any],
    reasons: Sequence[tuple[str, str, str]],
    tiles: Mapping[str, Sequence[Mapping[str, Any]]],
    workdir: Path,
    model: Path,
    config: Mapping[str, Any],
) -> None:
    """Write the page.

    Args:
        result: what adapt.json holds.
        methods: what adaptive.json holds.
        reasons: of the plan.
        tiles: images of each kind of `TITLES`: the image, what it `is`, the length that it was
            `given`, and (length, what it said, whether right) of each.
        workdir, model: folders, for the lines to copy.
        config: the whole configuration.
    """
    chosen = result["at_equal_speed"][0]
    write_page(
        path,
        "adapt.html.j2",
        title=f"Adapted to {result['source']}",
        result=result,
        chosen=chosen,
        headline=_headline(result, chosen),
        found=_found(result),
        budget=_budget(result),
        lengths=_length_rows(result),
        accuracy_figure=_accuracy_figure(result),
        methods_figure=_methods_figure(methods),
        saved=_saved_rows(result),
        classes=_class_rows(result["by_class"]),
        all_classes=len(result["by_class"]),
        suffering=[row["name"] for row in result["by_class"] if row["lost"] > row["gained"]],
        galleries=[
            {"title": title, "tiles": [_tile(one) for one in tiles[name]]}
            for name, title in TITLES.items()
        ],
        next_steps=_next_steps(result, workdir, model),
        reasons=reasons,
        stages=_stage_rows(result),
        config=as_yaml(config),
    )


def _percent(share: int | float) -> str:
    return f"{100 * share:.1f}%"


def _headline(result: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("accuracy, each image at its own length", _percent(chosen["tla"])),
        ("against the longest length", f"{chosen['gain']:+.2f} points"),
        ("times its speed", f"{chosen['speed']:.2f} x"),
        ("parameters", human_count(result["params"])),
        ("minutes in all", f"{sum(result['taken_s'].values()) / 60:.1f}"),
    ]


def _budget(result: Mapping[str, Any]) -> str:
    """What was allowed, expected and measured."""
    budget = result["budget"]
    expected = result["thresholds"]
    points = result["points"]
    if takes_longest(result["at_equal_speed"][0]):
        return (
            f"The budget was a loss of {budget['max_drop']:g} points at most, "
            f"{budget['confidence']:.0%} sure. Within it, no setting is faster than the longest "
            "length: all images take that. A looser budget, or a model that is surer of its "
            "images, makes it pay."
        )
    return (
        f"The budget was a loss of {budget['max_drop']:g} points at most, "
        f"{budget['confidence']:.0%} sure. On the {expected['images']:,} images that thresholds "
        f"were set by, it is {expected['points']:+.2f} points; on the test images its 95% interval "
        f"is {points['low']:+.2f} to {points['high']:+.2f}."
    )


def _found(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the model is, and why it."""
    found = result["found"]
    pieces = summarise(found["best"]["arch"]) if found.get("best") else []
    why = {
        "model": f"It was given: the training in {found.get('from')}.",
        "weights": f"It begins from the weights in {found.get('from')}.",
        "arch": f"It was given: {found.get('from')}.",
    }.get(found["by"], "")
    if found["by"] == "search":
        best = found["best"]
        why = (
            f"Of {found['scored']:,} architectures of {best['space']} with at most "
            f"{found['limit_m']:g} M multiply-adds (at 64 px), none trained, it has the highest "
            f"score by {best['score_name']}: {human_score(best['score'])}, the median is "
            f"{human_score(found['median_score'])}."
        )
    return {"pieces": pieces, "why": why, "searched": found["by"] == "search"}


def _length_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = [
        (
            row["tokens"],
            _percent(row["accuracy"]),
            f"{_percent(row['low'])} to {_percent(row['high'])}",
            human_count(row["multiply_adds"]),
        )
        for row in result["lengths"]
    ]
    own = result["adaptive"]
    return [
        *rows,
        (
            "each its own",
            _percent(own["accuracy"]),
            f"{_percent(own['low'])} to {_percent(own['high'])}",
            "",
        ),
    ]


def _accuracy_figure(result: Mapping[str, Any]) -> Any:
    """Accuracy of each length with its interval; a line at what all lengths together reach."""
    import markupsafe
    from matplotlib.figure import Figure

    rows = list(reversed(result["lengths"]))
    own = result["adaptive"]
    with style(font_size=9.5):
        figure = Figure((5.2, 3.6), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            axes.plot([place] * 2, [100 * row["low"], 100 * row["high"]], color=RAMP[0])
            axes.plot(place, 100 * row["accuracy"], "o", color=RAMP[0], markersize=7)
        axes.axhspan(100 * own["low"], 100 * own["high"], color=STAR, alpha=0.12, linewidth=0)
        axes.axhline(100 * own["accuracy"], color=STAR, linewidth=1.5)
        axes.set_xticks(range(len(rows)), [row["tokens"] for row in rows])
        axes.set_xlim(-0.5, len(rows) - 0.5)
        axes.set(xlabel="tokens", ylabel="accuracy (%)")
        words = ", ".join(f"{row['tokens']} tokens {_percent(row['accuracy'])}" for row in rows)
        svg = to_svg(figure, "lengths", f"Accuracy at each length: {words}")
    return markupsafe.Markup(svg)


def _methods_figure(methods: Mapping[str, Any]) -> Any:
    import markupsafe
    from matplotlib.figure import Figure

    with style(font_size=9.5):
        figure = Figure((5.2, 3.6), layout="constrained")
        axes = figure.subplots()
        draw_methods(axes, methods)
        axes.legend(loc="best", fontsize="small")
        svg = to_svg(figure, "methods", "Accuracy of every method against its images a second")
    return markupsafe.Markup(svg)


def _saved_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each budget."""

    def reached(value: int | float | None) -> str:
        return "-" if value is None else _percent(value)

    return [
        (
            "any" if row["budget"] is None else f"{row['budget']:g}",
            f"{row['speed']:.2f} x",
            _percent(row["tla"]),
            f"{row['gain']:+.2f}",
            reached(row["random"]),
            reached(row["cascade"]),
        )
        for row in result["at_equal_speed"]
    ]


def _class_rows(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            row["name"],
            f"{row['images']:,}",
            _percent(row["longest"]),
            _percent(row["adaptive"]),
            f"{_percent(row['low'])} to {_percent(row['high'])}",
            f"{row['lost']:,}",
            f"{row['gained']:,}",
        )
        for row in rows[:MOST_CLASSES]
    ]


def _tile(tile: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows of an image; the alternative says it all."""
    said = ", ".join(
        f"{name} tokens say {what}{'' if right else ' (wrong)'}"
        for name, what, right in tile["said"]
    )
    return {
        "png": as_png(tile["image"]),
        "alt": f"An image of class {tile['is']}: {said}.",
        "is": tile["is"],
        "given": tile["given"],
        "wrong": not tile["said"][-1][2],
        "said": tile["said"][-1][1],
    }


def _next_steps(result: Mapping[str, Any], workdir: Path, model: Path) -> list[tuple[str, str]]:
    """(what one may want, a line to copy)."""
    commands = result["commands"]
    export = workdir / "export"
    drop = max(2 * result["budget"]["max_drop"], 1.0)
    source = result["source"]
    longer = f"vintk adapt --config adapt --config.data.source={source} --config.time_h=2"
    return [
        (
            "See how the length was chosen for every image, and all methods side by side",
            f"python -m webbrowser {(model / 'adaptive.html').absolute()}",
        ),
        (
            "Predict on a folder of new images, each at its own length",
            f"{commands['infer']} --config.data.source=images:FOLDER",
        ),
        (
            "Use the model in another program",
            f"python -c 'import vintk_jax; model = vintk_jax.from_pretrained(\"{export}\")'",
        ),
        (
            f"Allow a loss of {drop:g} points, for more speed",
            f"{commands['export']} --config.budget.max_drop={drop:g}",
        ),
        (
            "Allow more time, into a folder of its own: larger sizes are chosen",
            f"{longer} --workdir {workdir}_longer",
        ),
        (
            "Begin from weights that others have trained (a DeiT or AugReg file)",
            f"{longer} --config.given.weights=FILE --workdir {workdir}_from_weights",
        ),
    ]


def _stage_rows(result: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Stage, planned, taken, command."""

    def words(seconds: int | float | None) -> str:
        return "" if seconds is None else str(datetime.timedelta(seconds=round(seconds)))

    return [
        (
            name,
            words(planned),
            words(result["taken_s"].get(name)),
            result["commands"].get(name, ""),
        )
        for name, planned in result["planned_s"].items()
    ]
