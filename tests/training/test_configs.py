"""Every config trains a small network, and its keys are those of the table of keys."""

import ast
import importlib
import itertools
import tokenize
from pathlib import Path

import jax
import numpy as np
import pytest
from support import quick_compilation

from colorjax.data import pipeline
from colorjax.data.procedural.renderer import render_face
from colorjax.models import resnet
from colorjax.parallel import devices
from colorjax.runs.config_keys import KEYS, OPTIMIZER, flatten, without_private
from colorjax.terminal.errors import InputError
from colorjax.training.check_config import check_config
from colorjax.training.losses import ADVERSARIAL, regression_loss
from colorjax.training.setup import build_plan, initial_state
from configs import common

CONFIGS = sorted(
    path.stem for path in Path(common.__file__).parent.glob("*.py") if path.stem != "common"
)
# "" chooses the procedural faces.
DATASETS = ["", *sorted(set(pipeline.DATASETS) - {common.PROCEDURAL})]
NUM_STEPS, PRETRAIN_STEPS = 60, 20


def get_config(name, dataset=""):
    return importlib.import_module(f"configs.{name}").get_config(dataset)


def tiny_config(name, dataset=""):
    """The config for a small network, a few steps and larger ones."""
    config = get_config(name, dataset)
    config.num_steps, config.batch_size, config.image_size = NUM_STEPS, 8, 32
    config.model.width, config.model.dtype = 1 / 8, "float32"
    config.model.encoder_weights = ""  # they are of width 1
    config.optimizer.learning_rate = 2e-2
    if "gan" in config:
        config.generator_pretrain_steps = PRETRAIN_STEPS
        config.gan.width = 1 / 4
        # Spectral normalisation bounds a small discriminator, which then takes larger steps.
        config.gan.spectral_norm = True
        config.gan.optimizer.learning_rate = 1e-2
        config.gan.regression_weight = config.optimizer.clip_norm = 100.0
        config.optimizer.final_share = 0.0
    return config


@pytest.fixture(scope="module")
def faces():
    """Eight fixed faces, one for each device."""
    return devices.shard({"image": np.stack([render_face(0, i, 0, 32) for i in range(8)])})


def trained(config, faces, num_steps):
    with quick_compilation():
        run, state = build_plan(config), initial_state(config)
        history = []
        for step in range(num_steps):
            # Awaited: virtual devices that run ahead of each other exhaust the CPU's threads.
            state, scalars = jax.block_until_ready(run.step_at(step)(state, faces))
            history.append(scalars)
    assert state.step == num_steps
    return run, jax.device_get(history)


# The GAN's generator is the ResNet.
@pytest.mark.parametrize("name", ["cnn", pytest.param("resnet", marks=pytest.mark.slow), "gan"])
def test_every_config_trains_on_eight_devices_and_learns(name, faces, monkeypatch):
    """On eight faces, with one block in each stage of the ResNet to compile faster."""
    monkeypatch.setattr(resnet, "STAGES", (1, 1, 1, 1))
    config = tiny_config(name)
    run, history = trained(config, faces, NUM_STEPS)
    assert all(np.isfinite(value) for scalars in history for value in scalars.values())
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    if "gan" not in config:
        assert run.adversarial_step is None
        return
    assert ["discriminator_loss" in scalars for scalars in history] == [
        step >= PRETRAIN_STEPS for step in range(NUM_STEPS)
    ]
    # Of 64 scores a step, half have the right sign by chance.
    accuracies = [(s["accuracy_real"] + s["accuracy_fake"]) / 2 for s in history[-10:]]
    assert np.mean(accuracies) > 0.65


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dataset"), [*itertools.product(CONFIGS, DATASETS[1:])])
def test_every_config_runs_a_step_of_every_data_set_s_recipe(name, dataset, faces):
    config = tiny_config(name, dataset)
    config.num_steps = 2  # of a GAN, one without and one with the discriminator
    _, history = trained(config, faces, 2)
    assert ("discriminator_loss" in history[1]) == ("gan" in config)


@pytest.mark.parametrize(("name", "dataset"), [*itertools.product(CONFIGS, DATASETS)])
def test_every_config_has_valid_values_for_the_keys_of_the_table(name, dataset):
    config = get_config(name, dataset)
    check_config(config)
    flat = flatten(config.to_dict())
    assert flat.keys() | {"command"} == {key for key in KEYS if "gan" in config or key[:3] != "gan"}
    assert config.dataset.name == (dataset or common.PROCEDURAL)
    # Recipes differ in values only, so that one command line fits every data set.
    default = flatten(get_config(name).to_dict())
    assert {key: type(value) for key, value in flat.items()} == {
        key: type(value) for key, value in default.items()
    }
    if dataset:
        assert config.image_size == 128
        assert config.num_steps > 10 * default["num_steps"]


def test_the_names_of_the_table_are_those_that_the_code_knows():
    assert KEYS["gan.loss"].rule == f"one of {', '.join(ADVERSARIAL)}"
    for name in KEYS["loss"].rule.removeprefix("one of ").split(", "):
        regression_loss(name, 1.0)


NOT_FINITE = (float("nan"), float("inf"), -float("inf"))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("seed", (-1, 2**32)),
        ("num_steps", (1,)),
        ("batch_size", (0, -8)),
        ("accumulate_steps", (0,)),
        ("image_size", (0, -32, 48)),
        ("loss", ("l3", "")),
        ("gan.loss", ("wasserstein",)),
        ("model.name", ("vgg",)),
        ("model.dtype", ("float8",)),
        ("model.output_stride", (0, 2, 8)),
        ("best_checkpoint", ("loss",)),
        ("dataset.workers", (-2,)),
        ("dataset.min_scale", (0.0, 1.5, *NOT_FINITE)),
        *((key, (-0.1, 1.1, *NOT_FINITE)) for key in KEYS if key.startswith("damage.")),
        *(
            (key, (0.0, -1.0, *NOT_FINITE))
            for key in ("optimizer.learning_rate", "gan.optimizer.learning_rate",
                        "optimizer.clip_norm", "model.width", "gan.width", "huber_delta")
        ),
        *((key, (-0.1, 1.0, *NOT_FINITE)) for key in ("ema_decay", "optimizer.b1", "optimizer.b2")),
        *(
            (key, (-1.0, *NOT_FINITE))
            for key in ("optimizer.weight_decay", "gan.regression_weight", "dataset.min_chroma",
                        "temperature",
                        "optimizer.final_share", "gan.augment_shift", "gan.augment_cut")
        ),
        *((key, (-1,)) for key in ("optimizer.warmup_steps", "generator_pretrain_steps")),
        *(
            (key, (0, -1))
            for key in ("log_every", "eval_every", "checkpoint_every", "checkpoints_to_keep")
        ),
    ],
)  # fmt: skip
def test_a_value_that_cannot_work_is_refused_with_the_rule_of_its_key(key, values):
    for value in values:
        config = get_config("gan")
        config.update_from_flattened_dict({key: value})
        with pytest.raises(InputError) as error:
            check_config(config)
        assert str(error.value).startswith(f"config.{key}={value!r} is not valid; it must be ")
        assert KEYS[key].rule in str(error.value)


def test_a_batch_that_the_devices_cannot_share_is_refused():
    config = get_config("cnn")
    for changes, words in (
        ({"batch_size": 12}, "batch_size=12 cannot be shared by 8 devices"),
        ({"accumulate_steps": 3}, "8 devices in 3 parts each; set it to a multiple of 24"),
    ):
        config.update(changes)
        with pytest.raises(InputError, match=words):
            check_config(config)


def test_a_temperature_without_a_distribution_is_refused():
    config = get_config("cnn")
    config.temperature = 0.4
    with pytest.raises(InputError, match=r"temperature=0\.4 needs a distribution, .*; set config"):
        check_config(config)
    config.distribution = 1.0
    check_config(config)


def test_private_keys_are_those_that_name_paths():
    config = {**get_config("gan").to_dict(), "command": "python", "data": "faces/1"}
    gone = flatten(config).keys() - flatten(without_private(config)).keys()
    assert gone == {
        "command", "init_from", "model.encoder_weights",
        "dataset.path", "dataset.validation_path", "dataset.cache_dir",
    }  # fmt: skip


def test_every_key_is_declared_once_with_a_comment_directly_above():
    """A config that changes a key of common.py need not repeat its comment."""
    shared, declared = Path(common.__file__), set()
    for path in (shared, *(shared.with_name(f"{name}.py") for name in CONFIGS)):
        with tokenize.open(path) as file:
            tokens = [*tokenize.generate_tokens(file.readline)]
        comments = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
        for function in ast.parse(path.read_text()).body:
            group = getattr(function, "name", "").removesuffix("_keys")
            prefix = f"{group}." if group in ("dataset", "damage", "model") else ""
            for node in ast.walk(function):
                target = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
                name = prefix + target.removeprefix("config.")
                key = name.rpartition("optimizer.")[2]
                if name == prefix + target or any(x.startswith(f"{name}.") for x in KEYS):
                    continue  # not a key, or a group of keys
                if path != shared and key in declared:
                    continue
                assert key not in declared, f"{path.name}:{node.lineno}: {key} is declared twice"
                assert node.lineno - 1 in comments, f"{path.name}:{node.lineno}: no comment"
                declared.add(key)
    assert declared >= OPTIMIZER.keys()
