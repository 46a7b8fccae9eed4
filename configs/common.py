"""Every key that the configs share, with its unit. `get(data_set)` is the regression's recipe."""

from ml_collections import ConfigDict

PROCEDURAL = "procedural_faces"


def get(dataset: str) -> ConfigDict:
    """The shared keys for a data set: a recipe for minutes on a CPU, or one of full length."""
    # An empty string chooses the default, so that --config=configs/gan.py needs nothing else.
    dataset = dataset or PROCEDURAL
    short = dataset == PROCEDURAL

    config = ConfigDict()
    # Fixes initial parameters, the order of the images and their augmentation.
    config.seed = 0
    # Updates of the generator.
    config.num_steps = 480 if short else 100_000
    # Images an update, over all devices of all processes.
    config.batch_size = 16 if short else 256
    # Each device goes through its images of an update in so many parts, to need less memory.
    # BatchNorm then normalises each part by itself; all else is as with one.
    config.accumulate_steps = 1
    # Side of the square images, in pixels: a multiple of 32.
    config.image_size = 64 if short else 128
    # The first updates see images at half the size, each at some quarter of the cost.
    config.half_size_steps = 0

    config.dataset = ConfigDict()
    # procedural_faces, digiface1m, image_folder.
    config.dataset.name = dataset
    # Folders and zips of images, comma-separated.
    config.dataset.path = ""
    # The same for validation; without it people of `path` are held out.
    config.dataset.validation_path = ""
    # Where prepared data are kept; by default in the user's cache folder.
    config.dataset.cache_dir = ""
    # Which digiface1m, as `colorjax prepare` named it; needed only where there are several.
    config.dataset.variant = ""
    # image_folder leaves out grey pictures: those with this chroma (Lab units) in less than a
    # twentieth of their pixels. 0 keeps all.
    config.dataset.min_chroma = 5.0
    # Random crops: the smallest share of the image's area.
    config.dataset.min_scale = 0.6
    # Whether every second image is mirrored.
    config.dataset.flip = True
    # Processes that decode; 0 is threads of this one, -1 chooses by the number of CPUs.
    config.dataset.workers = 0 if short else -1

    # What old photographs have suffered, done to the L that training sees; metrics are without.
    # Each is the largest strength in [0, 1]; 0 is none (a sheet: colorjax damages --output FILE).
    # Light in the long recipes; in a short one there is no time to learn what to make of it.
    config.damage = ConfigDict()
    # The chance of each to befall an image, at a strength uniform in [0, the largest].
    config.damage.probability = 0.5 if short else 0.3
    # Gaussian, a deviation of up to 2.5 % of the side.
    config.damage.blur = 0.0 if short else 0.3
    # Uneven light: up to 70 % darker towards a side and the corners.
    config.damage.exposure = 0.0 if short else 0.4
    # Hard paper: up to three times the contrast, ends lost.
    config.damage.contrast = 0.0 if short else 0.3
    # Film grain: noise of a deviation of up to 0.1 of the range.
    config.damage.grain = 0.0 if short else 0.4
    # Faded: up to 70 % of the range of tones gone, mostly the dark ones.
    config.damage.fade = 0.0 if short else 0.5
    # Up to six scratches and ten specks.
    config.damage.scratches = 0.0 if short else 0.3
    # The dots of a print, mixed in by this share.
    config.damage.halftone = 0.0
    # Blocks of a JPEG, of quality 75 down to 4.
    config.damage.jpeg = 0.0 if short else 0.4

    config.model = ConfigDict()
    # encoder_decoder, resnet.
    config.model.name = "resnet"
    # Multiplies every channel count.
    config.model.width = 1.0
    # Of the computation: float32, bfloat16. Parameters and losses are float32.
    config.model.dtype = "float32"
    # Whether the decoder also sees the encoder's feature maps of its size.
    config.model.skip_connections = True
    # ImageNet weights of ResNet-50: torchvision's .pth or timm's .safetensors.
    config.model.encoder_weights = ""
    # A run, RUN/checkpoints/STEP (or best) or exported weights: their averaged generator is started
    # from; a GAN then skips its pretraining.
    config.init_from = ""

    # Of a*b* / 110: l1, l2, huber.
    config.loss = "l1"
    # Where Huber's loss turns linear, in units of a*b* / 110.
    config.huber_delta = 0.05
    config.optimizer = optimizer(learning_rate=1e-3)
    # Of the moving average of parameters and statistics, which is what is evaluated; less at first.
    config.ema_decay = 0.999
    # The GAN's first steps, without its discriminator; at most 80% of num_steps.
    config.generator_pretrain_steps = 0

    # Steps between two lines of metrics.
    config.log_every = 10 if short else 100
    # Steps between two evaluations with sample grids.
    config.eval_every = 120 if short else 2_000
    # Steps between two checkpoints.
    config.checkpoint_every = 120 if short else 2_000
    # Older checkpoints are removed.
    config.checkpoints_to_keep = 3
    # But the one whose validation metric of this name is the lowest; empty: no such exception.
    config.best_checkpoint = "mse"
    # And that of this update, for another run to start from; 0: no such exception.
    config.keep_checkpoint = 0
    # Kernels on GPUs that give the same bits each time, which may be slower.
    config.deterministic = False
    # Whether metrics go to TensorBoard too (extra `tensorboard`).
    config.tensorboard = False
    return config


def optimizer(learning_rate: float) -> ConfigDict:
    """AdamW with warm-up and a cosine."""
    config = ConfigDict()
    # The highest.
    config.learning_rate = learning_rate
    # The share of it that is left at the end.
    config.final_share = 0.0
    # Updates until then; at most a tenth of all.
    config.warmup_steps = 1_000
    # Decay of the first moment.
    config.b1 = 0.9
    # Decay of the second moment.
    config.b2 = 0.999
    # Decoupled weight decay, times the learning rate.
    config.weight_decay = 1e-4
    # Gradients are scaled down to this global norm.
    config.clip_norm = 1.0
    return config
