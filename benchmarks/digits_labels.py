"""Can the embedded set's token-length labels be read off its brightness, or the size of the digit,
without looking at the image?

    python -m benchmarks.digits_labels --workdir runs/revit_digits

After `assign` in that workdir. For single numbers of an image, all of them together, and the
assigner's chances: how well they tell images that need more than the shortest length from the
others (area under the ROC curve, over five folds; 0.5 is guessing). Logistic regression on twenty
steps of each number, by scikit-learn.
"""

import argparse
import runpy
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

from benchmarks import common


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/revit_digits"))
    workdir = parser.parse_args().workdir

    from vintk_jax.jax_settings import set_up_training

    set_up_training()
    from vintk_jax.adaptive import assigner_files, calibration, fitting
    from vintk_jax.adaptive.session import Session
    from vintk_jax.data.digits import scene

    config = runpy.run_path("configs/tla_digits.py")["get_config"]()
    session = Session.open(workdir, config, print)
    assigner, _ = assigner_files.read(session.folder, session.predictor.identity)
    answers = session.answers(session.predictor, *session.open_split("assign"), lambda done: None)
    needs_more = ~answers.right[:, 0] & answers.right.any(axis=1)
    scenes = [scene("assign", i) for i in range(len(answers.labels))]
    numbers = {
        "mean brightness": [made.image.mean() for made in scenes],
        "size of the digit": [made.side for made in scenes],
        "contrast": [made.contrast for made in scenes],
        "clutter": [made.clutter for made in scenes],
    }
    numbers = {name: np.array(values)[:, None] for name, values in numbers.items()}
    numbers["all four"] = np.concatenate(list(numbers.values()), axis=1)
    rows = []
    for name, values in numbers.items():
        model = make_pipeline(
            KBinsDiscretizer(20, quantile_method="averaged_inverted_cdf"),
            LogisticRegression(max_iter=200),
        )
        foreseen = cross_val_predict(model, values, needs_more, cv=5, method="predict_proba")[:, 1]
        rows.append([name, f"{roc_auc_score(needs_more, foreseen):.3f}"])
    how = fitting.Fit(
        config.labels.none_right, **{name: config.tla[name] for name in fitting.FIELDS}
    )
    chances = calibration.cross_fitted_chances(assigner, answers, how, config.seed, 1)[:, 0]
    rows.append(
        [
            "the assigner, after the shortest pass",
            f"{roc_auc_score(needs_more, chances[:, -1] - chances[:, 0]):.3f}",
        ]
    )
    title = f"{needs_more.mean():.1%} of {len(scenes):,} images need more than the shortest length"
    common.print_table(title, ["foreseen from", "area under the ROC curve"], rows)


if __name__ == "__main__":
    main()
