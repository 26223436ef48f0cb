"""A training: data, model, loss, augmentation, optimiser, mesh, checkpoints."""

import ml_collections

from vintk_jax.defaults.compile_cache import add_compile_cache


def training() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.train`, set for the embedded digits (our choices, by trying)."""
    config = ml_collections.ConfigDict()
    # draws weights, the images' order, augmentation; the same seed gives the same parameters
    config.seed = 0
    config.log_every = 20  # steps between lines of metrics.jsonl

    config.data = ml_collections.ConfigDict()
    # digits (no download), tfds:NAME, folder:PATH of class folders, npz:PATH (x_train, y_train,
    # x_test, ...)
    config.data.source = "digits"
    config.data.train_split = "train"  # a split, or a part: train[:90%]
    config.data.test_split = "test"  # images that accuracy is measured on
    config.data.image_size = 32  # pixels a side
    config.data.batch_size = 64  # images a step, over all devices
    # share of the shorter side that is looked at when accuracy is measured
    config.data.crop_ratio = 1.0
    config.data.threads = 2  # threads that prepare images; 0: the training's own

    config.model = ml_collections.ConfigDict()
    config.model.arch = ""  # best.json of a search, instead of the sizes that follow
    config.model.embed_dim = 64  # width of a token
    config.model.depth = 3  # blocks
    config.model.num_heads = 4  # heads of each
    config.model.mlp_ratio = 3.0  # MLP width over embed_dim
    # what the classifier reads: the class token (token) or the mean of the others (mean)
    config.model.pool = "token"
    # channels of a convolutional stem ahead of the patches (LV-ViT: 64); 0: none
    config.model.stem_width = 0
    # what residuals are multiplied by before they are added (LV-ViT: 0.5 from 16 blocks on)
    config.model.residual_scale = 1.0
    # a classifier of patches, which counts half in the answer and learns from loss.teacher (LV-ViT)
    config.model.aux_head = False
    # tokens a side of each length, longest first; one number: an ordinary ViT
    config.model.lengths = (4, 2, 1)
    # pixels a side that the patch kernel is stored for; 0: the longest length's
    config.model.patch_size = 8
    config.model.separate_norms = True  # a norm's scale and shift for each length, or one for all
    # a ViT's weights by the number of inputs (narrow models), or DeiT's 0.02 for all (deit)
    config.model.init = "fan_in"
    # a file to start from: timm's, Hugging Face's, Google's .npz, AutoFormer's supernet
    # (docs/weights.md)
    config.model.weights = ""
    # the file's classifier, or one drawn for the data's classes (new)
    config.model.weights_head = "file"
    # how its model standardises pixels: imagenet, half (-1 to 1), kinetics; empty: as it says or is
    # usual
    config.model.weights_pixels = ""
    # whether the running mean is taken where the file holds both it and the last step's weights
    config.model.weights_averaged = True
    config.model.dtype = "float32"  # of the computation: float32, bfloat16; parameters are float32
    config.model.scan = False  # one compiled block for all: compiles faster, runs slower on a CPU
    config.model.remat = False  # recompute activations in the backward pass, to save memory

    config.loss = ml_collections.ConfigDict()
    config.loss.label_smoothing = 0.0  # share of a target spread over all classes
    config.loss.distill = 0.5  # weight of the longest length's answer in the shorter ones' loss
    # workdir of a training whose model labels every patch (token labelling); empty: the image's
    # label does
    config.loss.teacher = ""
    # weight of the patches' labels beside the image's, for a model with aux_head or pool=mean and a
    # teacher
    config.loss.token_weight = 0.5
    # probability of leaving the last block's residuals out (stochastic depth)
    config.loss.drop_path = 0.0

    config.augment = ml_collections.ConfigDict()
    # least share of the area that a random crop shows; 0: the centre square
    config.augment.resized_crop = 0.0
    config.augment.padding = 0  # pixels that an image is moved by at most
    config.augment.flip = False  # mirror half of the images
    config.augment.randaugment_ops = 0  # operations of RandAugment an image; 0: none
    config.augment.randaugment_magnitude = 9.0  # their strength, of 10
    config.augment.erasing = 0.0  # probability of random erasing
    config.augment.mixup = 0.0  # alpha of mixup; 0: none
    config.augment.cutmix = 0.0  # alpha of CutMix; with both, each half of the time

    config.optimizer = ml_collections.ConfigDict()
    # of the blocks' matrices, with AdamW for the rest (fewer steps to the same loss); or adamw for
    # all
    config.optimizer.name = "muon"
    config.optimizer.epochs = 10.0  # passes over the images
    config.optimizer.steps = 0  # steps instead of epochs; 0: by epochs
    config.optimizer.learning_rate = 8e-3  # peak; AdamW wants less, 2e-3 say
    config.optimizer.warmup = 0.1  # share of the run
    config.optimizer.weight_decay = 0.05  # of weight matrices
    config.optimizer.beta2 = 0.999  # AdamW's
    config.optimizer.clip_norm = 1.0  # of the whole gradient; 0: none
    config.optimizer.layer_decay = 1.0  # learning rate of a layer over that of the one above
    # pieces that a batch is gone through in; 0: on a CPU so many that one fits its cache, else one
    config.optimizer.accumulate = 0
    # decay of a running mean of the parameters, which is then what is evaluated; 0: none
    config.optimizer.ema = 0.0

    config.mesh = ml_collections.ConfigDict()
    config.mesh.data = -1  # devices with a copy of the model each; -1: all that the others leave
    config.mesh.fsdp = 1  # devices that parameters are cut up over
    config.mesh.tensor = 1  # devices that products are cut up over

    config.checkpoints = ml_collections.ConfigDict()
    # epochs between evaluations, each with a checkpoint: what a kill loses at most
    config.checkpoints.every_epochs = 1.0
    add_compile_cache(config)
    return config
