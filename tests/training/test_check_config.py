"""Invalid values in a config."""

import pytest
import support

from colorjax.terminal.errors import InputError
from colorjax.training.check_config import check_config
from colorjax.training.train import train_and_evaluate


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("batch_size", 12, ["batch_size=12", "8 devices"]),
        ("batch_size", 0, ["batch_size=0", "8 devices"]),
        ("batch_size", -8, ["batch_size=-8"]),
        ("accumulate_steps", 0, ["accumulate_steps=0", "at least 1"]),
        ("accumulate_steps", 3, ["batch_size=8", "8 devices in 3 parts each", "multiple of 24"]),
        ("best_checkpoint", "loss", ["best_checkpoint='loss'", "mse", "delta_e"]),
        ("image_size", 48, ["image_size=48", "multiple of 32"]),
        ("image_size", 0, ["image_size=0", "multiple of 32"]),
        ("num_steps", 1, ["num_steps=1", "at least 2"]),
        ("log_every", 0, ["log_every=0", "at least 1"]),
        ("eval_every", 0, ["eval_every=0", "at least 1"]),
        ("checkpoint_every", 0, ["checkpoint_every=0", "at least 1"]),
        ("checkpoints_to_keep", 0, ["checkpoints_to_keep=0", "at least 1"]),
        ("generator_pretrain_steps", -1, ["generator_pretrain_steps=-1", "0 or more"]),
        ("ema_decay", 1.0, ["ema_decay=1.0", "[0, 1)"]),
        ("model__width", 0.0, ["model.width=0.0", "more than 0"]),
        ("dataset__min_scale", 0.0, ["dataset.min_scale=0.0", "(0, 1]"]),
        ("dataset__min_chroma", -1.0, ["dataset.min_chroma=-1.0", "0 or more"]),
        ("dataset__workers", -2, ["dataset.workers=-2", "-1, 0 or more"]),
        ("damage__grain", 1.5, ["damage.grain=1.5", "[0, 1]"]),
    ],
)
def test_numbers_that_cannot_work_are_refused_by_their_key(key, value, words):
    with pytest.raises(InputError) as error:
        check_config(support.tiny_config("gan", **{key: value}))
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model__name", "vgg"),
        ("model__dtype", "float8"),
        ("loss", "l3"),
        ("gan__loss", "wasserstein"),
    ],
)
def test_names_that_are_not_known_are_refused_before_anything_is_written(tmp_path, key, value):
    config = support.small_gan(**{key: value})
    with (
        support.quick_compilation(),
        pytest.raises(InputError, match=f"{key.replace('__', '.')}={value!r}: known are"),
    ):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
