"""The pure per-device functions of training: one update of a regression, one of a GAN.

What a step needs besides state and batch is bound to it with `functools.partial`; `parallel.py`
compiles it over the devices. A batch is {"image": [N, H, W, 3] uint8 sRGB}.

A step whose loss or gradients are not finite updates nothing, and neither do those after it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from colorjax.display import to_float
from colorjax.lab import normalize, rgb_to_lab
from colorjax.parallel.devices import AXIS, positions
from colorjax.training.losses import AdversarialLoss, Loss
from colorjax.training.state import NetState, TrainState

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]
Damage = Callable[[jax.Array, jax.Array], jax.Array]
Augment = Callable[[jax.Array, jax.Array], jax.Array]


def regression_step(
    state: TrainState,
    batch: Batch,
    *,
    generator: nn.Module,
    optimizer: optax.GradientTransformation,
    loss: Loss,
    ema_decay: float,
    damage: Damage | None = None,
    accumulate_steps: int = 1,
) -> tuple[TrainState, Metrics]:
    """One update of the generator alone.

    Args:
      state: the discriminator, if there is one, stays as it is.
      batch: this device's part.
      generator: predicts a*b* / 110 from L / 50 - 1.
      optimizer: the generator's.
      loss: of predicted and true a*b* / 110.
      ema_decay: of the moving averages, in [0, 1).
      damage: (N keys, L [N, H, W, 1] in [0, 100]) -> what the generator sees of L.
      accumulate_steps: in so many parts the batch is gone through, see `_accumulated`.

    Returns:
      The state after the update, and scalars averaged over the devices.
    """

    def gradients(batch_stats: Any, part: Batch) -> Any:
        l, ab = _inputs(part, damage)

        def loss_fn(params: Any) -> tuple[jax.Array, Any]:
            prediction, updated = _apply(generator, params, batch_stats, l)
            return loss(prediction, ab), updated

        values, grads = jax.value_and_grad(loss_fn, has_aux=True)(state.generator.params)
        return (grads, values[0]), values[1]

    values, batch_stats = _accumulated(
        gradients,
        state.generator.batch_stats,
        {**batch, "rngs": _image_rngs(state, positions(len(batch["image"])), 1)},
        accumulate_steps,
    )
    grads, value = lax.pmean(values, AXIS)
    scalars = {"loss": value, "grad_norm": optax.tree.norm(grads)}

    def update(state: TrainState) -> TrainState:
        net = _update(state.generator, grads, batch_stats, optimizer)
        return _advance(state, net, state.discriminator, ema_decay)

    return _if_finite(update, state, scalars), scalars


def gan_step(
    state: TrainState,
    batch: Batch,
    *,
    generator: nn.Module,
    discriminator: nn.Module,
    optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    loss: Loss,
    adversarial: AdversarialLoss,
    augment: Augment,
    ema_decay: float,
    damage: Damage | None = None,
    accumulate_steps: int = 1,
) -> tuple[TrainState, Metrics]:
    """One simultaneous update of generator and discriminator.

    The generator runs forward once. Its output is judged once, and from that one judgement come
    both the discriminator's gradient and, back through the image, the generator's.

    Args:
      state: with a discriminator.
      batch: this device's part.
      generator: predicts a*b* / 110 from L / 50 - 1.
      discriminator: logits of (L / 50 - 1, a*b* / 110).
      optimizer: the generator's.
      discriminator_optimizer: the discriminator's.
      loss: of predicted and true a*b* / 110, already weighted against the adversarial one.
      adversarial: the two sides' losses.
      augment: (N keys, [N, H, W, 3]) -> the same shape: what the discriminator sees of an image.
      ema_decay: of the generator's moving averages, in [0, 1).
      damage: (N keys, L [N, H, W, 1] in [0, 100]) -> what both networks see of L.
      accumulate_steps: in so many parts the batch is gone through, see `_accumulated`.

    Returns:
      The state after the update, and scalars averaged over the devices.
    """
    assert state.discriminator is not None
    g_net, d_net = state.generator, state.discriminator

    def gradients(batch_stats: Any, part: Batch) -> Any:
        l, ab = _inputs(part, damage)

        def score(params: Any, ab: jax.Array, rngs: jax.Array) -> tuple[jax.Array, Any]:
            seen = augment(rngs, jnp.concatenate([l, ab], axis=-1))
            return _apply(discriminator, params, d_net.batch_stats, seen[..., :1], seen[..., 1:])

        fake, g_vjp, g_batch_stats = jax.vjp(
            lambda params: _apply(generator, params, batch_stats[0], l), g_net.params, has_aux=True
        )
        logits_real, real_vjp, d_batch_stats = jax.vjp(
            lambda params: score(params, ab, part["rngs"][:, 1]), d_net.params, has_aux=True
        )
        # Spectral normalisation moves on by the parameters alone: the same in both passes, and in
        # all parts of a batch.
        logits_fake, fake_vjp, _ = jax.vjp(
            lambda params, fake: score(params, fake, part["rngs"][:, 2]),
            d_net.params,
            fake,
            has_aux=True,
        )
        d_loss, (real_cotangent, fake_cotangent) = jax.value_and_grad(
            adversarial.discriminator, argnums=(0, 1)
        )(logits_real, logits_fake)
        d_grads = jax.tree.map(jnp.add, real_vjp(real_cotangent)[0], fake_vjp(fake_cotangent)[0])

        adversarial_value, cotangent = jax.value_and_grad(adversarial.generator)(logits_fake)
        loss_value, loss_cotangent = jax.value_and_grad(loss)(fake, ab)
        (g_grads,) = g_vjp(fake_vjp(cotangent)[1] + loss_cotangent)
        scalars = {
            "loss": loss_value,
            "adversarial_loss": adversarial_value,
            "discriminator_loss": d_loss,
            **jax.tree.map(jnp.mean, _accuracies(logits_real, logits_fake)),
        }
        return (g_grads, d_grads, scalars), (g_batch_stats, d_batch_stats)

    values, (g_batch_stats, d_batch_stats) = _accumulated(
        gradients,
        (g_net.batch_stats, d_net.batch_stats),
        {**batch, "rngs": _image_rngs(state, positions(len(batch["image"])), 3)},
        accumulate_steps,
    )
    g_grads, d_grads, scalars = lax.pmean(values, AXIS)
    scalars["grad_norm"] = optax.tree.norm(g_grads)
    scalars["discriminator_grad_norm"] = optax.tree.norm(d_grads)

    def update(state: TrainState) -> TrainState:
        assert state.discriminator is not None
        g_net = _update(state.generator, g_grads, g_batch_stats, optimizer)
        d_net = _update(state.discriminator, d_grads, d_batch_stats, discriminator_optimizer)
        return _advance(state, g_net, d_net, ema_decay)

    return _if_finite(update, state, scalars), scalars


def at_half_size(
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The step on images of half the size, each pixel the mean of four, as 8-bit sRGB."""

    def halved(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        count, height, width, channels = batch["image"].shape
        fours = batch["image"].reshape(count, height // 2, 2, width // 2, 2, channels)
        image = jnp.round(jnp.mean(fours, axis=(2, 4), dtype=jnp.float32)).astype(jnp.uint8)
        return step(state, {**batch, "image": image})

    return halved


def judge_step(
    state: TrainState,
    batch: Batch,
    *,
    generator: nn.Module,
    discriminator: nn.Module,
    augment: Augment,
    damage: Damage | None = None,
) -> Metrics:
    """How often the discriminator is right on images that it does not learn from.

    Comparable with the accuracies of `gan_step`: both networks see the same damage and the
    discriminator the same augmentation as there, and the generator is the one that is trained, not
    its average. Only the networks' statistics are those of training, not of this batch, and images
    are whole where training crops them.

    Args:
      state: with a discriminator.
      batch: with "index": [N], of the images in their data set, which their draws follow.
      generator: as of `gan_step`, and so are the others.
      discriminator: logits of (L / 50 - 1, a*b* / 110).
      augment: what the discriminator sees of an image.
      damage: what both networks see of L.

    Returns:
      [N] accuracy_real and accuracy_fake of each image.
    """
    assert state.discriminator is not None
    rngs = _image_rngs(state, batch["index"], 3)
    l, ab = _inputs({**batch, "rngs": rngs}, damage)
    g_variables, d_variables = (
        {"params": net.params, "batch_stats": net.batch_stats}
        for net in (state.generator, state.discriminator)
    )
    fake: Any = generator.apply(g_variables, l)

    def score(ab: jax.Array, rngs: jax.Array) -> Any:
        seen = augment(rngs, jnp.concatenate([l, ab], axis=-1))
        return discriminator.apply(d_variables, seen[..., :1], seen[..., 1:])

    return _accuracies(score(ab, rngs[:, 1]), score(fake, rngs[:, 2]))


def _image_rngs(state: TrainState, indices: jax.Array, uses: int) -> jax.Array:
    """Keys [N, uses] for numbered images [N] at this step, the same for any number of devices."""
    rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
    rngs = jax.vmap(partial(jax.random.fold_in, rng))(indices)
    return jax.vmap(partial(jax.random.split, num=uses))(rngs)


def _accuracies(logits_real: jax.Array, logits_fake: jax.Array) -> Metrics:
    """The share [N] of each image's patches [N, h, w, 1] that the discriminator is right on."""
    right = {"accuracy_real": logits_real > 0, "accuracy_fake": logits_fake < 0}
    return {key: jnp.mean(value, axis=(1, 2, 3)) for key, value in right.items()}


def _inputs(part: Batch, damage: Damage | None) -> tuple[jax.Array, jax.Array]:
    """L / 50 - 1, damaged if so wanted, and the true a*b* / 110."""
    lab = rgb_to_lab(to_float(part["image"]))
    if damage is not None:
        lab = jnp.concatenate([damage(part["rngs"][:, 0], lab[..., :1]), lab[..., 1:]], axis=-1)
    return normalize(lab)


def _accumulated(
    gradients: Callable[[Any, Batch], tuple[Any, Any]], batch_stats: Any, batch: Batch, count: int
) -> tuple[Any, Any]:
    """Goes through a batch in equal parts, one after the other, to hold only one in memory.

    The means are those of the whole batch, but for BatchNorm: it normalises each part by the part's
    own statistics (over all devices), and its moving averages move on with each.

    Args:
      gradients: (batch_stats, part) -> (what to average, the new batch_stats).
      batch_stats: before the first part.
      batch: this device's part.
      count: number of parts, a divisor of the batch.

    Returns:
      The means over the parts, and the statistics after the last.
    """
    if count == 1:
        return gradients(batch_stats, batch)
    parts = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
    shapes, _ = jax.eval_shape(gradients, batch_stats, jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def add(carry: Any, part: Batch) -> tuple[Any, None]:
        total, batch_stats = carry
        values, batch_stats = gradients(batch_stats, part)
        return (jax.tree.map(jnp.add, total, values), batch_stats), None

    (total, batch_stats), _ = lax.scan(add, (zeros, batch_stats), parts)
    return jax.tree.map(lambda x: x / count, total), batch_stats


def _if_finite(
    update: Callable[[TrainState], TrainState], state: TrainState, scalars: Metrics
) -> TrainState:
    """The updated state, or, from a step on whose scalars are not all finite, the one before it.

    The host looks at the scalars when the next step is on its way already; so the state remembers,
    by a step number below zero, that nothing may be updated any more.
    """
    finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(value)) for value in scalars.values()]))

    def halt(state: TrainState) -> TrainState:
        return state.replace(step=jnp.where(state.step < 0, state.step, ~state.step))

    # A branch, because choosing leaf by leaf copies the whole state: 6 % of a step's CPU time.
    return lax.cond(finite & (state.step >= 0), update, halt, state)


def _apply(module: nn.Module, params: Any, batch_stats: Any, *inputs: jax.Array) -> Any:
    """Runs a module in training mode: its output, and its new statistics."""
    output, updated = module.apply(
        {"params": params, "batch_stats": batch_stats}, *inputs, train=True, mutable=["batch_stats"]
    )
    return output, updated.get("batch_stats", {})


def _update(
    net: NetState, grads: Any, batch_stats: Any, optimizer: optax.GradientTransformation
) -> NetState:
    updates, opt_state = optimizer.update(grads, net.opt_state, net.params)
    return NetState(optax.apply_updates(net.params, updates), batch_stats, opt_state)


def _advance(
    state: TrainState, generator: NetState, discriminator: NetState | None, ema_decay: float
) -> TrainState:
    """The next state. Early averages forget faster, or they would remember the initial values."""
    decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
    ema = jax.tree.map(
        lambda average, value: decay * average + (1.0 - decay) * value,
        state.ema,
        {"params": generator.params, "batch_stats": generator.batch_stats},
    )
    return state.replace(
        step=state.step + 1, generator=generator, discriminator=discriminator, ema=ema
    )
