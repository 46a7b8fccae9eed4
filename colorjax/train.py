"""Training, readable top to bottom: data, state, the loop, the report."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from colorjax import checkpoint, distributed, evaluate, parallel, report
from colorjax.checks import check_config
from colorjax.data import pipeline
from colorjax.errors import EndedError
from colorjax.inflight import InFlight, NonFiniteError
from colorjax.progress import TrainingProgress
from colorjax.run import Run, build_run
from colorjax.state import Variables
from colorjax.steps import model_predictor
from colorjax.stopping import MESSAGE, Stopping, StopRequested
from colorjax.workdir import MetricsWriter, claimed

SAMPLES = 8
REGRESSION = "regression before the adversarial phase"
SCALED = "scaled regression"


def train_and_evaluate(config: ConfigDict, workdir: Path) -> dict[str, evaluate.Figures]:
    """Trains what the config says, from the workdir's newest checkpoint if there is one.

    Leaves in the workdir: config.json, metrics.jsonl, checkpoints/, samples/ and report/; of a
    batch whose loss or gradients are not finite, nonfinite/. All processes call it, the first
    alone touches the workdir.

    Args:
      config: see configs/common.py.
      workdir: the folder of the run.

    Returns:
      Figures on the validation split, by model and baseline.

    Raises:
      InputError: something in the config cannot work, or the workdir holds another run.
      NonFiniteError: a loss or a gradient is not finite. What came before it is saved.
      StopRequested: SIGTERM came. What was done is saved.
      EndedError: the last checkpoint could not be saved.
    """
    with Stopping() as stopping:
        return _train_and_evaluate(config, workdir, stopping)


def _train_and_evaluate(
    config: ConfigDict, workdir: Path, stopping: Stopping
) -> dict[str, evaluate.Figures]:
    check_config(config)
    sources = pipeline.load_sources(
        config.dataset.name,
        path=config.dataset.path,
        validation_path=config.dataset.validation_path,
        cache_dir=config.dataset.cache_dir or None,
    )
    run, state = build_run(config, resumes=checkpoint.any_saved(workdir))
    step = 0

    read = {
        "batch_size": config.batch_size,
        "image_size": config.image_size,
        **distributed.process(),
    }
    batches = pipeline.train_iterator(
        sources.train,
        seed=config.seed,
        min_scale=config.dataset.min_scale,
        flip=config.dataset.flip,
        **read,
    )
    training, validation = (
        lambda split=split, **options: stopping.each(
            pipeline.eval_batches(split, **read, **options)
        )
        for split in sources[:2]
    )
    samples = pipeline.sample_images(sources.validation, SAMPLES, config.image_size)
    predict = model_predictor(run.generator)
    validate = evaluate.evaluator({run.name: predict})

    def with_scaled(name: str, variables: Variables) -> dict[str, evaluate.Figures]:
        """Figures of the generator with these variables, and of its a*b* scaled."""
        scaled = evaluate.scaled(predict, variables, training(limit=evaluate.FIT_PREDICTIONS))
        return evaluate.evaluator({name: predict, SCALED: scaled})(variables, validation())

    # All processes know what the data are before the first of them writes.
    stopping.check()
    with (
        claimed(workdir, config.to_dict(), sources.key),
        TrainingProgress(config.num_steps, config.batch_size) as progress,
        checkpoint.Checkpoints(
            workdir / "checkpoints",
            config.checkpoints_to_keep,
            best=lambda steps: writer.best(steps, config.best_checkpoint),
            note=progress.note,
        ) as checkpoints,
    ):
        restored = checkpoints.restore(state)
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
                figures = in_flight.means()
                figures["images_per_second"] = progress.show(step, figures)
                writer.write(step, "train", figures)

        def show_validation() -> None:
            """Unless a run that was stopped meanwhile has done so."""
            if writer.has(step, "validation"):
                return
            figures = validate(state.ema, validation())[run.name]
            writer.write(step, "validation", figures)
            progress.note(f"step {step}, validation: {report.brief(figures)}")
            if distributed.is_first():
                grid = report.sample_grid({run.name: predict}, state.ema, samples)
                try:
                    report.save_image(grid, workdir / "samples" / f"{step:07d}.png")
                except OSError as error:
                    progress.note(f"Cannot write the samples ({error}); training goes on.")
            distributed.wait_for_all()
            progress.restart_clock(step)

        in_flight = InFlight()
        compiled = set()
        stopping.at_once = False
        progress.restart_clock(step)
        try:
            if restored is not None and (step == config.num_steps or step % config.eval_every == 0):
                show_validation()
            while step < config.num_steps:
                if step == run.adversarial_from:
                    # What the adversarial phase has to beat.
                    in_flight.settle()
                    for name, figures in with_scaled(REGRESSION, state.ema).items():
                        writer.write(step, f"validation, {name}", figures)
                        progress.note(f"step {step}, {name}: {report.brief(figures)}")
                    progress.restart_clock(step)
                position = position_now()
                batch = parallel.shard(next(batches))
                train_step = run.step_at(step)
                # Dispatched, not awaited: while it runs, the next batch is read.
                with jax.transfer_guard("disallow"):
                    state, metrics = train_step(state, batch)
                step += 1
                in_flight.add(step, metrics, batch, position)
                is_last = step == config.num_steps
                saves = is_last or step % config.checkpoint_every == 0
                evaluates = is_last or step % config.eval_every == 0
                if saves or evaluates or step % config.log_every == 0:
                    log()
                if evaluates:
                    show_validation()
                if saves:
                    # Last, so that every line of metrics.jsonl up to here is written.
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
            before = state.replace(step=parallel.replicate(jnp.int32(error.step - 1)))
            checkpoints.save(error.step - 1, before, error.position)
            error.write_batch(workdir / "nonfinite")
            raise
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
        if distributed.is_first():
            report.write_report(
                workdir / "report",
                results,
                about={
                    "run": run.name,
                    "step": step,
                    "data": sources.key,
                    "validation images": len(sources.validation),
                    "image size": config.image_size,
                    "baselines": f"fitted on {evaluate.FIT_IMAGES} training images at most, the "
                    f"scaled regression's factor on {evaluate.FIT_PREDICTIONS}",
                },
                rows=writer.rows,
                grid=report.sample_grid({run.name: predict}, state.ema, samples),
            )
        if checkpoints.latest_step != step:
            raise EndedError(
                f"the last checkpoint of {workdir} could not be saved; make room there and give "
                "the same command again"
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
