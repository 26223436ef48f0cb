"""Assigning token lengths, and inference by them: labels, assigner, budget, engine, comparison."""

import ml_collections

from vintk_jax.defaults.compile_cache import add_compile_cache


def adaptive() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.assign` and of adaptive `vintk_jax.infer`, set for the embedded
    digits.
    """
    config = ml_collections.ConfigDict()
    # draws the assigner's weights and batches, and what is random in the comparison
    config.seed = 0
    config.checkpoint = "best"  # of the training: best or last

    config.labels = ml_collections.ConfigDict()
    # images that the assigner learns from; the model must not have been trained on them
    config.labels.split = "assign"
    # label the training images instead, each by a model trained without its part; so many parts; 0:
    # labels.split
    config.labels.folds = 0
    # label where no length is right: shortest, longest, or drop (leave the image out)
    config.labels.none_right = "shortest"
    # learn from images that the model was trained on: labels come out too short
    config.labels.allow_training_images = False
    # other images, that the budget is kept on; empty: labels.split, each image foreseen without it
    config.labels.calibrate_split = ""

    config.tla = ml_collections.ConfigDict()
    # what it reads: shared (what the passes know), cnn or vit (a thumbnail)
    config.tla.kind = "shared"
    # what it foresees: the smallest right length (smallest), or right or wrong at each (each)
    config.tla.target = "smallest"
    # where passes are shared, look again after each but the longest; False: once, after the first
    config.tla.again = True
    # weight of what shorter passes have said in what a longer one says, where passes are shared
    config.tla.keep = 0.3
    config.tla.width = 64  # of its layers
    config.tla.thumbnail = 16  # pixels a side
    config.tla.epochs = 20.0  # passes over the labels
    config.tla.batch_size = 128  # labels a step
    config.tla.learning_rate = 1e-3  # peak
    config.tla.weight_decay = 0.05  # AdamW's
    # weight of the expected cost in the loss, beside the cross-entropy
    config.tla.cost_weight = 0.0

    config.budget = ml_collections.ConfigDict()
    # percentage points that accuracy may be below the longest length's; inf: no limit
    config.budget.max_drop = 0.2
    # how sure that should be for new images, by the spread over those that thresholds are set by
    config.budget.confidence = 0.9
    # what keeps max_drop: the drop on the images that thresholds are set by with its spread
    # (measured), or an exact limit for new images, which wants many (promised)
    config.budget.by = "measured"
    config.budget.max_cost = 1.0  # share of the longest length's multiply-adds

    config.data = ml_collections.ConfigDict()
    config.data.source = ""  # empty: the training's; or images:PATH and the like to predict on
    config.data.split = ""  # that infer goes through; empty: the split that the training tested on
    config.data.batch_size = 64  # images in a full batch
    config.data.threads = 2  # threads that read images; 0: the one that runs the rest

    config.engine = ml_collections.ConfigDict()
    config.engine.max_wait_ms = 20.0  # that an image may wait for company at each step
    config.engine.batch_sizes = (1, 8)  # besides the full batch; programs are compiled for each

    config.compare = ml_collections.ConfigDict()
    config.compare.images = 2000  # the first so many of the images
    # timed runs of every method, in turn; 0: assign and predict, compare nothing
    config.compare.rounds = 5
    # budgets (points) that methods with a setting are compared at, besides budget.max_drop
    config.compare.drops = (0.5, 1.0, 2.0)
    add_compile_cache(config)
    return config
