"""Validation while a model is trained, and the report at the end."""

from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from colorjax.data import pipeline
from colorjax.evaluation import evaluate
from colorjax.evaluation.scores import Metrics, metrics_of
from colorjax.models.variables import Variables
from colorjax.parallel import devices, processes
from colorjax.parallel.stopping import Stopping
from colorjax.report import grids, report, tables
from colorjax.report.compare import REGRESSION_FILE, compare
from colorjax.runs.cards import model_card
from colorjax.runs.trained_model import TrainedModel
from colorjax.runs.weights import export_weights, load_weights
from colorjax.runs.workdir import MetricsWriter
from colorjax.terminal.errors import EndedError, InputError
from colorjax.terminal.progress import TrainingProgress
from colorjax.training.setup import TrainingPlan
from colorjax.training.state import TrainState

SAMPLES = 8
# Validation images of which the discriminator's accuracy is taken.
JUDGED_IMAGES = 1024


class Validation(NamedTuple):
    """Evaluates the averaged generator of a run.

    Attributes:
      config: of the run.
      plan: what is fixed while training.
      sources: the data set.
      workdir: folder of the run; only the first process writes to it.
      writer: the run's metrics.jsonl.
      progress: shows lines in the terminal.
      stopping: checked between batches.
    """

    config: ConfigDict
    plan: TrainingPlan
    sources: pipeline.Sources
    workdir: Path
    writer: MetricsWriter
    progress: TrainingProgress
    stopping: Stopping

    def is_due(self, step: int) -> bool:
        """Whether the state after `step` updates is validated. `report` validates the last one."""
        at_cadence = step > 0 and step % self.config.eval_every == 0
        is_last = step >= self.config.num_steps
        return not is_last and (at_cadence or step == self.plan.adversarial_from)

    def validate_if_due(self, step: int, state: TrainState) -> None:
        """Writes the metrics of the state after `step` updates, and sample images.

        Does nothing if they are not due, or written already. Raises StopRequested.
        """
        if not self.is_due(step):
            return
        if not self.writer.has(step, "validation"):
            size, name = self.config.image_size, self.plan.name
            candidate = evaluate.Candidate(name, self.plan.predict, state.ema, size)
            scores = evaluate.score([candidate], lambda size: self._batches())
            self._record(step, state, metrics_of(scores)[name])
        self.progress.restart_clock(step)

    def keep_regression(self, step: int, state: TrainState) -> None:
        """Exports the averaged generator before the adversarial phase to a weights file."""
        if processes.is_first():
            model = self._regression(step, state.ema)
            try:
                model.path.unlink(missing_ok=True)
                export_weights(model, model.path, model_card(model), "float32")
            except OSError as error:
                self.progress.note(f"Cannot write {model.path} ({error}); training continues.")
        processes.wait_for_all()

    def report(self, step: int, state: TrainState, command: str) -> dict[str, Metrics]:
        """Compares the final model, and a GAN's regression, with the baselines.

        Returns:
          Metrics by model and baseline.

        Raises:
          EndedError: the report cannot be written.
          StopRequested: SIGTERM was received.
        """
        self.progress.note("Evaluating the model and the baselines.")
        model = self._trained_model(step, state.ema)
        regression = self._kept_regression(state.ema)
        found, files = compare(
            [model] if regression is None else [model, regression],
            self.sources.validation,
            self.sources.train,
            data=f"{self.sources.key}, validation split",
            fitted_on="the training split",
            batch_size=self.config.batch_size,
            commands=[command] if command else [],
            each=self.stopping.each,
        )
        if not self.writer.has(step, "validation"):
            self._record(step, state, found["results"][self.plan.name])
        if processes.is_first():
            try:
                report.write_report(self.workdir / "report", files)
            except OSError as error:
                raise EndedError(
                    f"cannot write the report ({error}); free some disk space and run the same "
                    "command again"
                ) from error
        return found["results"]

    def _record(self, step: int, state: TrainState, metrics: Metrics) -> None:
        if self.plan.judge_step is not None and step > self.plan.adversarial_from:
            batches = self._batches(limit=JUDGED_IMAGES)
            metrics = metrics | evaluate.means(self.plan.judge_step, state, batches)
        self.writer.write(step, "validation", metrics)
        self.progress.note(f"step {step}, validation: {tables.brief(metrics)}")
        if processes.is_first():
            samples = pipeline.sample_images(
                self.sources.validation, SAMPLES, self.config.image_size
            )
            grid = grids.sample_grid(self.plan.name, self.plan.predict, state.ema, samples)
            try:
                grids.save_image(grid, self.workdir / "samples" / f"{step:07d}.png")
            except OSError as error:
                self.progress.note(f"Cannot write the samples ({error}); training continues.")
        processes.wait_for_all()

    def _batches(self, limit: int | None = None) -> evaluate.Batches:
        return self.stopping.each(
            pipeline.eval_batches(
                self.sources.validation,
                batch_size=self.config.batch_size,
                image_size=self.config.image_size,
                limit=limit,
                **processes.process(),
            )
        )

    def _trained_model(self, step: int, variables: Variables) -> TrainedModel:
        return TrainedModel(
            name=self.plan.name,
            path=self.workdir,
            config={**self.config.to_dict(), "data": self.sources.key},
            image_size=self.config.image_size,
            generator=self.plan.generator,
            temperature=self.plan.temperature,
            variables=variables,
            step=step,
            rows=self.writer.rows,
        )

    def _regression(self, step: int, variables: Variables) -> TrainedModel:
        model = self._trained_model(step, variables)
        return model._replace(
            name=f"{self.plan.name} before its adversarial phase",
            path=self.workdir / REGRESSION_FILE,
            config={key: value for key, value in model.config.items() if key != "gan"},
            rows=[],
        )

    def _kept_regression(self, like: Variables) -> TrainedModel | None:
        """What `keep_regression` wrote. All processes get what the first one reads."""
        path = self.workdir / REGRESSION_FILE
        if self.plan.adversarial_step is None or not processes.from_first(path.exists):
            return None
        try:
            variables = processes.read_by_first(
                lambda: jax.device_get(load_weights(path, path.stem).variables), like
            )
        except InputError as error:
            self.progress.note(f"{error}; the report is without it.")
            return None
        return self._regression(self.plan.adversarial_from, devices.replicate(variables))
