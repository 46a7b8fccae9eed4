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

from colorjax import checkpoint, evaluate, losses, parallel, pictures, report, scores, tables
from colorjax.data import pipeline
from colorjax.errors import InputError
from colorjax.evaluate import Contender
from colorjax.models import SIZE_MULTIPLE, build_generator
from colorjax.progress import TrainingProgress
from colorjax.run import Run, build_run
from colorjax.runs import BEFORE
from colorjax.state import Variables
from colorjax.steps import model_predictor
from colorjax.workdir import MetricsWriter, claim

SAMPLES = 8
REGRESSION = "regression before the adversarial phase"
SCALED = "scaled regression"


class NonFiniteError(FloatingPointError):
    """A loss or a gradient is not finite. Checkpoints from before it are kept."""


def train_and_evaluate(
    config: ConfigDict, workdir: Path, command: str = ""
) -> dict[str, scores.Figures]:
    """Trains what the config says, from the workdir's newest checkpoint if there is one.

    Leaves in the workdir: config.json, metrics.jsonl, checkpoints/, samples/ and report/.

    Args:
      config: see configs/common.py.
      workdir: the folder of the run.
      command: by which this was asked for; the report shows it.

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
    claim(workdir, {**config.to_dict(), "command": command}, sources.key)
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
    before = workdir / BEFORE  # what the adversarial phase has to beat

    def contender(variables: Variables, name: str = run.name) -> Contender:
        return Contender(name, predict, variables, config.image_size)

    def with_scaled(model: Contender) -> tuple[Contender, Contender]:
        return evaluate.scaled(model, SCALED, training(limit=evaluate.FIT_PREDICTIONS))

    def score(*contenders: Contender) -> scores.Scores:
        return evaluate.score(contenders, lambda image_size: validation())

    def show(step: int, variables: Variables, figures: scores.Figures) -> None:
        """Writes down an evaluation while training, and what the model paints."""
        writer.write(step, "validation", figures)
        progress.note(f"step {step}, validation: {tables.brief(figures)}")
        grid = pictures.sample_grid({run.name: predict}, variables, samples)
        pictures.save_image(grid, workdir / "samples" / f"{step:07d}.png")

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
                regression = score(*with_scaled(contender(state.ema, REGRESSION)))
                scores.save(regression, before)
                results = scores.figures_of(regression)
                if step and step % config.eval_every == 0:
                    show(step, state.ema, results[REGRESSION])
                for name, figures in results.items():
                    writer.write(step, f"validation, {name}", figures)
                    progress.note(f"step {step}, {name}: {tables.brief(figures)}")
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
            # At the end, and where the adversarial phase begins, more is evaluated than this.
            evaluates = step % config.eval_every == 0 and step not in (
                config.num_steps,
                run.adversarial_from,
            )
            if saves or evaluates or step % config.log_every == 0:
                figures = mean_of_finite(jax.device_get(pending), step)
                pending.clear()
                figures["images_per_second"] = progress.show(step, figures)
                writer.write(step, "train", figures)
            if evaluates:
                show(step, state.ema, scores.figures_of(score(contender(state.ema)))[run.name])
                progress.restart_clock(step)
            if saves:
                # Last: every line of metrics.jsonl up to here is written, but for those that are
                # written before the next step or after the last one, when it is restored too.
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

        progress.note("Evaluating the model and the baselines.")
        constants = evaluate.constant_baselines(
            training(limit=evaluate.FIT_IMAGES), config.image_size
        )
        factor: dict[str, str] = {}
        pairs: list[tuple[str, str]] = []
        if run.adversarial_step is None:
            model, scaled = with_scaled(contender(state.ema))
            final = score(model, scaled, *constants)
            factor = {f"factor of {SCALED}": f"{scaled.factor:.2f}"}
        else:
            model = contender(state.ema)
            final = score(model, *constants)
            rivals = scores.load(before)
            if rivals is not None:
                names = [run.name, *rivals.names, *(c.name for c in constants)]
                final = final.merged(rivals).chosen(names)
                pairs = [(run.name, rival) for rival in rivals.names]
        show(step, state.ema, scores.figures_of(final)[run.name])
        found, files = report.build_report(
            report.Material(
                scores=final,
                runs=[model],
                pairs=pairs,
                image=partial(pipeline.eval_image, sources.validation),
                batch_size=config.batch_size,
                about={
                    "run": run.name,
                    "step": step,
                    "data": sources.key,
                    "validation images": len(sources.validation),
                    "image size": config.image_size,
                    "baselines": f"fitted on {evaluate.FIT_IMAGES} training images at most, the "
                    f"scaled regression's factor on {evaluate.FIT_PREDICTIONS}",
                    **factor,
                },
                rows={run.name: writer.rows},
                configs={run.name: config.to_dict()},
                commands=[command] if command else [],
            )
        )
        report.write_report(workdir / "report", files)
    return found["results"]


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
