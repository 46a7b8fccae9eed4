"""What a config stands for: models, optimizers, the initial state and the compiled steps."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from colorjax import augment, checkpoint, losses, parallel
from colorjax.errors import InputError
from colorjax.models import build_discriminator, build_generator
from colorjax.models.imagenet_weights import load_resnet50
from colorjax.optimizers import build_optimizer
from colorjax.state import (
    NetState,
    TrainState,
    Variables,
    create_train_state,
    init_variables,
    net_state,
)
from colorjax.steps import gan_step, regression_step

# The generator is never pretrained for more of a run than this.
MAX_PRETRAIN_SHARE = 0.8


class Run(NamedTuple):
    """A run before its first step; nothing is compiled yet.

    Attributes:
      name: of the model, in tables and pictures.
      state: placed on the devices.
      pretrain_step: (state, batch) -> (state, metrics), without a discriminator.
      adversarial_step: the same with one; None in a regression run.
      adversarial_from: the first step with a discriminator, counted from 0; num_steps without one.
      generator: as it predicts, outside of training.
    """

    name: str
    state: TrainState
    pretrain_step: Callable[..., Any]
    adversarial_step: Callable[..., Any] | None
    adversarial_from: int
    generator: nn.Module

    def step_at(self, step: int) -> Callable[..., Any]:
        """The compiled step with which a number of steps done is gone on from."""
        if self.adversarial_step is None or step < self.adversarial_from:
            return self.pretrain_step
        return self.adversarial_step


def build_run(config: ConfigDict) -> Run:
    """Builds what the config says; for what it raises see `train.train_and_evaluate`."""
    generator = build_generator(config.model, parallel.AXIS)
    g_rng, d_rng = jax.random.split(jax.random.key(config.seed))
    variables = init_variables(generator, g_rng, 1, image_size=config.image_size)
    if config.model.encoder_weights:
        variables = _with_encoder_weights(config.model, variables)
    if config.init_from:
        variables = checkpoint.restore_generator(config.init_from, variables)
    optimizer = build_optimizer(config.optimizer, config.num_steps)
    g_net = net_state(variables, optimizer)
    shared = {
        "generator": generator,
        "optimizer": optimizer,
        "ema_decay": config.ema_decay,
        "loss": losses.regression_loss(config.loss, config.huber_delta),
    }
    if "gan" not in config:
        return Run(
            name=config.model.name,
            state=parallel.replicate(create_train_state(config.seed, g_net, None)),
            pretrain_step=parallel.compile_train_step(partial(regression_step, **shared)),
            adversarial_step=None,
            adversarial_from=config.num_steps,
            generator=build_generator(config.model),
        )
    # In pretraining weighted as after it, so that the optimizer's moments stay true.
    shared["loss"] = losses.weighted(config.gan.regression_weight, shared["loss"])
    adversarial_from = 0
    if not config.init_from:
        limit = int(MAX_PRETRAIN_SHARE * config.num_steps)
        adversarial_from = min(config.generator_pretrain_steps, limit)
    d_net, adversarial_step = _build_adversary(
        config, d_rng, config.num_steps - adversarial_from, shared
    )
    return Run(
        name="gan",
        state=parallel.replicate(create_train_state(config.seed, g_net, d_net)),
        pretrain_step=parallel.compile_train_step(partial(regression_step, **shared)),
        adversarial_step=parallel.compile_train_step(adversarial_step),
        adversarial_from=adversarial_from,
        generator=build_generator(config.model),
    )


def _build_adversary(
    config: ConfigDict, rng: jax.Array, num_steps: int, shared: dict[str, Any]
) -> tuple[NetState, Callable[..., Any]]:
    """The discriminator, and the step that trains both networks."""
    gan = config.gan
    discriminator = build_discriminator(gan, config.model.dtype)
    optimizer = build_optimizer(gan.optimizer, num_steps)
    variables = init_variables(discriminator, rng, 1, 2, image_size=config.image_size)
    step = partial(
        gan_step,
        **shared,
        discriminator=discriminator,
        discriminator_optimizer=optimizer,
        adversarial=losses.adversarial_loss(gan.loss),
        augment=partial(
            augment.translate_and_cut, max_shift=gan.augment_shift, cut=gan.augment_cut
        ),
    )
    return net_state(variables, optimizer), step


def _with_encoder_weights(config: ConfigDict, variables: Variables) -> Variables:
    """The variables of a ResNet generator, with its encoder's from a file."""
    if config.name != "resnet":
        raise InputError(
            f"config.model.encoder_weights needs config.model.name='resnet', not {config.name!r}"
        )
    encoder = load_resnet50(
        config.encoder_weights, {kind: tree["encoder"] for kind, tree in variables.items()}
    )
    return {kind: {**tree, "encoder": encoder[kind]} for kind, tree in variables.items()}
