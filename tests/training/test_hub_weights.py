"""Weights by name that a run starts from: downloaded by the first process, at the start only."""

import contextlib
import shutil
import subprocess
import sys

import chex
import hub_server
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import support
from flax.traverse_util import flatten_dict
from safetensors.numpy import save
from waiting import free_port

from colorjax.models.imagenet_weights import torchvision_name
from colorjax.models.resnet import ResNet50
from colorjax.runs.trained_model import load_run
from colorjax.runs.weights import export_weights
from colorjax.terminal.errors import InputError
from colorjax.training.init_weights import check_weights, with_weights
from colorjax.training.setup import initial_state

# With timm's name of the repository, and its names of the tensors.
RESNET = "hf:timm/resnet50.a1_in1k"
WIDTH = 1 / 16


def encoder():
    """A narrow ResNet-50 of random numbers."""
    model = ResNet50(width=WIDTH)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)


def as_timm(variables):
    tensors = {"fc.weight": np.zeros((1000, 8), np.float32), "fc.bias": np.zeros(1000, np.float32)}
    for path, x in flatten_dict(variables).items():
        tensors[torchvision_name(path)] = x.transpose(3, 2, 0, 1).copy() if x.ndim == 4 else x
    tensors["bn1.num_batches_tracked"] = np.array(7)
    return save(tensors)


def test_the_encoder_starts_from_timm_by_its_name(tmp_path):
    expected = encoder()
    config = support.tiny_config("resnet", model__encoder_weights=RESNET)
    files = {"model.safetensors": as_timm(expected), "pytorch_model.bin": b"pickled"}
    repositories = {RESNET.removeprefix("hf:"): files}
    with hub_server.joined(repositories, tmp_path / "cache") as server:
        check_weights(config)
        others = {"decoder": {"bias": np.ones(2, np.float32)}}
        blank = jax.tree.map(np.zeros_like, expected)
        variables = {kind: {"encoder": tree, **others} for kind, tree in blank.items()}
        found = with_weights(config, variables, None)
        assert server.ranges == [None]
    for kind, tree in expected.items():
        chex.assert_trees_all_equal(found[kind], {"encoder": tree, **others})


def test_a_model_without_an_encoder_downloads_nothing(tmp_path):
    config = support.tiny_config("cnn", model__encoder_weights=RESNET)
    with hub_server.joined({}, tmp_path / "cache") as server:
        with pytest.raises(InputError, match=r"config\.model\.name='resnet'"):
            check_weights(config)
        assert not server.requests


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "cnn.safetensors"
    export_weights(load_run(support.trained("cnn"), "cnn"), path, "", "float32")
    return {"me/cnn": {"model.safetensors": path.read_bytes()}}


def test_a_run_starts_from_a_name_and_is_resumed_without_it(exported, tmp_path):
    workdir = tmp_path / "run"

    def config(num_steps):
        return support.tiny_config("cnn", init_from="hf:me/cnn", num_steps=num_steps)

    with hub_server.joined(exported, tmp_path / "cache") as server:
        with support.quick_compilation():
            state = initial_state(config(2))
        expected = load_run(support.trained("cnn"), "cnn").variables
        chex.assert_trees_all_equal(state.ema, expected)
        support.train(config(2), workdir)
        shutil.rmtree(tmp_path / "cache")
        asked = len(server.requests)
        support.train(config(4), workdir)
        assert len(server.requests) == asked
    assert support.checkpoint_steps(workdir) == [2, 4]


def test_a_name_that_is_not_there_leaves_no_run(tmp_path):
    config = support.tiny_config("cnn", init_from="hf:me/nothing")
    with (
        hub_server.joined({}, tmp_path / "cache"),
        pytest.raises(InputError, match="me/nothing does not exist"),
    ):
        support.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_the_first_of_several_processes_downloads(exported, tmp_path):
    """Each has a cache of its own, as on machines without a shared disk."""
    cnn = jax.device_get(load_run(support.trained("cnn"), "cnn").variables)
    resnet = encoder()
    expected = {
        "cnn": flatten_dict(cnn, sep="/"),
        "resnet": flatten_dict({kind: {"encoder": x} for kind, x in resnet.items()}, sep="/"),
    }
    for name, arrays in expected.items():
        np.savez(tmp_path / f"{name}.npz", **jax.tree.map(np.zeros_like, arrays))
    coordinator = f"127.0.0.1:{free_port()}"
    repositories = {**exported, "me/resnet": {"model.safetensors": as_timm(resnet)}}
    script = str(support.ROOT / "tests/hub_processes.py")
    with hub_server.serving(repositories) as server, contextlib.ExitStack() as stack:
        environment = {**support.environment(), "JAX_NUM_CPU_DEVICES": "1"}
        running = [
            subprocess.Popen(
                [sys.executable, script, str(tmp_path), coordinator, str(index)],
                env=environment | hub_server.environment(server, tmp_path / f"home{index}"),
            )
            for index in range(2)
        ]
        for process in running:
            stack.callback(process.wait)
            stack.callback(process.kill)
        assert [process.wait(300) for process in running] == [0, 0]
        assert server.ranges == [None, None]  # two files
    assert (tmp_path / "home0").exists()
    assert not (tmp_path / "home1").exists()
    for name, arrays in expected.items():
        for index in range(2):
            with np.load(tmp_path / f"{name}-{index}.npz") as file:
                chex.assert_trees_all_equal(dict(file), arrays)
