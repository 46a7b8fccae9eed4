"""What a config stands for: models, optimizers, the initial state and the compiled steps."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from colorjax.damage import DAMAGES, damage
from colorjax.models import build_discriminator, build_generator
from colorjax.models.imagenet_weights import load_resnet50
from colorjax.models.variables import Variables, check_like, init_variables
from colorjax.parallel import devices, processes
from colorjax.runs import checkpoint
from colorjax.runs.trained_model import run_and_step, run_folder
from colorjax.runs.weights import load_weights
from colorjax.terminal.errors import InputError
from colorjax.training import augment, losses
from colorjax.training.optimizers import build_optimizer
from colorjax.training.state import TrainState, create_train_state, net_state
from colorjax.training.steps import gan_step, judge_step, regression_step

Step = Callable[[TrainState, Any], tuple[TrainState, Any]]

# The generator is never pretrained for more of a run than this.
MAX_PRETRAIN_SHARE = 0.8


class TrainingPlan(NamedTuple):
    """What is fixed while a config is trained; nothing is compiled yet.

    Attributes:
      name: of the model, in tables and pictures.
      generator: as it predicts, outside of training.
      adversarial_from: the first update with a discriminator, counted from 0; num_steps in a
        regression run.
      pretrain_step: (state, batch) -> (state, metrics), before that.
      adversarial_step: the same, from then on.
      judge_step: (state, batch) -> how often the discriminator is right on each image.
    """

    name: str
    generator: nn.Module
    adversarial_from: int
    pretrain_step: Step
    adversarial_step: Step | None
    judge_step: Callable[[TrainState, Any], Any] | None

    def step_at(self, step: int) -> Step:
        """The compiled step for an update, counted from 0."""
        if self.adversarial_step is not None and step >= self.adversarial_from:
            return self.adversarial_step
        return self.pretrain_step


def build_plan(config: ConfigDict, resumes: bool = False) -> tuple[TrainingPlan, TrainState]:
    """Builds what a config says.

    Args:
      config: see configs/common.py.
      resumes: whether a checkpoint will replace the state: then weights from elsewhere are not
        read.

    Returns:
      The run, and the state before its first step, placed on the devices.

    Raises:
      InputError: a name that is not known, or weights that do not fit.
    """
    g_rng, d_rng, step_rng = jax.random.split(jax.random.key(config.seed), 3)
    generator = build_generator(config.model, devices.AXIS)
    optimizer = build_optimizer(config.optimizer, config.num_steps)
    variables = init_variables(generator, g_rng, 1, image_size=config.image_size)
    if not resumes:
        variables = _with_weights(config, variables)
    shared: dict[str, Any] = {
        "generator": generator,
        "optimizer": optimizer,
        "ema_decay": config.ema_decay,
        "damage": _damage(config.damage),
        "accumulate_steps": config.accumulate_steps,
    }
    loss = losses.regression_loss(config.loss, config.huber_delta)
    d_net, adversarial_step, judging, adversarial_from = None, None, None, config.num_steps
    if "gan" in config:
        # In pretraining too, so that the optimizer's moments stay true after it.
        loss = losses.weighted(config.gan.regression_weight, loss)
        limit = 0 if config.init_from else int(MAX_PRETRAIN_SHARE * config.num_steps)
        adversarial_from = min(config.generator_pretrain_steps, limit)
        discriminator = build_discriminator(config.gan, config.model.dtype)
        d_optimizer = build_optimizer(config.gan.optimizer, config.num_steps - adversarial_from)
        d_variables = init_variables(discriminator, d_rng, 1, 2, image_size=config.image_size)
        d_net = net_state(d_variables, d_optimizer)
        augmentation = partial(
            augment.translate_and_cut,
            max_shift=config.gan.augment_shift,
            cut=config.gan.augment_cut,
        )
        adversarial_step = partial(
            gan_step,
            **shared,
            loss=loss,
            discriminator=discriminator,
            discriminator_optimizer=d_optimizer,
            adversarial=losses.adversarial_loss(config.gan.loss),
            augment=augmentation,
        )
        judging = partial(
            judge_step,
            generator=generator,
            discriminator=discriminator,
            augment=augmentation,
            damage=shared["damage"],
        )
    train_steps = [partial(regression_step, **shared, loss=loss)]
    if adversarial_step is not None:
        train_steps.append(adversarial_step)
    compiled = [devices.compile_train_step(step) for step in train_steps]
    run = TrainingPlan(
        name="gan" if "gan" in config else config.model.name,
        generator=build_generator(config.model),
        adversarial_from=adversarial_from,
        pretrain_step=compiled[0],
        adversarial_step=compiled[1] if adversarial_step else None,
        judge_step=judging and devices.compile_eval_step(judging),
    )
    state = create_train_state(step_rng, net_state(variables, optimizer), d_net)
    return run, devices.replicate(state)


def _damage(config: ConfigDict) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
    """What old photographs have suffered, as far as the config asks for it."""
    strengths = {name: config[name] for name in DAMAGES if config[name]}
    if not strengths:
        return None
    return partial(damage, strengths=strengths, probability=config.probability)


def _with_weights(config: ConfigDict, variables: Variables) -> Variables:
    """The generator's variables from another run, or its encoder's from a file, if so wanted."""
    if config.init_from:
        path = Path(config.init_from).expanduser()
        if path.is_file():
            loaded = load_weights(path, path.stem).variables
            for kind, tree in variables.items():
                check_like(loaded[kind], tree, str(path))
            return loaded
        step = processes.from_first(lambda: run_and_step(path)[1])
        return checkpoint.restore_generator(run_folder(path), variables, step)
    if not config.model.encoder_weights:
        return variables
    if config.model.name != "resnet":
        raise InputError(
            "config.model.encoder_weights needs config.model.name='resnet', not "
            f"{config.model.name!r}"
        )
    encoder = load_resnet50(
        config.model.encoder_weights, {kind: tree["encoder"] for kind, tree in variables.items()}
    )
    return {kind: {**tree, "encoder": encoder[kind]} for kind, tree in variables.items()}
