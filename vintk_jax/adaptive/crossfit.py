"""Labels for the images that a model was trained on, from models of its kind that haven't seen
them: each is trained on all parts but one.
"""

from collections.abc import Callable
from functools import reduce
from operator import add

import ml_collections

from vintk_jax.adaptive.answers import Answers
from vintk_jax.adaptive.session import Session
from vintk_jax.data.sources import folds, open_source
from vintk_jax.inference.predictor import Predictor
from vintk_jax.report.progress import Progress
from vintk_jax.tasks import kind_of
from vintk_jax.tasks.architecture import with_kept_arch
from vintk_jax.training.loop import fit
from vintk_jax.training.setup import set_up
from vintk_jax.weights import weights_reader
from vintk_jax.workdir.config_claims import claim_workdir


def cross_fitted_answers(
    session: Session,
    count: int,
    progress_of: Callable[[int, str], Progress],
    say: Callable[[str], None],
) -> Answers:
    """Answers to all training images, each by a model that was trained without it.

    The models are trained as the one in the workdir was, into assign/folds/; a run that was killed
    goes on, and where images or labels have changed since, other models are trained.

    Args:
        count: models.
        progress_of: (total, unit) -> a line of progress.

    Raises:
        UserError: as training does, and for folds that can't be.
    """
    where = session.training.data.source
    sources = kind_of(session.training).sources
    answers = []
    parts = folds(where, session.training.data.train_split, count, sources)
    for number, (part, others) in enumerate(parts):
        config = ml_collections.ConfigDict(session.training.to_dict())
        config.data.train_split = others
        config.model.arch = with_kept_arch(session.training.model, session.workdir).arch
        setup = set_up(config)
        # Models of other images or labels, as these were before, are not taken for these.
        folder = session.folder / "folds" / f"{number}-{setup.task.train.identity}"
        folder.mkdir(parents=True, exist_ok=True)
        claim_workdir(folder, "train", config, ())
        say(f"Fold {number + 1} of {count}: trained without {part}")
        with progress_of(setup.steps, "steps") as progress:
            read_weights = weights_reader(config, setup.spec.model, say)
            fit(setup, folder, progress, say, read_weights)
        predictor = Predictor.load(folder, config, session.config.checkpoint, say)
        source = open_source(where, part, sources)
        with progress_of(len(source), "images") as progress:
            answers.append(session.answers(predictor, source, f"{where} {part}", progress.update))
    return reduce(add, answers)
