"""The optimizer that fine-tuning, adapting and twins share."""

import keras

from tfb2d.config import TeacherConfig
from tfb2d.config.twin import TwinConfig

NO_CLIPPING = 1e20  # a norm that no gradient reaches; its inverse is still a float32


def optimizer_for(
    learning_rate: float, steps: int, config: TeacherConfig | TwinConfig, ema: float = 0.0
) -> keras.optimizers.Optimizer:
    """Returns AdamW with a linear warm-up to `learning_rate` and a cosine decay to 0 at the last step.

    `config` has `warmup`, `weight_decay` and `clip_norm` (0: gradients are not clipped). `ema` is the momentum of the
    moving average of the weights that the optimizer keeps; 0 keeps none.
    """
    # On TensorFlow, Keras 3.15's optimizers sum the squares of a repeated token's gradient slices instead of squaring their
    # sum. A token that occurs 16 times in a batch would move up to 4 times too far. Clipping by the global norm makes each
    # gradient whole first, so there is always a bound.
    clip_norm = config.clip_norm or NO_CLIPPING
    average = {"use_ema": True, "ema_momentum": ema} if ema else {}
    optimizer = keras.optimizers.AdamW(
        rate_schedule(learning_rate, steps, config.warmup),
        weight_decay=config.weight_decay,
        global_clipnorm=clip_norm,
        epsilon=1e-6,
        **average,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def rate_schedule(learning_rate: float, steps: int, warmup: float) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a linear warm-up to `learning_rate` over a share of the steps, and a cosine decay to 0 at the last."""
    first = int(warmup * steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if first else learning_rate,
        max(1, steps - first),
        warmup_target=learning_rate if first else None,
        warmup_steps=first,
    )
