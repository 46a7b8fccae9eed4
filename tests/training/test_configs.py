"""Every config, as a run of a small network over eight devices, and as a text."""

import ast
import importlib
import itertools
import tokenize
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from support import quick_compilation

from colorjax.data import pipeline
from colorjax.data.procedural.renderer import render_face
from colorjax.models import resnet
from colorjax.parallel import devices
from colorjax.training.setup import build_plan
from configs import common

CONFIGS = sorted(
    path.stem for path in Path(common.__file__).parent.glob("*.py") if path.stem != "common"
)
# "" chooses the procedural faces.
DATASETS = ["", *sorted(set(pipeline.DATASETS) - {common.PROCEDURAL})]
NUM_STEPS, PRETRAIN_STEPS = 60, 20
CONTRACT = {
    "num_steps",
    "batch_size",
    "image_size",
    "seed",
    "dataset.name",
    "dataset.path",
    "dataset.validation_path",
    "log_every",
    "checkpoint_every",
    "eval_every",
    "generator_pretrain_steps",
    "init_from",
    "model.name",
    "model.width",
    "model.dtype",
    "model.skip_connections",
}


def get_config(name, dataset="") -> ConfigDict:
    return importlib.import_module(f"configs.{name}").get_config(dataset)


def tiny_config(name, dataset="") -> ConfigDict:
    """The config for a small network, a few steps and larger ones."""
    config = get_config(name, dataset)
    config.num_steps, config.batch_size, config.image_size = NUM_STEPS, 8, 32
    config.model.width = 1 / 8
    config.optimizer.learning_rate = 2e-2
    if "gan" in config:
        config.generator_pretrain_steps = PRETRAIN_STEPS
        config.gan.width = 1 / 4
        # Bounded by spectral normalisation, a small discriminator bears these larger steps.
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
        run, state = build_plan(config)
        history = []
        for step in range(num_steps):
            # Awaited: virtual devices that run ahead of each other exhaust the CPU's threads.
            state, scalars = jax.block_until_ready(run.step_at(step)(state, faces))
            history.append(scalars)
    assert state.step == num_steps
    return run, jax.device_get(history)


def assert_learns(config, faces):
    """On the eight faces alone, which can be learnt by heart: the loss starts at that of grey."""
    run, history = trained(config, faces, NUM_STEPS)
    assert all(np.isfinite(value) for scalars in history for value in scalars.values())
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    if "gan" not in config:
        assert run.adversarial_step is None
        return
    assert ["discriminator_loss" in scalars for scalars in history] == [
        step >= PRETRAIN_STEPS for step in range(NUM_STEPS)
    ]
    # 64 verdicts a step; by chance half of them are right.
    verdicts = [(s["accuracy_real"] + s["accuracy_fake"]) / 2 for s in history[-10:]]
    assert np.mean(verdicts) > 0.65


# The GAN's generator is the ResNet.
@pytest.mark.parametrize("name", ["cnn", pytest.param("resnet", marks=pytest.mark.slow), "gan"])
def test_every_config_trains_on_eight_devices_and_learns(name, faces, monkeypatch):
    """With one block in each stage of the ResNet, whose compilation is what takes time."""
    monkeypatch.setattr(resnet, "STAGES", (1, 1, 1, 1))
    assert_learns(tiny_config(name), faces)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dataset"), [*itertools.product(CONFIGS, DATASETS[1:])])
def test_every_config_runs_a_step_of_every_data_set_s_recipe(name, dataset, faces):
    config = tiny_config(name, dataset)
    config.num_steps = 2  # of a GAN, one without and one with the discriminator
    _, history = trained(config, faces, 2)
    assert ("discriminator_loss" in history[1]) == ("gan" in config)


@pytest.mark.parametrize(("name", "dataset"), [*itertools.product(CONFIGS, DATASETS)])
def test_every_config_has_the_keys_that_may_be_relied_on(name, dataset):
    config = get_config(name, dataset)
    flat = flatten(config)
    assert set(flat) >= CONTRACT
    assert config.dataset.name == (dataset or common.PROCEDURAL)
    assert config.model.width == 1.0
    # What is a recipe's differs by number alone, so that one command line fits every data set.
    default = flatten(get_config(name))
    assert {key: type(value) for key, value in flat.items()} == {
        key: type(value) for key, value in default.items()
    }


@pytest.mark.parametrize(
    ("name", "model", "has_gan"),
    [
        ("cnn", "encoder_decoder", False),
        ("resnet", "resnet", False),
        ("gan", "resnet", True),
    ],
)
def test_each_config_is_the_model_of_its_name(name, model, has_gan):
    config = get_config(name)
    assert config.model.name == model
    assert ("gan" in config) == has_gan


@pytest.mark.parametrize("dataset", DATASETS[1:])
def test_other_data_sets_have_the_full_length_recipe_at_128(dataset):
    for name in CONFIGS:
        config = get_config(name, dataset)
        assert config.image_size == 128
        assert config.num_steps > 10 * get_config(name).num_steps


def flatten(config, prefix="") -> dict:
    flat = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def assignments(path):
    """(key, line, whether a group of keys) of each `config.… = …` of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign):
            target = ast.unparse(node.targets[0])
            if target.startswith("config."):
                value = ast.unparse(node.value)
                group = value.startswith(("ConfigDict(", "optimizer(", "common.optimizer("))
                yield target.removeprefix("config."), node.lineno, group


def lines_of_comments(path):
    with tokenize.open(path) as file:
        return {
            token.start[0]
            for token in tokenize.generate_tokens(file.readline)
            if token.type == tokenize.COMMENT
        }


def test_every_key_is_declared_once_with_a_comment_directly_above():
    """A config that changes what common.py declares need not repeat what it means."""
    shared = Path(common.__file__)
    declared = {}
    for path in (shared, *(shared.with_name(f"{name}.py") for name in CONFIGS)):
        comments = lines_of_comments(path)
        for key, line, group in assignments(path):
            known = {*declared, *(f"optimizer.{key}" for key in declared)}
            known |= {f"gan.optimizer.{key}" for key in declared}
            if group or (path != shared and key in known):
                continue
            assert key not in declared, f"{path.name}:{line}: {key} is declared twice"
            assert line - 1 in comments, f"{path.name}:{line}: {key} has no comment"
            declared[key] = line
    # Nothing comes from elsewhere: an optimizer's keys are declared once for all.
    keys = set().union(*(flatten(get_config(name)) for name in CONFIGS))
    assert {key.rpartition("optimizer.")[2] for key in keys} == set(declared)
