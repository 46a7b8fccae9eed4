"""The model of resnet.py as a generator, and a discriminator that becomes part of its loss."""

from ml_collections import ConfigDict

from configs import common


def get_config(dataset: str = "") -> ConfigDict:
    """For what the keys mean see here and common.py."""
    config = common.get(dataset)
    short = config.dataset.name == common.PROCEDURAL
    config.generator_pretrain_steps = int(config.num_steps * (0.75 if short else 0.8))

    config.gan = ConfigDict()
    # non_saturating, hinge, least_squares.
    config.gan.loss = "non_saturating"
    # λ: weight of the regression loss beside the adversarial one.
    config.gan.regression_weight = 30.0
    # The discriminator's channel counts are multiplied by this.
    config.gan.width = 1.0
    # Whether its kernels are divided by their largest singular value.
    # In a short run it slows the discriminator down to where it teaches nothing.
    config.gan.spectral_norm = not short
    # What it sees is shifted by at most this share of the side.
    config.gan.augment_shift = 0.125
    # What it sees has a blank square of this share of the side.
    config.gan.augment_cut = 0.25
    config.gan.optimizer = common.optimizer(learning_rate=3e-4 if short else 1e-4)
    config.gan.optimizer.b1 = 0.5
    # The regression's gradients are λ times as large.
    config.optimizer.clip_norm = 30.0
    # MSE would choose the regression, from before the discriminator.
    config.best_checkpoint = "histogram_distance"
    # The adversarial phase comes last, and has to be learnt from too.
    config.optimizer.final_share = 0.3
    return config
