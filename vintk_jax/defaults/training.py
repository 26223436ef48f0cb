"""A training: data, model, loss, augmentation, optimiser, mesh, checkpoints."""

import ml_collections

from vintk_jax.defaults.compile_cache import COMPILE_CACHE
from vintk_jax.defaults.field import Field, filled
from vintk_jax.defaults.rules import (
    CHECKED_WHERE_USED,
    COUNT,
    COUNT_OR_ZERO,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SHARE,
    SHARE_ABOVE_ZERO,
    SHARE_BELOW_ONE,
    THREADS,
    choice,
    exactly_or,
    number,
)

DATA = {
    "data.source": Field(
        "digits",
        "digits (no download), tfds:NAME, folder:PATH of class folders, npz:PATH (x_train, "
        "y_train, x_test, ...)",
        CHECKED_WHERE_USED,
    ),
    "data.train_split": Field(
        "train", "images to train on: a split, or a part such as train[:90%]", CHECKED_WHERE_USED
    ),
    "data.test_split": Field("test", "images that accuracy is measured on", CHECKED_WHERE_USED),
    "data.image_size": Field(32, "pixels a side", COUNT_OR_ZERO),
    "data.batch_size": Field(64, "images a step, over all devices", COUNT),
    "data.crop_ratio": Field(
        1.0,
        "side of the square that a model is tested on, as a share of the image's shorter side",
        SHARE_ABOVE_ZERO,
    ),
    "data.threads": Field(2, "threads that prepare images; 0: the training's own", THREADS),
}

MODEL = {
    "model.arch": Field(
        "", "best.json of a search, instead of the sizes that follow", CHECKED_WHERE_USED
    ),
    "model.embed_dim": Field(64, "width of a token", COUNT),
    "model.depth": Field(3, "number of blocks", COUNT),
    "model.num_heads": Field(4, "heads of each block", COUNT),
    "model.mlp_ratio": Field(3.0, "width of the MLP over embed_dim", number(0.01, 1024)),
    "model.pool": Field(
        "token",
        "what the classifier reads: the class token (token) or the mean of the others (mean)",
        choice("token", "mean"),
    ),
    "model.stem_width": Field(
        0,
        "channels of a convolutional stem before the patches (LV-ViT: 64); 0: none",
        COUNT_OR_ZERO,
    ),
    "model.stem_sides": Field(
        (7, 3, 3),
        "pixels a side of the kernels of the stem's convolutions, the first over half the "
        "resolution; (3,) is the cheapest",
        CHECKED_WHERE_USED,
    ),
    "model.residual_scale": Field(
        1.0,
        "what residuals are multiplied by before they are added (LV-ViT: 0.5 from 16 blocks on)",
        POSITIVE,
    ),
    "model.aux_head": Field(
        False,
        "a classifier of patches, which counts half in the answer and learns from loss.teacher "
        "(LV-ViT)",
        CHECKED_WHERE_USED,
    ),
    "model.lengths": Field(
        (4, 2, 1),
        "tokens a side of each length, longest first; one number: an ordinary ViT",
        CHECKED_WHERE_USED,
    ),
    "model.regions": Field(
        (),
        "lengths by region: of the shortest length's tokens, how many (the most relevant) a second "
        "pass cuts into four; needs model.pool=mean",
        CHECKED_WHERE_USED,
    ),
    "model.patch_size": Field(
        8,
        "pixels a side that the patch kernel is stored for; 0: those of the longest length",
        COUNT_OR_ZERO,
    ),
    "model.separate_norms": Field(
        True,
        "whether each length has its own scale and shift in every norm; False: one for all",
        CHECKED_WHERE_USED,
    ),
    "model.init": Field(
        "fan_in",
        "deviation of a ViT's first weights: by the number of inputs (fan_in, for narrow models), "
        "or 0.02 for all, as in DeiT (deit)",
        choice("fan_in", "deit"),
    ),
    "model.weights": Field(
        "",
        "a file of weights to start from: timm's, Hugging Face's, Google's .npz, AutoFormer's "
        "supernet (docs/weights.md)",
        CHECKED_WHERE_USED,
    ),
    "model.weights_head": Field(
        "file",
        "the classifier to start from: the file's, or one drawn for the data's classes (new)",
        choice("file", "new"),
    ),
    "model.weights_pixels": Field(
        "",
        "how pixels are standardised for the weights of the file: by ImageNet's means and "
        "deviations (imagenet), to -1 to 1 (half) or as for Kinetics (kinetics); empty: as the "
        "file says, or as is usual for its kind",
        choice("", "imagenet", "half", "kinetics"),
    ),
    "model.weights_averaged": Field(
        True,
        "whether the running mean is taken from a file that holds both it and the last step's "
        "weights",
        CHECKED_WHERE_USED,
    ),
    "model.dtype": Field(
        "float32",
        "type of the computation; parameters are float32",
        choice("float32", "bfloat16"),
    ),
    "model.scan": Field(
        False,
        "one compiled block for all: compiles faster, runs slower on a CPU",
        CHECKED_WHERE_USED,
    ),
    "model.remat": Field(
        False, "recompute activations in the backward pass, to save memory", CHECKED_WHERE_USED
    ),
}

LOSS = {
    "loss.label_smoothing": Field(
        0.0, "share of a target that is spread over all classes", SHARE_BELOW_ONE
    ),
    "loss.distill": Field(
        0.5, "weight of the longest length's answer in the loss of the shorter ones", SHARE
    ),
    "loss.teacher": Field(
        "",
        "workdir of a training whose model labels every patch (token labelling); empty: each patch "
        "has the image's label",
        CHECKED_WHERE_USED,
    ),
    "loss.token_weight": Field(
        0.5,
        "weight of the patches' labels beside the image's, for a model with aux_head, or with "
        "pool=mean and a teacher",
        NOT_NEGATIVE,
    ),
    "loss.drop_path": Field(
        0.0,
        "probability of leaving the last block's residuals out (stochastic depth)",
        SHARE_BELOW_ONE,
    ),
}

AUGMENT = {
    "augment.resized_crop": Field(
        0.0, "least share of the area that a random crop shows; 0: the centre square", SHARE
    ),
    "augment.padding": Field(0, "pixels that an image is moved by at most", COUNT_OR_ZERO),
    "augment.flip": Field(False, "mirror half of the images", CHECKED_WHERE_USED),
    "augment.randaugment_ops": Field(0, "operations of RandAugment an image", COUNT_OR_ZERO),
    "augment.randaugment_magnitude": Field(9.0, "strength of RandAugment", number(0, 10)),
    "augment.erasing": Field(0.0, "probability of random erasing", SHARE),
    "augment.mixup": Field(0.0, "alpha of mixup; 0: none", NOT_NEGATIVE),
    "augment.cutmix": Field(
        0.0, "alpha of CutMix; 0: none; with mixup each half of the time", NOT_NEGATIVE
    ),
}

OPTIMIZER = {
    "optimizer.name": Field(
        "muon",
        "muon: Muon for the blocks' matrices and AdamW for the rest (fewer steps to the same "
        "loss); adamw: AdamW for all",
        choice("muon", "adamw"),
    ),
    "optimizer.epochs": Field(10.0, "passes over the images", NOT_NEGATIVE),
    "optimizer.steps": Field(0, "steps, instead of epochs; 0: by epochs", COUNT_OR_ZERO),
    "optimizer.learning_rate": Field(
        8e-3, "highest learning rate; AdamW wants less, such as 2e-3", POSITIVE
    ),
    "optimizer.warmup": Field(
        0.1, "share of the run in which the learning rate grows from 0 to the highest", SHARE
    ),
    "optimizer.weight_decay": Field(0.05, "weight decay of weight matrices", NOT_NEGATIVE),
    "optimizer.beta2": Field(0.999, "beta2 of AdamW", SHARE_BELOW_ONE),
    "optimizer.clip_norm": Field(
        1.0, "largest norm of the whole gradient; 0: no limit", NOT_NEGATIVE
    ),
    "optimizer.layer_decay": Field(
        1.0, "learning rate of a layer over that of the one above", SHARE_ABOVE_ZERO
    ),
    "optimizer.accumulate": Field(
        0,
        "pieces that a batch is computed in, one after another; 0: on a CPU as many as make one "
        "fit its cache, else one",
        COUNT_OR_ZERO,
    ),
    "optimizer.ema": Field(
        0.0,
        "decay of a running mean of the parameters, which is then what is evaluated; 0: none",
        SHARE_BELOW_ONE,
    ),
}

TRAINING = {
    "seed": Field(
        0,
        "draws weights, the images' order, augmentation; the same seed gives the same parameters",
        SEED,
    ),
    "log_every": Field(20, "steps between lines of metrics.jsonl", COUNT),
    **DATA,
    **MODEL,
    **LOSS,
    **AUGMENT,
    **OPTIMIZER,
    "mesh.data": Field(
        -1,
        "devices with a copy of the model each; -1: all that fsdp and tensor leave",
        exactly_or(-1, COUNT, "a number of devices, or -1"),
    ),
    "mesh.cpu_devices": Field(
        0,
        "without an accelerator, what mesh.data=-1 takes: devices that share the cores and each "
        "batch; 0: one a core, if the batch can be cut evenly and is enough work",
        COUNT_OR_ZERO,
    ),
    "mesh.fsdp": Field(1, "devices that parameters are cut up over", COUNT),
    "mesh.tensor": Field(1, "devices that matrix products are cut up over", COUNT),
    "checkpoints.every_epochs": Field(
        1.0,
        "epochs between evaluations, each with a checkpoint; a kill loses at most so many",
        POSITIVE,
    ),
    **COMPILE_CACHE,
}


def training() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.train`, set for the embedded digits (our choices, by trying)."""
    return filled(TRAINING)
