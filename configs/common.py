"""The keys that all configs share, with their units and defaults."""

from ml_collections import ConfigDict

PROCEDURAL = "procedural_faces"


def get(dataset: str) -> ConfigDict:
    """The shared keys for a data set: a short recipe for a CPU, or the full-length one.

    Args:
      dataset: a value of `config.dataset.name`; procedural_faces if empty.
    """
    dataset = dataset or PROCEDURAL
    short = dataset == PROCEDURAL

    config = ConfigDict()
    # Seed of the initial parameters, the order of the images and their augmentation.
    config.seed = 0
    # Number of generator updates.
    config.num_steps = 480 if short else 100_000
    # Images per update, over all devices of all processes.
    config.batch_size = 16 if short else 256
    # Number of parts in which each device processes its images, to use less memory. BatchNorm
    # normalises each part separately.
    config.accumulate_steps = 1
    # Side of the square images in pixels, a multiple of 32.
    config.image_size = 64 if short else 128

    config.dataset = dataset_keys(dataset, short)
    config.damage = damage_keys(short)
    config.model = model_keys(short)
    # A run, RUN/checkpoints/STEP, RUN/checkpoints/best, exported weights, or such weights on the
    # Hugging Face Hub, hf:OWNER/NAME[@REVISION][/FILE] (extra `hub`): initialises the generator,
    # which may have more parts (a distribution, hints) but not fewer. A GAN then skips its
    # pretraining.
    config.init_from = ""

    # Regression loss on a*b* / 110: l1, l2 or huber.
    config.loss = "l1"
    # Error at which the Huber loss becomes linear, in units of a*b* / 110.
    config.huber_delta = 0.05
    # Weight of the second head's loss beside the regression's: the distribution of a*b*, for
    # several answers and their uncertainty. 0 builds a model without it.
    config.distribution = 0.0
    # Temperature of the annealed mean of the distribution, which the model then answers with: 1 for
    # the mean, less for bolder colours. 0 for the answer of the regression.
    config.temperature = 0.0
    # Fraction of the training images with hints, the true colours of a few places. 0 builds a model
    # that takes none.
    config.hints = 0.0
    config.optimizer = optimizer(learning_rate=1e-3)
    # Decay of the exponential moving average of parameters and batch statistics, smaller in the
    # first steps. The averaged model is the one evaluated.
    config.ema_decay = 0.999
    # Steps that a GAN trains without its discriminator; at most 80 % of num_steps.
    config.generator_pretrain_steps = 0

    # Steps between lines of training metrics.
    config.log_every = 10 if short else 100
    # Steps between evaluations with sample grids.
    config.eval_every = 120 if short else 2_000
    # Steps between checkpoints.
    config.checkpoint_every = 120 if short else 2_000
    # Number of newest checkpoints to keep.
    config.checkpoints_to_keep = 3
    # The checkpoint with the lowest validation metric of this name is kept too; none if empty.
    config.best_checkpoint = "mse"
    # Whether GPU kernels must be deterministic, which may be slower.
    config.deterministic = False
    # Whether metrics are also written for TensorBoard (extra `tensorboard`).
    config.tensorboard = False
    return config


def dataset_keys(name: str, short: bool) -> ConfigDict:
    """What is read, and how images are cropped."""
    config = ConfigDict()
    # procedural_faces, digiface1m or image_folder.
    config.name = name
    # Folders and zips of images, comma-separated.
    config.path = ""
    # Folders and zips of validation images; if empty, some people of `path` are held out.
    config.validation_path = ""
    # Folder for prepared data; the user's cache folder if empty.
    config.cache_dir = ""
    # The digiface1m variant, as named by `colorjax prepare`; needed if there are several.
    config.variant = ""
    # image_folder skips images with less than this chroma (Lab units) in 95 % of their pixels.
    # 0 keeps all images.
    config.min_chroma = 5.0
    # Smallest area of a random crop, as a fraction of that of the centre square.
    config.min_scale = 0.6
    # Whether to mirror images at random.
    config.flip = True
    # Number of decoding processes; 0 uses threads, -1 chooses by the number of CPUs.
    config.workers = 0 if short else -1
    return config


def damage_keys(short: bool) -> ConfigDict:
    """Simulated ageing of photographs, applied to L in training only.

    Each key is the largest strength, in [0, 1]; 0 turns it off. A short run has no time to learn
    from it.
    """
    config = ConfigDict()
    # Probability of each kind for an image. The strength is uniform in [0, the largest].
    config.probability = 0.5 if short else 0.3
    # Gaussian blur; at 1 its standard deviation is 2.5 % of the side.
    config.blur = 0.0 if short else 0.3
    # Uneven exposure; at 1 up to 70 % darker towards one side and the corners.
    config.exposure = 0.0 if short else 0.4
    # Contrast of hard paper; at 1 three times the contrast, with clipped blacks and whites.
    config.contrast = 0.0 if short else 0.3
    # Film grain; at 1 noise with a standard deviation of 0.1 of the range.
    config.grain = 0.0 if short else 0.4
    # Fading; at 1 the range of tones shrinks by 70 %.
    config.fade = 0.0 if short else 0.5
    # Scratches and specks; at 1 six scratches and ten specks.
    config.scratches = 0.0 if short else 0.3
    # Halftone dots of a print; at 1 nothing else is left.
    config.halftone = 0.0
    # JPEG artefacts; quality 75 at a strength near 0, quality 4 at 1.
    config.jpeg = 0.0 if short else 0.4
    return config


def model_keys(short: bool) -> ConfigDict:
    """The generator."""
    config = ConfigDict()
    # encoder_decoder, resnet or efficientnet_lite.
    config.name = "resnet"
    # Multiplies every channel count.
    config.width = 1.0
    # Of the computation in training: float32, bfloat16, or auto for the faster one on this machine,
    # chosen when the run starts. Parameters and losses are float32. A short run has the same
    # precision everywhere.
    config.dtype = "float32" if short else "auto"
    # Whether the decoder's layers also see the encoder's feature maps of their size.
    config.skip_connections = True
    # 1, or 4: the decoder stops at a quarter of the size, and a*b* are enlarged bilinearly.
    config.output_stride = 1
    # The encoder's ImageNet weights: a .pth or .safetensors file, as torchvision's or timm's of
    # ResNet-50; the same by name, as hf:timm/resnet50.a1_in1k (extra `hub`); or imagenet, for
    # efficientnet_lite, from the package of the extra `pretrained`.
    config.encoder_weights = ""
    return config


def optimizer(learning_rate: float) -> ConfigDict:
    """AdamW with a linear warm-up and a cosine decay."""
    config = ConfigDict()
    # Peak learning rate.
    config.learning_rate = learning_rate
    # Final learning rate as a fraction of the peak.
    config.final_share = 0.0
    # Updates of linear warm-up; at most 10 % of all.
    config.warmup_steps = 1_000
    # Decay of the first moment.
    config.b1 = 0.9
    # Decay of the second moment.
    config.b2 = 0.999
    # Decoupled weight decay, multiplied by the learning rate.
    config.weight_decay = 1e-4
    # Largest global norm of the gradients; larger ones are scaled down.
    config.clip_norm = 1.0
    return config
