"""The model of resnet.py as the generator of a GAN: a discriminator becomes part of its loss."""

from ml_collections import ConfigDict

from configs import common


def get_config(dataset: str = "") -> ConfigDict:
    """See common.py for the other keys."""
    config = common.get(dataset)
    short = config.dataset.name == common.PROCEDURAL
    config.generator_pretrain_steps = int(config.num_steps * (0.75 if short else 0.8))

    config.gan = ConfigDict()
    # Adversarial loss: non_saturating, hinge or least_squares.
    config.gan.loss = "non_saturating"
    # λ: weight of the regression loss; the adversarial loss has weight 1.
    config.gan.regression_weight = 30.0
    # Multiplies every channel count of the discriminator.
    config.gan.width = 1.0
    # Whether the discriminator's kernels are divided by their largest singular value. In a short
    # run it would learn too slowly that way.
    config.gan.spectral_norm = not short
    # Largest random shift of the discriminator's inputs, as a fraction of the side.
    config.gan.augment_shift = 0.125
    # Side of a random blank square in the discriminator's inputs, as a fraction of the side.
    config.gan.augment_cut = 0.25
    config.gan.optimizer = common.optimizer(learning_rate=3e-4 if short else 1e-4)
    config.gan.optimizer.b1 = 0.5
    # The gradients of the regression loss are λ times as large.
    config.optimizer.clip_norm = 30.0
    # The MSE would choose a checkpoint from before the adversarial phase.
    config.best_checkpoint = "histogram_distance"
    # The adversarial phase comes last and needs a learning rate to learn from.
    config.optimizer.final_share = 0.3
    return config
