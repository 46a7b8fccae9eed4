"""The training loop."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from colorjax.data import pipeline
from colorjax.evaluation.scores import Metrics
from colorjax.parallel import devices, processes
from colorjax.parallel.stopping import MESSAGE, Stopping, StopRequested
from colorjax.runs import checkpoint
from colorjax.runs.checkpoint import Checkpoints
from colorjax.runs.workdir import MetricsWriter, best_step, claimed
from colorjax.terminal.errors import EndedError
from colorjax.terminal.progress import TrainingProgress
from colorjax.training.check_config import check_config, with_dtype
from colorjax.training.color_weights import bin_weights
from colorjax.training.inflight import InFlight, NonFiniteError
from colorjax.training.init_weights import check_weights
from colorjax.training.setup import TrainingPlan, build_plan, initial_state, resumed_plan
from colorjax.training.state import TrainState
from colorjax.training.validation import Validation


def train_and_evaluate(config: ConfigDict, workdir: Path, command: str = "") -> dict[str, Metrics]:
    """Trains a model, from the newest checkpoint of the workdir if there is one.

    Writes config.json, metrics.jsonl, checkpoints/, samples/ and report/ to the workdir, of a GAN
    also regression.safetensors. All processes call this; the first one reads and writes.

    Args:
      config: see configs/common.py.
      workdir: folder of the run.
      command: command line that started the training; shown in the report.

    Returns:
      Metrics on the validation split, by model and baseline.

    Raises:
      InputError: the config, the data or weights are not valid, or the workdir is of another run.
      NonFiniteError: a loss or gradient is not finite. The state before and the batch are saved.
      StopRequested: SIGTERM was received. The state is saved if a step was done.
      EndedError: the last checkpoint or the report could not be written.
    """
    check_config(config)
    config = with_dtype(config, workdir)
    resumes = checkpoint.any_saved(workdir)
    if not resumes:
        check_weights(config)
    with Stopping() as stopping:
        sources = pipeline.load_sources(
            config.dataset.name,
            path=config.dataset.path,
            validation_path=config.dataset.validation_path,
            cache_dir=config.dataset.cache_dir or None,
            variant=config.dataset.variant,
            min_chroma=config.dataset.min_chroma,
        )
        is_needed = config.distribution and not resumes
        weights = bin_weights(sources.train, config.image_size) if is_needed else None
        plan, state = build_plan(config), initial_state(config, weights, resumes)
        batches = pipeline.train_iterator(
            sources.train,
            batch_size=config.batch_size,
            image_size=config.image_size,
            seed=config.seed,
            min_scale=config.dataset.min_scale,
            flip=config.dataset.flip,
            workers=config.dataset.workers,
            place=devices.shard,
            **processes.process(),
        )
        # Every process has seen the data before the first one writes to the workdir.
        stopping.check()
        with (
            claimed(workdir, {**config.to_dict(), "command": command}, sources.key),
            TrainingProgress(config.num_steps, config.batch_size) as progress,
            Checkpoints(
                workdir / "checkpoints", config.checkpoints_to_keep, progress.note
            ) as checkpoints,
        ):
            stopping.at_once = False  # a checkpoint may be being renamed
            step = 0
            restored = checkpoints.restore(state)
            stopping.check()
            if restored is not None:
                step, state, resume_point = restored
                batches.set_state(resume_point["batches"])
                plan = resumed_plan(config, step, resume_point["adversarial_from"])
                progress.note(f"Resuming from step {step} of {workdir}.")
            writer = MetricsWriter(workdir, step, config.tensorboard, progress.note)
            checkpoints.best = partial(best_step, writer.rows, metric=config.best_checkpoint)
            validation = Validation(config, plan, sources, workdir, writer, progress, stopping)
            step, state = _train(
                config, plan, step, state, batches, validation, checkpoints, stopping
            )
            batches.close()
            results = validation.report(step, state, command)
            if checkpoints.latest_step != step:
                raise EndedError(
                    f"the last checkpoint of {workdir} could not be saved; free some disk space "
                    "and run the same command again"
                )
    return results


def _train(
    config: ConfigDict,
    plan: TrainingPlan,
    step: int,
    state: TrainState,
    batches: pipeline.BatchIterator,
    validation: Validation,
    checkpoints: Checkpoints,
    stopping: Stopping,
) -> tuple[int, TrainState]:
    """Trains from `step` to the last step. Returns the last step and the state after it."""
    writer, progress = validation.writer, validation.progress
    compiling = {step, plan.adversarial_from}
    in_flight = InFlight()
    progress.restart_clock(step)
    try:
        validation.validate_if_due(step, state)  # a stopped run may not have done so
        while step < config.num_steps:
            if step == plan.adversarial_from:
                validation.keep_regression(step, state)
            # Dispatched, not awaited: the next batch is read while the step runs.
            resume_point = _resume_point(plan, batches)
            batch = next(batches)
            with jax.transfer_guard("disallow"):
                state, metrics = plan.step_at(step)(state, batch)
            in_flight.add(step + 1, metrics, batch, resume_point)
            compiles = step in compiling
            step += 1
            if compiles:
                in_flight.settle()
                progress.note(f"step {step}: compiled and run in {progress.elapsed():.1f} s")
            stops = stopping.asked
            saves = step == config.num_steps or step % config.checkpoint_every == 0
            # A checkpoint is preceded by the metrics up to its step, which a resumed run keeps.
            if stops or saves or validation.is_due(step) or step % config.log_every == 0:
                means = in_flight.means()
                means["images_per_second"] = progress.show(step, means)
                writer.write(step, "train", means)
            if compiles:
                progress.restart_clock(step)
            validation.validate_if_due(step, state)
            if saves:
                checkpoints.save(step, state, _resume_point(plan, batches))
            if stops:
                raise StopRequested(MESSAGE)
    except StopRequested:
        if step:
            checkpoints.save(step, state, _resume_point(plan, batches))
            progress.note(f"Stopping after step {step}.")
        raise
    except NonFiniteError as error:
        # The steps from the failed one on have changed nothing but this flag.
        state = state.replace(is_finite=devices.replicate(jnp.array(True)))
        checkpoints.save(error.step - 1, state, error.resume_point)
        error.write_batch(validation.workdir / "nonfinite", progress.note)
        raise
    return step, state


def _resume_point(plan: TrainingPlan, batches: pipeline.BatchIterator) -> dict[str, Any]:
    """What a checkpoint holds besides the state; JSON."""
    return {"batches": batches.get_state(), "adversarial_from": plan.adversarial_from}
