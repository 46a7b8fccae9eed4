"""Learning rate schedule and optimizer."""

from typing import Any

import optax

# At most this fraction of a run is warm-up.
MAX_WARMUP_SHARE = 0.1


def learning_rate_schedule(config: Any, num_steps: int) -> optax.Schedule:
    """Linear warm-up followed by cosine decay.

    Args:
      config: learning_rate, the peak; final_share, the final learning rate as a fraction of the
        peak; warmup_steps, capped at a tenth of num_steps.
      num_steps: number of updates of the network.
    """
    warmup_steps = min(config.warmup_steps, int(MAX_WARMUP_SHARE * num_steps))
    return optax.warmup_cosine_decay_schedule(
        init_value=config.learning_rate / (warmup_steps + 1),
        peak_value=config.learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=max(num_steps, warmup_steps + 1),
        end_value=config.final_share * config.learning_rate,
    )


def build_optimizer(config: Any, num_steps: int) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) on gradients clipped by their global norm.

    Args:
      config: learning_rate, final_share, warmup_steps, b1, b2, weight_decay, clip_norm.
      num_steps: number of updates of the network.
    """
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            learning_rate_schedule(config, num_steps),
            b1=config.b1,
            b2=config.b2,
            weight_decay=config.weight_decay,
        ),
    )
