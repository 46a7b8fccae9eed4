"""Model cards: what a model is, what it was trained on, its terms and its metrics, in Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from colorjax.runs.model_paths import is_weights, read_metadata
from colorjax.terminal.errors import InputError

if TYPE_CHECKING:  # it imports JAX
    from colorjax.runs.trained_model import TrainedModel

USE = "**Use**:"


def read_addition(path: Path) -> str:
    """The text of a Markdown file. Raises InputError if it cannot be read."""
    if not path.is_file():
        raise InputError(f"--card {path} is not a file; check the path")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise InputError(f"--card {path} cannot be read ({error}); give text in UTF-8") from error


def terms(card: str) -> list[str]:
    """The paragraphs of a card that start with **Use**."""
    return [text.strip() for text in card.split("\n\n") if text.lstrip().startswith(USE)]


def export_card(run: "TrainedModel", sources: Sequence[Path], addition: str = "") -> str:
    """The card of a model that is exported: it keeps the terms of what it was made from.

    Args:
      run: the model.
      sources: what it was opened from, see `model_paths.find_model`: one, or the two whose
        parameters it averages.
      addition: Markdown.

    Returns:
      The card of a single weights file, followed by the addition. For anything else `model_card`,
      followed by the terms of the weights files.
    """
    cards = [read_metadata(path)["card"] for path in sources if is_weights(path)]
    if cards and len(sources) == 1:
        return f"{cards[0].rstrip()}\n\n{addition.strip()}\n" if addition else cards[0]
    kept = dict.fromkeys(text for card in cards for text in terms(card))  # each once
    return "".join([model_card(run, addition), *(f"\n{text}\n" for text in kept)])


def model_card(run: "TrainedModel", addition: str = "") -> str:
    """A model card in Markdown: architecture, data, training length and metrics.

    Args:
      run: the metrics of its report are included if they belong to the same checkpoint.
      addition: Markdown, included below the title.

    Raises:
      InputError: the report cannot be read.
    """
    config = run.config
    model, size = config["model"], run.image_size
    table = run.path / "report" / "results.md"
    quarter = model.get("output_stride", 1) == 4
    lines = [
        f"# {model['name']}, width {model['width']:g}: colours grey faces",
        "",
        f"- input: lightness L of {size}×{size} pixels; output: a*b*"
        + (", predicted at a quarter of the size and enlarged bilinearly" if quarter else ""),
        f"- trained by colorjax on `{config.get('data')}`: {run.step} of {config.get('num_steps')} "
        f"steps of {config.get('batch_size')} images, loss {config.get('loss')}"
        + (f", adversarial loss {config['gan']['loss']}" if "gan" in config else ""),
    ]
    if config.get("temperature"):
        lines.append(
            "- answers with the annealed mean of the distribution that it predicts, at a "
            f"temperature of {config['temperature']:g}"
        )
    if abilities := [
        text
        for key, text in (("distribution", "a distribution of a*b*"), ("hints", "hints"))
        if config.get(key, 0) > 0
    ]:
        lines.append(f"- trained with {' and '.join(abilities)}")
    if "interpolated" in config:
        share, other = config["interpolated"]["share"], config["interpolated"]["with"]
        lines.append(f"- interpolated: {share:g} × this network + {1 - share:g} × `{other}`")
    try:
        report = table.read_text() if table.exists() else ""
    except (OSError, UnicodeError) as error:
        raise InputError(f"cannot read {table} ({error}); restore or delete it") from error
    texts = [addition] if addition else []
    # The first line of a report names the runs and their steps.
    if f" (step {run.step})" in report.partition(",")[0] and "interpolated" not in config:
        texts.append(report)
    # A report ends with commands, which name folders of the person who trained the model.
    texts = [text.split("\n```sh\n")[0].strip() for text in texts]
    return "\n".join([*lines, *(f"\n{text}" for text in texts)]) + "\n"
