"""Training, readable top to bottom: data, state, the loop, the report."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from colorjax.data import pipeline
from colorjax.evaluation import evaluate, scores
from colorjax.evaluation.evaluate import Candidate
from colorjax.models.variables import Variables, model_predictor
from colorjax.parallel import devices, processes
from colorjax.parallel.stopping import MESSAGE, Stopping, StopRequested
from colorjax.report import grids, report, tables
from colorjax.report.compare import REGRESSION_FILE, compare
from colorjax.runs import checkpoint
from colorjax.runs.trained_model import TrainedModel, size_after
from colorjax.runs.weights import export_weights, load_weights, model_card
from colorjax.runs.workdir import MetricsWriter, best_step, claimed
from colorjax.terminal.errors import EndedError, InputError
from colorjax.terminal.progress import TrainingProgress
from colorjax.training.check_config import check_config
from colorjax.training.inflight import InFlight, NonFiniteError
from colorjax.training.setup import TrainingPlan, build_plan

SAMPLES = 8
REGRESSION = "regression before the adversarial phase"
SCALED = f"{REGRESSION}, scaled"


def train_and_evaluate(
    config: ConfigDict, workdir: Path, command: str = ""
) -> dict[str, scores.Metrics]:
    """Trains what the config says, from the workdir's newest checkpoint if there is one.

    Leaves in the workdir: config.json, metrics.jsonl, checkpoints/, samples/ and report/; of a
    batch whose loss or gradients are not finite, nonfinite/. All processes call it, the first
    alone touches the workdir.

    Args:
      config: see configs/common.py.
      workdir: the folder of the run.
      command: by which this was asked for; the report shows it.

    Returns:
      Metrics on the validation split, by model and baseline.

    Raises:
      InputError: something in the config cannot work, or the workdir holds another run.
      NonFiniteError: a loss or a gradient is not finite. What came before it is saved.
      StopRequested: SIGTERM came. What was done is saved.
      EndedError: the last checkpoint could not be saved.
    """
    with Stopping() as stopping:
        return _train_and_evaluate(config, workdir, command, stopping)


def _train_and_evaluate(
    config: ConfigDict, workdir: Path, command: str, stopping: Stopping
) -> dict[str, scores.Metrics]:
    check_config(config)
    sources = pipeline.load_sources(
        config.dataset.name,
        path=config.dataset.path,
        validation_path=config.dataset.validation_path,
        cache_dir=config.dataset.cache_dir or None,
        variant=config.dataset.variant,
        min_chroma=config.dataset.min_chroma,
    )
    run, state = build_plan(config, resumes=checkpoint.any_saved(workdir))
    step = 0

    read: dict[str, Any] = {
        "batch_size": config.batch_size,
        "image_size": config.image_size,
        **processes.process(),
    }
    batches = pipeline.train_iterator(
        sources.train,
        seed=config.seed,
        min_scale=config.dataset.min_scale,
        flip=config.dataset.flip,
        workers=config.dataset.workers,
        place=devices.shard,
        **read,
    )
    training, validation = (
        lambda split=split, **options: stopping.each(
            pipeline.eval_batches(split, **{**read, **options})
        )
        for split in sources[:2]
    )
    predict = model_predictor(run.generator)
    kept = workdir / REGRESSION_FILE  # what the adversarial phase has to beat

    def candidate(variables: Variables, name: str = run.name) -> Candidate:
        return Candidate(name, predict, variables, size_after(config, step))

    def model(name: str, variables: Variables, rows: list[dict[str, Any]]) -> TrainedModel:
        """The generator as it is now."""
        size = size_after(config, step)
        return TrainedModel(name, workdir, config.to_dict(), size, predict, variables, step, rows)

    def score(*candidates: Candidate) -> scores.Scores:
        return evaluate.score(
            candidates,
            lambda size: validation(image_size=size),
            image_size=config.image_size,
        )

    # All processes know what the data are before the first of them writes.
    stopping.check()
    with (
        claimed(workdir, {**config.to_dict(), "command": command}, sources.key),
        TrainingProgress(config.num_steps, config.batch_size) as progress,
        checkpoint.Checkpoints(
            workdir / "checkpoints",
            config.checkpoints_to_keep,
            best=lambda steps: best_step(writer.rows, steps, config.best_checkpoint),
            keep=config.keep_checkpoint,
            note=progress.note,
        ) as checkpoints,
    ):
        stopping.at_once = False  # a checkpoint may be renamed
        restored = checkpoints.restore(state)
        stopping.check()
        if restored is not None:
            step, state, position = restored
            batches.set_state(position["batches"])
            run = _going_on(run, step, position["adversarial_from"])
            progress.note(f"Going on from step {step} of {workdir}.")
        writer = MetricsWriter(workdir, step, config.tensorboard, progress.note)

        def position_now() -> dict[str, Any]:
            return {"batches": batches.get_state(), "adversarial_from": run.adversarial_from}

        def log() -> None:
            if in_flight:
                metrics = in_flight.means()
                metrics["images_per_second"] = progress.show(step, metrics)
                writer.write(step, "train", metrics)

        def show(metrics: scores.Metrics) -> None:
            """Writes down an evaluation after this step, and what the model paints."""
            if writer.has(step, "validation"):
                return  # by a run that was stopped meanwhile
            size = size_after(config, step)
            if run.judge_step is not None and step > run.adversarial_from:
                judged = validation(limit=evaluate.FIT_IMAGES, image_size=size)
                metrics = metrics | evaluate.means(run.judge_step, state, judged)
            writer.write(step, "validation", metrics)
            progress.note(f"step {step}, validation: {tables.brief(metrics)}")
            if processes.is_first():
                samples = pipeline.sample_images(sources.validation, SAMPLES, size)
                grid = grids.sample_grid({run.name: predict}, state.ema, samples)
                try:
                    grids.save_image(grid, workdir / "samples" / f"{step:07d}.png")
                except OSError as error:
                    progress.note(f"Cannot write the samples ({error}); training goes on.")
            processes.wait_for_all()

        def keep_regression() -> TrainedModel:
            """The generator before the adversarial phase, which is also written to a file."""
            variables = devices.replicate(jax.device_get(state.ema))
            regression = model(REGRESSION, variables, [])
            del regression.config["gan"]
            if processes.is_first():
                try:
                    export_weights(regression, kept, model_card(regression), "float32")
                except InputError as error:
                    progress.note(f"{error}; training continues.")
            return regression

        def read_regression() -> TrainedModel | None:
            """What `keep_regression` wrote before this run was resumed, in all processes."""
            if not processes.from_first(kept.exists):
                return None
            own = state.ema if not processes.is_first() else load_weights(kept, "").variables
            variables = devices.replicate(processes.broadcast(jax.device_get(own)))
            regression = model(REGRESSION, variables, [])
            del regression.config["gan"]
            begun = run.adversarial_from
            return regression._replace(step=begun, image_size=size_after(config, begun))

        def evaluate_now() -> None:
            """Unless more than this is evaluated here: at the end, and before the discriminator."""
            if step % config.eval_every or step in (0, config.num_steps, run.adversarial_from):
                return
            if not writer.has(step, "validation"):
                show(scores.metrics_of(score(candidate(state.ema)))[run.name])
            progress.restart_clock(step)

        regression: TrainedModel | None = None
        if step < config.half_size_steps < config.num_steps:
            progress.note(
                f"Until step {config.half_size_steps} images are seen at half the size; a step "
                "after it takes some four times as long, which the time left does not know before."
            )
        in_flight = InFlight()
        compiled = set()
        progress.restart_clock(step)
        try:
            evaluate_now()
            while step < config.num_steps:
                if step == run.adversarial_from:
                    in_flight.settle()
                    regression = keep_regression()
                    fit = training(limit=evaluate.FIT_PREDICTIONS, image_size=regression.image_size)
                    both = evaluate.with_scaled(candidate(state.ema, REGRESSION), SCALED, fit)
                    results = scores.metrics_of(score(both))
                    if step and step % config.eval_every == 0:
                        show(results[REGRESSION])
                    for name, metrics in results.items():
                        writer.write(step, f"validation, {name}", metrics)
                        progress.note(f"step {step}, {name}: {tables.brief(metrics)}")
                    progress.restart_clock(step)
                position = position_now()
                batch = next(batches)
                train_step = run.step_at(step)
                # Dispatched, not awaited: while it runs, the next batch is read.
                with jax.transfer_guard("disallow"):
                    state, metrics = train_step(state, batch)
                step += 1
                in_flight.add(step, metrics, batch, position)
                is_last = step == config.num_steps
                saves = is_last or not step % config.checkpoint_every
                saves = saves or step == config.keep_checkpoint
                if saves or step % config.eval_every == 0 or step % config.log_every == 0:
                    log()
                evaluate_now()
                if saves:
                    # Last: every line of metrics.jsonl up to here is written, but for those that
                    # are written before the next step or after the last one, when it is restored
                    # too.
                    checkpoints.save(step, state, position_now())
                if train_step not in compiled:
                    compiled.add(train_step)
                    in_flight.settle()
                    progress.note(f"step {step}: compiled and done in {progress.seconds():.1f} s")
                    progress.restart_clock(step)
                if stopping.asked:
                    log()
                    raise StopRequested(MESSAGE)
        except StopRequested:
            if step:
                checkpoints.save(step, state, position_now())
                progress.note(f"Stopping after step {step}.")
            raise
        except NonFiniteError as error:
            state = state.replace(step=devices.replicate(jnp.int32(error.step - 1)))
            checkpoints.save(error.step - 1, state, error.position)
            try:
                error.write_batch(workdir / "nonfinite")
            except OSError as cause:
                progress.note(f"Cannot write the batch that did it ({cause}).")
            raise
        batches.close()

        progress.note("Evaluating the model and the baselines.")
        models = [model(run.name, state.ema, writer.rows)]
        if run.adversarial_step is not None:
            regression = regression or read_regression()
            models += [regression] if regression else []
        found, files = compare(
            models,
            sources.validation,
            sources.train,
            data=f"{sources.key}, validation split",
            fitted_on="the training split",
            batch_size=config.batch_size,
            commands=[command] if command else [],
            each=stopping.each,
        )
        show(found["results"][run.name])
        if processes.is_first():
            try:
                report.write_report(workdir / "report", files)
            except OSError as error:
                raise EndedError(
                    f"cannot write the report ({error}); make room, and the same command writes it"
                ) from error
        if checkpoints.latest_step != step:
            raise EndedError(
                f"the last checkpoint of {workdir} could not be saved; make room there and give "
                "the same command again"
            )
    return found["results"]


def _going_on(run: TrainingPlan, step: int, adversarial_from: int) -> TrainingPlan:
    """The run from a checkpoint on, when its lengths may have been changed since.

    A discriminator that has begun to train goes on; one that has not does not begin in the past.
    """
    if run.adversarial_step is None:
        return run
    begun = adversarial_from < step
    return run._replace(
        adversarial_from=adversarial_from if begun else max(run.adversarial_from, step)
    )
