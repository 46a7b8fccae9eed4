"""What several test files share: a tiny data set, tiny configs, and runs trained with them.

All of it lies in the cache folder that conftest.py gives the session, and goes with it.
"""

import contextlib
import functools
import importlib
import json
import os
import shutil
import unittest.mock
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from colorjax.damage import DAMAGES
from colorjax.data.procedural.renderer import render_face
from colorjax.report import grids, plots
from colorjax.runs import checkpoint
from colorjax.training.setup import initial_state
from colorjax.training.train import train_and_evaluate

ROOT = Path(__file__).parents[1]
NUM_STEPS = 6
RENDER = plots.render


def session_folder() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"])


@functools.cache
def faces() -> Path:
    """Six people with four images each: five to train with, one to validate with."""
    folder = session_folder() / "tiny faces"
    for person in range(6):
        (folder / f"person {person}").mkdir(parents=True)
        for index in range(4):
            image = Image.fromarray(render_face(0, person, index, 48))
            image.save(folder / f"person {person}" / f"{index}.png")
    return folder


# Its 20 training images are no multiple of the batch, nor are its 4 for validation. Lines of
# metrics (every third step) fall on other steps than checkpoints (every second).
TINY = {
    "num_steps": NUM_STEPS,
    "batch_size": 8,
    "image_size": 32,
    "model.width": 1 / 16,
    "model.dtype": "float32",
    "log_every": 3,
    "eval_every": 3,
    "checkpoint_every": 2,
    "checkpoints_to_keep": 10,
    "dataset.workers": 0,  # however many cores there are
    **{f"damage.{name}": 0.0 for name in DAMAGES},  # they take time to compile
}
TINY_GAN = {"gan.width": 1 / 16, "generator_pretrain_steps": 3, "checkpoint_every": 1}


def tiny_overrides(name: str) -> dict:
    return {**TINY, "dataset.path": str(faces()), **(TINY_GAN if name == "gan" else {})}


def tiny_config(name: str, **overrides):
    """configs/<name>.py on the tiny faces. Overrides are written model__width for model.width."""
    config = importlib.import_module(f"configs.{name}").get_config("image_folder")
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    with config.unlocked():
        config.update_from_flattened_dict({**tiny_overrides(name), **overrides})
    return config


def small_gan(**overrides):
    """A GAN whose generator compiles in a third of the time of a ResNet-50."""
    return tiny_config("gan", **{"model__name": "encoder_decoder", **overrides})


def flags(name: str, **overrides) -> list[str]:
    """The same as arguments of `python -m colorjax.main`."""
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    return [
        f"--config={ROOT / 'configs' / name}.py:image_folder",
        *(f"--config.{key}={value}" for key, value in (tiny_overrides(name) | overrides).items()),
    ]


def environment() -> dict[str, str]:
    """For processes: the same compiled programs as `quick_compilation`, read and written."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(session_folder() / "compiled"),
    }


@contextlib.contextmanager
def quick_compilation():
    """Compiles without the dear optimisations, and each program once for all tests."""
    settings = {
        "jax_disable_most_optimizations": True,
        "jax_compilation_cache_dir": str(session_folder() / "compiled"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: jax.config.values[name] for name in settings}
    compilation_cache.reset_cache()
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


@contextlib.contextmanager
def blank_plots():
    """Spares the time that it takes to render plots; they are drawn, and saved as one pixel."""
    pixel = grids.png(Image.new("RGB", (1, 1)))
    with unittest.mock.patch.object(plots, "render", return_value=pixel):
        yield


def train(config, workdir):
    with quick_compilation(), blank_plots():
        return train_and_evaluate(config, workdir)


@functools.cache
def trained(name: str) -> Path:
    """The workdir of a finished tiny run, for reading only: cnn or small_gan, NUM_STEPS long.

    Or resnet or gan, which take minutes to compile: the shortest runs that there may be.
    """
    workdir = session_folder() / "runs" / name
    if name == "small_gan":
        config = small_gan()
    elif name == "cnn":
        config = tiny_config(name)
    else:
        config = tiny_config(name, num_steps=2)
    # These plots are looked at, whoever asks for the run first.
    with quick_compilation(), unittest.mock.patch.object(plots, "render", RENDER):
        train_and_evaluate(config, workdir)
    return workdir


def copy_until(workdir: Path, step: int, target: Path) -> Path:
    """The workdir as a run leaves it that was killed after the checkpoint of `step`.

    Its metrics.jsonl already has later lines.
    """
    shutil.copytree(workdir, target)
    for folder in (target / "checkpoints").iterdir():
        if int(folder.name) > step:
            shutil.rmtree(folder)
    shutil.rmtree(target / "report")
    return target


def checkpoint_steps(workdir: Path) -> list[int]:
    return sorted(int(folder.name) for folder in (workdir / "checkpoints").iterdir())


def restored(config, workdir: Path):
    """The newest checkpoint: the state, and where the run stands."""
    with quick_compilation():
        like = initial_state(config, resumes=True)
    with checkpoint.Checkpoints(workdir / "checkpoints") as checkpoints:
        return checkpoints.restore(like)[1:]


def rows(workdir: Path) -> list[dict]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def rows_but_rate(workdir: Path) -> list[dict]:
    """The same without what no two runs have in common."""
    return [
        {key: value for key, value in row.items() if key != "images_per_second"}
        for row in rows(workdir)
    ]


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))
