"""Training, readable top to bottom: data, state, the loop, the report."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from colorjax import checkpoint, evaluate, parallel, report
from colorjax.data import pipeline
from colorjax.errors import InputError
from colorjax.models import SIZE_MULTIPLE
from colorjax.progress import TrainingProgress
from colorjax.run import build_run
from colorjax.steps import model_predictor
from colorjax.workdir import MetricsWriter, claim

SAMPLES = 8
REGRESSION = "regression before the adversarial phase"
SCALED = "scaled regression"


class NonFiniteError(FloatingPointError):
    """A loss or a gradient is not finite. Checkpoints from before it are kept."""


def train_and_evaluate(config: ConfigDict, workdir: Path) -> dict[str, evaluate.Figures]:
    """Trains what the config says, from the workdir's newest checkpoint if there is one.

    Leaves in the workdir: config.json, metrics.jsonl, checkpoints/, samples/ and report/.

    Args:
      config: see configs/common.py.
      workdir: the folder of the run.

    Returns:
      Figures on the validation split, by model and baseline.

    Raises:
      InputError: something in the config cannot work, or the workdir holds another run.
      NonFiniteError: a loss or a gradient is not finite.
    """
    check_config(config)
    sources = pipeline.load_sources(
        config.dataset.name,
        path=config.dataset.path,
        validation_path=config.dataset.validation_path,
        cache_dir=config.dataset.cache_dir or None,
    )
    run = build_run(config)
    claim(workdir, config.to_dict(), sources.key)
    state, step = run.state, 0

    read = {
        "batch_size": config.batch_size,
        "image_size": config.image_size,
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }
    batches = pipeline.train_iterator(
        sources.train,
        seed=config.seed,
        min_scale=config.dataset.min_scale,
        flip=config.dataset.flip,
        **read,
    )
    training, validation = (partial(pipeline.eval_batches, split, **read) for split in sources[:2])
    samples = pipeline.sample_images(sources.validation, SAMPLES, config.image_size)
    predict = model_predictor(run.generator)
    validate = evaluate.evaluator({run.name: predict})

    def with_scaled(name: str) -> dict[str, evaluate.Figures]:
        """Figures of the generator as it is now, and with its a*b* scaled."""
        scaled = evaluate.scaled(predict, state.ema, training(limit=evaluate.FIT_PREDICTIONS))
        return evaluate.evaluator({name: predict, SCALED: scaled})(state.ema, validation())

    with checkpoint.Checkpoints(workdir / "checkpoints", config.checkpoints_to_keep) as checkpoints:
        if checkpoints.latest_step is not None:
            step = checkpoints.latest_step
            state, data_state = checkpoints.restore(state)
            batches.set_state(data_state)
        writer = MetricsWriter(workdir, step, config.tensorboard)
        pending: list[Any] = []
        with TrainingProgress(step, config.num_steps, config.batch_size) as progress:
            if step:
                progress.note(f"Going on from step {step} of {workdir}.")
            while step < config.num_steps:
                if step == run.adversarial_from:
                    # What the adversarial phase has to beat.
                    for name, figures in with_scaled(REGRESSION).items():
                        writer.write(step, f"validation, {name}", figures)
                        progress.note(f"step {step}, {name}: {report.brief(figures)}")
                batch = parallel.shard(next(batches))
                train_step = run.step_at(step)
                # Dispatched, not awaited: while it runs, the next batch is read.
                with jax.transfer_guard("disallow"):
                    state, metrics = train_step(state, batch)
                step += 1
                pending.append(metrics)
                is_last = step == config.num_steps
                saves = is_last or step % config.checkpoint_every == 0
                if saves or progress.is_first or step % config.log_every == 0:
                    figures = mean_of_finite(jax.device_get(pending), step)
                    pending.clear()
                    figures["images_per_second"] = progress.show(step, figures)
                    writer.write(step, "train", figures)
                if step % config.eval_every == 0 or is_last:
                    figures = validate(state.ema, validation())[run.name]
                    writer.write(step, "validation", figures)
                    progress.note(f"step {step}, validation: {report.brief(figures)}")
                    grid = report.sample_grid({run.name: predict}, state.ema, samples)
                    report.save_image(grid, workdir / "samples" / f"{step:07d}.png")
                    progress.restart_clock()
                if saves:
                    # Last, so that every line of metrics.jsonl up to here is written.
                    checkpoints.save(step, state, batches.get_state())
        batches.close()

    results = {run.name: writer.figures("validation")}
    if "gan" in config:
        results |= {name: writer.figures(f"validation, {name}") for name in (REGRESSION, SCALED)}
    else:
        results |= with_scaled(run.name)
    baselines = evaluate.constant_baselines(training(limit=evaluate.FIT_IMAGES))
    results |= evaluate.evaluator(baselines)(evaluate.NO_VARIABLES, validation())
    report.write_report(
        workdir / "report",
        results,
        about={
            "run": run.name,
            "step": step,
            "data": sources.key,
            "validation images": len(sources.validation),
            "image size": config.image_size,
        },
        rows=writer.rows,
        grid=report.sample_grid({run.name: predict}, state.ema, samples),
    )
    return results


def check_config(config: ConfigDict) -> None:
    """Raises InputError for numbers that cannot work: names the key, and what would."""
    parallel.check_batch_size(config.batch_size)
    if config.image_size < SIZE_MULTIPLE or config.image_size % SIZE_MULTIPLE:
        raise InputError(
            f"config.image_size={config.image_size} cannot be halved five times by the model; "
            f"set it to a multiple of {SIZE_MULTIPLE}"
        )
    least = {"num_steps": 2, "log_every": 1, "eval_every": 1, "checkpoint_every": 1}
    for key, value in least.items():
        if config[key] < value:
            raise InputError(f"config.{key}={config[key]} is too small; set it to {value} or more")


def mean_of_finite(steps: Sequence[Mapping[str, np.ndarray]], last_step: int) -> dict[str, float]:
    """The mean of each of the scalars of some consecutive steps.

    Raises:
      NonFiniteError: one is not finite; names it and its step.
    """
    for step, scalars in enumerate(steps, last_step - len(steps) + 1):
        for name, value in scalars.items():
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"step {step}: {name} is {value}; the last good checkpoint is kept. "
                    "Try a smaller config.optimizer.learning_rate"
                )
    return {name: float(np.mean([scalars[name] for scalars in steps])) for name in steps[0]}
