"""From a config to models, optimizers, compiled steps and the initial state."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from colorjax.damage import DAMAGES, damage
from colorjax.models import build_discriminator, build_generator
from colorjax.models.variables import (
    Predictor,
    Variables,
    init_variables,
    jit_once,
    model_predictor,
)
from colorjax.parallel import devices
from colorjax.training import augment, losses
from colorjax.training.init_weights import with_weights
from colorjax.training.optimizers import build_optimizer
from colorjax.training.state import TrainState, create_train_state, net_state
from colorjax.training.steps import gan_step, judge_step, regression_step

Step = Callable[[TrainState, Any], tuple[TrainState, Any]]

# At most this fraction of a run is pretraining.
MAX_PRETRAIN_SHARE = 0.8


class TrainingPlan(NamedTuple):
    """What is fixed while a model is trained. Steps are compiled on their first call.

    Attributes:
      name: name of the model in tables and images.
      generator: in float32, for predictions.
      temperature: of the model's answer, see `answers.answer`.
      adversarial_from: index of the first step with a discriminator; num_steps for a regression.
      pretrain_step: (state, batch) -> (state, metrics), before that step.
      adversarial_step: the same, from that step on; None for a regression.
      judge_step: (state, batch) -> the discriminator's accuracy on each image; None for a
        regression.
    """

    name: str
    generator: nn.Module
    temperature: float
    adversarial_from: int
    pretrain_step: Step
    adversarial_step: Step | None
    judge_step: Callable[[TrainState, Any], Any] | None

    @property
    def predict(self) -> Predictor:
        """The generator in inference mode, see `models.variables.Predictor`."""
        return model_predictor(self.generator, self.temperature)

    def step_at(self, step: int) -> Step:
        """The compiled step with this index, counted from 0."""
        if self.adversarial_step is not None and step >= self.adversarial_from:
            return self.adversarial_step
        return self.pretrain_step


def adversarial_start(config: ConfigDict) -> int:
    """Index of the first step with a discriminator; num_steps for a regression."""
    if "gan" not in config:
        return config.num_steps
    limit = 0 if config.init_from else int(MAX_PRETRAIN_SHARE * config.num_steps)
    return min(config.generator_pretrain_steps, limit)


def build_plan(config: ConfigDict, adversarial_from: int | None = None) -> TrainingPlan:
    """Builds models, optimizers and compiled steps.

    Args:
      config: see configs/common.py.
      adversarial_from: see `TrainingPlan`; by default `adversarial_start`.

    Raises:
      InputError: an unknown name.
    """
    if adversarial_from is None:
        adversarial_from = adversarial_start(config)
    optimizer, d_optimizer = _optimizers(config, adversarial_from)
    shared: dict[str, Any] = {
        "generator": build_generator(config, devices.AXIS),
        "optimizer": optimizer,
        "loss": _loss(config),
        "ema_decay": config.ema_decay,
        "damage": _damage(config.damage),
        "hints": config.hints,
        "accumulate_steps": config.accumulate_steps,
    }
    plan = TrainingPlan(
        name="gan" if "gan" in config else config.model.name,
        generator=build_generator(config, dtype="float32"),
        temperature=config.temperature,
        adversarial_from=adversarial_from,
        pretrain_step=devices.compile_train_step(partial(regression_step, **shared)),
        adversarial_step=None,
        judge_step=None,
    )
    if "gan" not in config:
        return plan
    discriminator = build_discriminator(config.gan, config.model.dtype)
    augmentation = partial(
        augment.translate_and_cut,
        max_shift=config.gan.augment_shift,
        cut=config.gan.augment_cut,
    )
    adversarial_step = partial(
        gan_step,
        **shared,
        discriminator=discriminator,
        discriminator_optimizer=d_optimizer,
        adversarial=losses.ADVERSARIAL[config.gan.loss],
        augment=augmentation,
    )
    seen = {key: shared[key] for key in ("generator", "damage", "hints")}
    judging = partial(judge_step, **seen, discriminator=discriminator, augment=augmentation)
    return plan._replace(
        adversarial_step=devices.compile_train_step(adversarial_step),
        judge_step=devices.compile_eval_step(judging),
    )


def resumed_plan(config: ConfigDict, step: int, adversarial_from: int) -> TrainingPlan:
    """The plan of a run that is resumed after `step` updates, since lengths may change on resume.

    Args:
      config: of the run as it is resumed.
      step: number of updates so far.
      adversarial_from: of the run as it was interrupted. An adversarial phase that has begun
        continues; one that has not begins no earlier than now.
    """
    if "gan" not in config:
        return build_plan(config)
    begun = adversarial_from < step
    return build_plan(config, adversarial_from if begun else max(adversarial_start(config), step))


def initial_state(
    config: ConfigDict, bin_weights: np.ndarray | None = None, resumes: bool = False
) -> TrainState:
    """The state before the first step, replicated over the devices.

    Args:
      config: see configs/common.py.
      bin_weights: see `color_bins.rebalancing`; where a distribution is trained from scratch.
      resumes: whether a checkpoint will replace the state; then weights named in the config are
        not read.

    Raises:
      InputError: an unknown name, or weights that do not fit the model.
    """
    g_rng, d_rng, step_rng = jax.random.split(jax.random.key(config.seed), 3)
    size = config.image_size
    generator = build_generator(config, devices.AXIS)
    variables = init_variables(generator, g_rng, 1, image_size=size)
    if not resumes:
        variables = with_weights(config, variables, bin_weights)
    d_variables = None
    if "gan" in config:
        discriminator = build_discriminator(config.gan, config.model.dtype)
        d_variables = init_variables(discriminator, d_rng, 1, 2, image_size=size)
    optimizer, d_optimizer = _optimizers(config, adversarial_start(config))

    def create(variables: Variables, d_variables: Variables | None) -> TrainState:
        d_net = None if d_variables is None else net_state(d_variables, d_optimizer)
        return create_train_state(step_rng, net_state(variables, optimizer), d_net)

    # One by one, hundreds of small arrays take two seconds.
    return devices.replicate(jit_once(create)(variables, d_variables))


def _optimizers(
    config: ConfigDict, adversarial_from: int
) -> tuple[optax.GradientTransformation, optax.GradientTransformation | None]:
    """Those of the generator and the discriminator, which has one for the adversarial phase."""
    optimizer = build_optimizer(config.optimizer, config.num_steps)
    if "gan" not in config:
        return optimizer, None
    # A run may have been shortened to less than it has done.
    num_steps = max(1, config.num_steps - adversarial_from)
    return optimizer, build_optimizer(config.gan.optimizer, num_steps)


def _loss(config: ConfigDict) -> losses.Loss:
    """The loss of the generator, without the adversarial one."""
    # In pretraining too, so that the moments of the optimizer keep their scale.
    weight = config.gan.regression_weight if "gan" in config else 1.0
    regression = losses.regression_loss(config.loss, config.huber_delta)
    return losses.generator_loss(regression, weight, weight * config.distribution)


def _damage(config: ConfigDict) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
    """Simulated damage of L, or None if the config has none."""
    strengths = {name: config[name] for name in DAMAGES if config[name]}
    if not strengths:
        return None
    return partial(damage, strengths=strengths, probability=config.probability)
