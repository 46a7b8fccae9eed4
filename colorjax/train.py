"""Training, readable top to bottom: data, state, the loop, the report."""

import functools
import importlib.util
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from colorjax import checkpoint, evaluate, losses, parallel, report
from colorjax.data import pipeline
from colorjax.errors import InputError
from colorjax.models import SIZE_MULTIPLE, build_generator
from colorjax.progress import TrainingProgress
from colorjax.run import Run, build_run
from colorjax.state import Variables
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
        variant=config.dataset.variant,
        min_chroma=config.dataset.min_chroma,
    )
    run, state = build_run(config, resumes=checkpoint.any_saved(workdir))
    claim(workdir, config.to_dict(), sources.key)
    step = 0

    read = {
        "batch_size": config.batch_size,
        "image_size": config.image_size,
        **parallel.process(),
    }
    batches = pipeline.train_iterator(
        sources.train,
        seed=config.seed,
        min_scale=config.dataset.min_scale,
        flip=config.dataset.flip,
        workers=config.dataset.workers,
        place=parallel.shard,
        **read,
    )
    training, validation = (partial(pipeline.eval_batches, split, **read) for split in sources[:2])
    samples = pipeline.sample_images(sources.validation, SAMPLES, config.image_size)
    predict = model_predictor(run.generator)
    validate = evaluate.evaluator({run.name: predict})

    def with_scaled(name: str, variables: Variables) -> dict[str, evaluate.Figures]:
        """Figures of the generator with these variables, and of its a*b* scaled."""
        scaled = evaluate.scaled(predict, variables, training(limit=evaluate.FIT_PREDICTIONS))
        return evaluate.evaluator({name: predict, SCALED: scaled})(variables, validation())

    with (
        checkpoint.Checkpoints(workdir / "checkpoints", config.checkpoints_to_keep) as checkpoints,
        TrainingProgress(config.num_steps, config.batch_size) as progress,
    ):
        if checkpoints.latest_step is not None:
            step = checkpoints.latest_step
            state, position = checkpoints.restore(state)
            batches.set_state(position["batches"])
            run = _going_on(run, step, position["adversarial_from"])
            progress.note(f"Going on from step {step} of {workdir}.")
        writer = MetricsWriter(workdir, step, config.tensorboard)
        progress.restart_clock(step)
        pending: list[Any] = []
        compiled = set()
        while step < config.num_steps:
            if step == run.adversarial_from:
                # What the adversarial phase has to beat.
                for name, figures in with_scaled(REGRESSION, state.ema).items():
                    writer.write(step, f"validation, {name}", figures)
                    progress.note(f"step {step}, {name}: {report.brief(figures)}")
                progress.restart_clock(step)
            batch = next(batches)
            train_step = run.step_at(step)
            # Dispatched, not awaited: while it runs, the next batch is read.
            with jax.transfer_guard("disallow"):
                state, metrics = train_step(state, batch)
            step += 1
            pending.append(metrics)
            if len(pending) > 1:
                # At most two steps on their way: XLA's CPU collectives deadlock behind many.
                jax.block_until_ready(pending[-2])
            is_last = step == config.num_steps
            saves = is_last or step % config.checkpoint_every == 0
            evaluates = is_last or step % config.eval_every == 0
            if saves or evaluates or step % config.log_every == 0:
                figures = mean_of_finite(jax.device_get(pending), step)
                pending.clear()
                figures["images_per_second"] = progress.show(step, figures)
                writer.write(step, "train", figures)
            if evaluates:
                figures = validate(state.ema, validation())[run.name]
                writer.write(step, "validation", figures)
                progress.note(f"step {step}, validation: {report.brief(figures)}")
                grid = report.sample_grid({run.name: predict}, state.ema, samples)
                report.save_image(grid, workdir / "samples" / f"{step:07d}.png")
                progress.restart_clock(step)
            if saves:
                # Last, so that every line of metrics.jsonl up to here is written.
                position = {
                    "batches": batches.get_state(),
                    "adversarial_from": run.adversarial_from,
                }
                checkpoints.save(step, state, position)
            if train_step not in compiled:
                compiled.add(train_step)
                jax.block_until_ready(metrics)
                progress.note(f"step {step}: compiled and done in {progress.seconds():.1f} s")
                progress.restart_clock(step)
        batches.close()

        progress.note("Evaluating the baselines.")
        if run.adversarial_step is None:
            results = with_scaled(run.name, state.ema)
        else:
            results = validate(state.ema, validation())
            rows = {name: writer.figures(f"validation, {name}") for name in (REGRESSION, SCALED)}
            results |= {name: figures for name, figures in rows.items() if figures}
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
                "baselines": f"fitted on {evaluate.FIT_IMAGES} training images at most, the scaled "
                f"regression's factor on {evaluate.FIT_PREDICTIONS}",
            },
            rows=writer.rows,
            grid=report.sample_grid({run.name: predict}, state.ema, samples),
        )
    return results


def _going_on(run: Run, step: int, adversarial_from: int) -> Run:
    """The run from a checkpoint on, when its lengths may have been changed since.

    A discriminator that has begun to train goes on; one that has not does not begin in the past.
    """
    if run.adversarial_step is None:
        return run
    begun = adversarial_from < step
    return run._replace(
        adversarial_from=adversarial_from if begun else max(run.adversarial_from, step)
    )


def check_config(config: ConfigDict) -> None:
    """Raises InputError for numbers that cannot work: names the key, and what would."""
    parallel.check_batch_size(config.batch_size)
    if config.image_size < SIZE_MULTIPLE or config.image_size % SIZE_MULTIPLE:
        raise InputError(
            f"config.image_size={config.image_size} cannot be halved five times by the model; "
            f"set it to a multiple of {SIZE_MULTIPLE}"
        )
    for key, fits, rule in (
        ("num_steps", lambda x: x >= 2, "at least 2"),
        ("log_every", lambda x: x >= 1, "at least 1"),
        ("eval_every", lambda x: x >= 1, "at least 1"),
        ("checkpoint_every", lambda x: x >= 1, "at least 1"),
        ("checkpoints_to_keep", lambda x: x >= 1, "at least 1"),
        ("generator_pretrain_steps", lambda x: x >= 0, "0 or more"),
        ("ema_decay", lambda x: 0 <= x < 1, "in [0, 1)"),
        ("model.width", lambda x: x > 0, "more than 0"),
        ("dataset.min_scale", lambda x: 0 < x <= 1, "in (0, 1]"),
        ("dataset.min_chroma", lambda x: x >= 0, "0 or more"),
        ("dataset.workers", lambda x: x >= -1, "-1, 0 or more"),
        *((f"damage.{key}", lambda x: 0 <= x <= 1, "in [0, 1]") for key in config.damage),
    ):
        value = functools.reduce(getattr, key.split("."), config)
        if not fits(value):
            raise InputError(f"config.{key}={value} cannot work; it must be {rule}")
    # What these raise shall come before data are prepared.
    build_generator(config.model)
    losses.regression_loss(config.loss, config.huber_delta)
    if "gan" in config:
        losses.adversarial_loss(config.gan.loss)
    if config.tensorboard and importlib.util.find_spec("tensorboardX") is None:
        raise InputError(
            "config.tensorboard needs tensorboardX; pip install 'colorjax[tensorboard]'"
        )


def mean_of_finite(steps: Sequence[Mapping[str, np.ndarray]], last_step: int) -> dict[str, float]:
    """The mean of each of the scalars of some consecutive steps.

    Raises:
      NonFiniteError: one is not finite; names it and its step.
    """
    for step, scalars in enumerate(steps, last_step - len(steps) + 1):
        for name, value in scalars.items():
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"step {step}: {name} is {value}; the last good checkpoint is kept. Try a "
                    "smaller config.optimizer.learning_rate in another --workdir"
                )
    return {name: float(np.mean([scalars[name] for scalars in steps])) for name in steps[0]}
