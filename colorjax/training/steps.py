"""The pure per-device training steps: one update of a regression, one of a GAN.

Everything but the state and the batch is bound with `functools.partial`; `parallel.devices`
compiles a step over the devices. A batch is {"image": [N, H, W, 3] uint8 sRGB}.

A step whose loss or gradients are not finite updates nothing, and neither does any step after it.
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
from colorjax.parallel.devices import AXIS, image_indices
from colorjax.training.hints import draw_hints
from colorjax.training.losses import AdversarialLoss, Loss
from colorjax.training.state import NetState, TrainState

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]
Damage = Callable[[jax.Array, jax.Array], jax.Array]
Augment = Callable[[jax.Array, jax.Array], jax.Array]

DAMAGE, HINTS, REAL, FAKE = range(4)  # uses of an image's keys; a regression has the first two


def regression_step(
    state: TrainState,
    batch: Batch,
    *,
    generator: nn.Module,
    optimizer: optax.GradientTransformation,
    loss: Loss,
    ema_decay: float,
    damage: Damage | None = None,
    hints: float = 0.0,
    accumulate_steps: int = 1,
) -> tuple[TrainState, Metrics]:
    """Updates the generator with the regression loss.

    Args:
      state: a discriminator, if there is one, is not changed.
      batch: this device's part of the batch.
      generator: predicts a*b* / 110 from L / 50 - 1, see `models.layers.Prediction`.
      optimizer: of the generator.
      loss: (prediction, true a*b* / 110 [N, H, W, 2]) -> scalar.
      ema_decay: decay of the exponential moving average of the generator, in [0, 1).
      damage: (N keys, L [N, H, W, 1] in [0, 100]) -> the L that the generator sees.
      hints: share of the images with hints, see `training.hints`.
      accumulate_steps: number of parts into which the batch is split, see `_accumulated`.

    Returns:
      The updated state, and scalar metrics averaged over the devices.
    """

    def gradients(batch_stats: Any, part: Batch) -> Any:
        seen, ab = _inputs(part, damage, hints)

        def loss_fn(params: Any) -> tuple[jax.Array, Any]:
            prediction, updated = _apply(generator, params, batch_stats, *seen)
            return loss(prediction, ab), updated

        values, grads = jax.value_and_grad(loss_fn, has_aux=True)(state.generator.params)
        return (grads, values[0]), values[1]

    values, batch_stats = _accumulated(
        gradients,
        state.generator.batch_stats,
        {**batch, "rngs": _image_rngs(state, image_indices(len(batch["image"])), 2)},
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
    hints: float = 0.0,
    accumulate_steps: int = 1,
) -> tuple[TrainState, Metrics]:
    """Updates generator and discriminator simultaneously.

    The generator and the discriminator run forward once on the generated image. From the one VJP
    of the discriminator come its own gradient and, through the image, that of the generator.

    Args (others as in `regression_step`):
      state: with a discriminator.
      discriminator: (L / 50 - 1, a*b* / 110) -> logits.
      discriminator_optimizer: of the discriminator.
      loss: weighted against the adversarial loss.
      adversarial: losses of the discriminator and the generator.
      augment: (N keys, [N, H, W, 3]) -> the same shape; applied to the discriminator's input.
      damage: applied to the L that both networks see.

    Returns:
      The updated state, and scalar metrics averaged over the devices.
    """
    assert state.discriminator is not None
    gradients = partial(
        _gan_gradients,
        g_net=state.generator,
        d_net=state.discriminator,
        generator=generator,
        discriminator=discriminator,
        loss=loss,
        adversarial=adversarial,
        augment=augment,
        damage=damage,
        hints=hints,
    )
    values, (g_batch_stats, d_batch_stats) = _accumulated(
        gradients,
        (state.generator.batch_stats, state.discriminator.batch_stats),
        {**batch, "rngs": _image_rngs(state, image_indices(len(batch["image"])), 4)},
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


def _gan_gradients(
    batch_stats: Any,
    part: Batch,
    *,
    g_net: NetState,
    d_net: NetState,
    generator: nn.Module,
    discriminator: nn.Module,
    loss: Loss,
    adversarial: AdversarialLoss,
    augment: Augment,
    damage: Damage | None,
    hints: float,
) -> Any:
    """Gradients of both networks and scalars for a part of the batch, and the new batch_stats."""
    seen, ab = _inputs(part, damage, hints)
    l = seen[0]

    def score(params: Any, ab: jax.Array, use: int) -> tuple[jax.Array, Any]:
        judged = _judged(augment, part["rngs"][:, use], l, ab)
        return _apply(discriminator, params, d_net.batch_stats, *judged)

    prediction, g_vjp, g_batch_stats = jax.vjp(
        lambda params: _apply(generator, params, batch_stats[0], *seen), g_net.params, has_aux=True
    )
    logits_real, real_vjp, d_batch_stats = jax.vjp(
        lambda params: score(params, ab, REAL), d_net.params, has_aux=True
    )
    # The power iteration of spectral normalisation depends on the parameters alone: its state
    # is the same after both passes and in all parts of the batch.
    logits_fake, fake_vjp, _ = jax.vjp(
        lambda params, fake: score(params, fake, FAKE),
        d_net.params,
        prediction.ab,
        has_aux=True,
    )
    d_loss, (real_cotangent, fake_cotangent) = jax.value_and_grad(
        adversarial.discriminator, argnums=(0, 1)
    )(logits_real, logits_fake)
    d_grads = jax.tree.map(jnp.add, real_vjp(real_cotangent)[0], fake_vjp(fake_cotangent)[0])

    adversarial_value, cotangent = jax.value_and_grad(adversarial.generator)(logits_fake)
    loss_value, loss_cotangent = jax.value_and_grad(loss)(prediction, ab)
    by_ab = fake_vjp(cotangent)[1] + loss_cotangent.ab
    (g_grads,) = g_vjp(loss_cotangent._replace(ab=by_ab))
    scalars = {
        "loss": loss_value,
        "adversarial_loss": adversarial_value,
        "discriminator_loss": d_loss,
        **jax.tree.map(jnp.mean, _accuracies(logits_real, logits_fake)),
    }
    return (g_grads, d_grads, scalars), (g_batch_stats, d_batch_stats)


def judge_step(
    state: TrainState,
    batch: Batch,
    *,
    generator: nn.Module,
    discriminator: nn.Module,
    augment: Augment,
    damage: Damage | None = None,
    hints: float = 0.0,
) -> Metrics:
    """Accuracy of the discriminator on images that it is not trained on.

    Comparable with the accuracies of `gan_step`: damage and augmentation are the same, and the
    generator is the trained one, not its average. Unlike there, BatchNorm uses running statistics
    and images are not cropped.

    Args (others as in `gan_step`):
      state: with a discriminator.
      batch: with "index": [N] int32 image indices, from which random numbers are derived.

    Returns:
      accuracy_real and accuracy_fake, [N] each.
    """
    assert state.discriminator is not None
    rngs = _image_rngs(state, batch["index"], 4)
    seen, ab = _inputs({**batch, "rngs": rngs}, damage, hints)
    g_variables, d_variables = (
        {"params": net.params, "batch_stats": net.batch_stats}
        for net in (state.generator, state.discriminator)
    )
    prediction: Any = generator.apply(g_variables, *seen)

    def score(ab: jax.Array, use: int) -> Any:
        return discriminator.apply(d_variables, *_judged(augment, rngs[:, use], seen[0], ab))

    return _accuracies(score(ab, REAL), score(prediction.ab, FAKE))


def _judged(augment: Augment, rngs: jax.Array, l: jax.Array, ab: jax.Array) -> list[jax.Array]:
    """What the discriminator sees of L / 50 - 1 and a*b* / 110."""
    return jnp.split(augment(rngs, jnp.concatenate([l, ab], axis=-1)), [1], axis=-1)


def _image_rngs(state: TrainState, indices: jax.Array, uses: int) -> jax.Array:
    """Keys [N, uses] for image indices [N] at this step, the same for any number of devices."""
    rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
    rngs = jax.vmap(partial(jax.random.fold_in, rng))(indices)
    return jax.vmap(partial(jax.random.split, num=uses))(rngs)


def _accuracies(logits_real: jax.Array, logits_fake: jax.Array) -> Metrics:
    """The fraction [N] of patches [N, h, w, 1] that the discriminator classifies correctly."""
    right = {"accuracy_real": logits_real > 0, "accuracy_fake": logits_fake < 0}
    return {key: jnp.mean(value, axis=(1, 2, 3)) for key, value in right.items()}


def _inputs(
    part: Batch, damage: Damage | None, hints: float
) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """What the generator sees, L / 50 - 1, possibly damaged, and hints; and the true a*b* / 110."""
    lab = rgb_to_lab(to_float(part["image"]))
    if damage is not None:
        seen = damage(part["rngs"][:, DAMAGE], lab[..., :1])
        lab = jnp.concatenate([seen, lab[..., 1:]], axis=-1)
    l, ab = normalize(lab)
    return (l, draw_hints(part["rngs"][:, HINTS], ab, hints)) if hints else (l,), ab


def _accumulated(
    gradients: Callable[[Any, Batch], tuple[Any, Any]], batch_stats: Any, batch: Batch, count: int
) -> tuple[Any, Any]:
    """Averages gradients over equal parts of a batch, so that only one part is in memory.

    The result is that of the full batch, except for BatchNorm, which normalises each part with its
    own statistics (over all devices) and updates its running statistics once a part.

    Args:
      gradients: (batch_stats, part) -> (tree to average, new batch_stats).
      batch_stats: before the first part.
      batch: this device's part of the batch.
      count: number of parts; divides the batch size of the device.

    Returns:
      The means over the parts, and batch_stats after the last part.
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
    """Updates the state if the scalars of this step, and those of all steps before, are finite.

    The host reads the scalars of a step after it has dispatched the next one, so the state itself
    must remember that training has failed.
    """
    finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(value)) for value in scalars.values()]))

    def halt(state: TrainState) -> TrainState:
        return state.replace(is_finite=jnp.array(False))

    # A branch: selecting leaf by leaf copies the entire state, 6 % of the CPU time of a step.
    return lax.cond(finite & state.is_finite, update, halt, state)


def _apply(module: nn.Module, params: Any, batch_stats: Any, *inputs: jax.Array) -> Any:
    """Applies a module in training mode. Returns its output and the new batch_stats."""
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
    """The next state. The EMA decays faster in early steps, to forget the initial values."""
    decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
    ema = optax.incremental_update(
        {"params": generator.params, "batch_stats": generator.batch_stats}, state.ema, 1.0 - decay
    )
    return state.replace(
        step=state.step + 1, generator=generator, discriminator=discriminator, ema=ema
    )
