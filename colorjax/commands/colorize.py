"""`colorjax colorize`."""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from colorjax.runs import hub
from colorjax.terminal import signals
from colorjax.terminal.arguments import candidates, positive, saturation, temperature
from colorjax.terminal.errors import EndedError, InputError

if TYPE_CHECKING:
    from colorjax.colorize.hints import Hints
    from colorjax.colorize.plan import Plan, Results
    from colorjax.colorize.record import Record

# As an input standard input, as the output standard output.
PIPE = "-"
# The names printed after a note that several files share.
NAMED = 2
STANDARD_INPUT, STANDARD_OUTPUT = "standard input", "standard output"


def add_colorize(commands: Any) -> None:
    """Adds `colorjax colorize`."""
    parser = commands.add_parser(
        "colorize",
        help="colour photographs",
        description="Colours photographs of up to 1000 megapixels, or 250 where a file must be "
        "decoded as a whole, such as a progressive JPEG: JPEG, PNG, WebP, TIFF, BMP, AVIF, and "
        "HEIC with the extra heic (pip install '.[heic]'). Lightness, EXIF, profile, resolution, "
        "transparency and 16 bits are kept where the format has them. Files that colorjax wrote "
        "are never inputs; photographs that are coloured with the same settings are skipped, so "
        "an interrupted command resumes.",
        epilog="example:\n  colorjax colorize portrait.jpg\n"
        "  colorjax colorize album/ portrait.jpg --output coloured\n"
        "  colorjax colorize 'scans/*.tif' --output coloured --model runs/gan-image_folder "
        "--saturation 1.2\n"
        "  colorjax colorize - < grey.jpg > coloured.jpg\n"
        "  colorjax colorize portrait.jpg --candidates 4 --uncertainty --hints strokes.png",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    inputs = "files, folders (searched recursively), globs, or - for standard input"
    add("inputs", nargs="+", metavar="IN", help=inputs)
    add(
        "-o",
        "--output",
        metavar="DIR|FILE",
        help="folder of the coloured files; for one input also a file, or - for standard output "
        "(default: beside each input, as NAME_coloured)",
    )
    add(
        "--model",
        metavar="RUN|FILE|NAME",
        help="a run's folder, RUN/checkpoints/STEP or /best, an exported file, a name "
        "listed by `colorjax models`, which takes precedence over a folder of that name, or "
        f"{hub.SYNTAX} of the Hugging Face Hub, with the extra hub "
        "(default: the model that comes with colorjax)",
    )
    bolder = "factor for the colours: 1.2 is bolder, 0 is grey (default: 1)"
    add("--saturation", type=saturation, default=1.0, metavar="X", help=bolder)
    _add_choices(add)
    pair = "also write grey and coloured side by side: a.png_compare.jpg for a.png"
    add("--compare", action="store_true", help=pair)
    suffix = (
        "appended to each name (default: _coloured beside the inputs; nothing in a folder or for "
        "candidates)"
    )
    add("--suffix", metavar="TEXT", help=suffix)
    formats = "of all outputs: jpg, png, webp, tif or bmp (default: that of each input)"
    add("--format", type=_image_format, metavar="FORMAT", help=formats)
    mark = "do not note in the XMP metadata that a program made the colours"
    add("--no-mark", dest="mark", action="store_false", help=mark)
    again = "replace files that colorjax did not write, and colour again what is coloured already"
    add("--overwrite", action="store_true", help=again)
    add("--device", choices=["cpu", "gpu", "tpu"], help="default: JAX's default device")
    batch = "photographs per batch (default: 8)"
    add("--batch-size", type=positive, default=8, metavar="N", help=batch)
    parser.set_defaults(run=_run_colorize)


def _add_choices(add: Callable[..., Any]) -> None:
    """The flags for what grey alone does not tell."""
    several = (
        "write N different colourings, 2 to 16, as NAME_1, NAME_2, …, of which the first is the "
        "usual one; hints hold for all"
    )
    add("--candidates", type=candidates, metavar="N", help=several)
    unsure = (
        "also write NAME_uncertainty.png: how unsure the model is of each colour, the standard "
        "deviation of a*b*; black is 0, white is 50 Lab units or more; of a file with several "
        "pages the first"
    )
    add("--uncertainty", action="store_true", help=unsure)
    bold = (
        "of the predicted distribution of colours, 0.05 to 10: less is bolder; 0 for the answer of "
        "the regression (default: the model's own)"
    )
    add("--temperature", type=temperature, metavar="T", help=bold)
    add(
        "--hints",
        type=Path,
        metavar="FILE",
        help="colours for one photograph: a .png of its size, upright, transparent but for strokes "
        '(an opacity of 50 %% or more counts), or a .json of [[x, y, "#rrggbb"], …] in pixels of '
        "the upright photograph, from 0 at the left and the top",
    )


def _image_format(text: str) -> str:
    """The format of a name such as jpg or .TIF."""
    from colorjax.images.photo import FORMATS, SUFFIXES

    format = FORMATS.get(f".{text.lower().removeprefix('.')}", "")
    if format not in SUFFIXES:
        *others, last = (suffix[1:] for suffix in SUFFIXES.values())
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be written; choose {', '.join(others)} or {last}"
        )
    return format


class _Pipes(NamedTuple):
    """The inputs and the output, with files in place of standard input and standard output.

    Attributes:
      inputs: see `plan`.
      output: see `plan`.
      folder: of these files, if there are any.
      writes: whether the result is to be copied to standard output.
    """

    inputs: list[str]
    output: str | None
    folder: Path | None = None
    writes: bool = False

    def shown(self, path: Path) -> str:
        from colorjax.images.folders import printable

        if self.folder is None or self.folder not in path.parents:
            return printable(path)
        return STANDARD_OUTPUT if self.folder / "out" in path.parents else STANDARD_INPUT


def _run_colorize(options: argparse.Namespace) -> None:
    """Colours files. Raises EndedError (status 1) if some could not be coloured."""
    # Nothing here imports JAX: wrong input is answered at once.
    from colorjax.colorize.choices import Choices, check_size
    from colorjax.colorize.plan import Results, plan
    from colorjax.colorize.record import Record
    from colorjax.runs.model_paths import DEFAULT_MODEL, digest, find_model

    path = find_model(DEFAULT_MODEL if options.model is None else options.model)
    chosen = Choices(options.candidates, options.uncertainty, options.temperature, options.hints)
    hints = chosen.checked(path)
    if options.candidates and options.compare:
        raise InputError("--compare shows one colouring; leave out --candidates")
    settings = {"saturation": options.saturation, "mark": options.mark}
    record = Record({"model": digest(path), **settings, **chosen.settings()})
    with _without_pipes(options) as pipes:
        planned = plan(
            pipes.inputs,
            pipes.output,
            record,
            suffix=options.suffix,
            format=options.format or "",
            compare=options.compare,
            candidates=options.candidates or 1,
            uncertainty=options.uncertainty,
            overwrite=options.overwrite,
        )
        if pipes.writes and len(planned.jobs) + len(planned.failures) > 1:
            raise InputError("- is for one picture; give one input file, or a folder as --output")
        if hints is not None:
            check_size(hints, planned)
        results = Results(failures=list(planned.failures))
        ended: BaseException | None = None
        try:
            if planned.jobs:
                _colour(planned, path, record, results, options, hints)
        except (EndedError, KeyboardInterrupt) as error:
            ended = error
        if pipes.writes and results.coloured:
            with planned.jobs[0].target.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
    _report(planned, results, record, pipes)
    if ended:
        raise ended
    if results.failures:
        total = len(planned.jobs) + planned.current + len(planned.failures)
        raise EndedError(f"{len(results.failures)} of {total} could not be coloured (see above)")


@contextlib.contextmanager
def _without_pipes(options: argparse.Namespace) -> Iterator[_Pipes]:
    """Raises InputError if standard input or output cannot be used, before anything is read."""
    inputs, output = list(options.inputs), options.output
    reads = PIPE in inputs
    writes = output == PIPE or (reads and output is None)
    if not reads and not writes:
        yield _Pipes(inputs, output)
        return
    if len(inputs) > 1 or os.path.isdir(inputs[0]):
        raise InputError("- is for one picture; give one input file, or a folder as --output")
    for flag in ("compare", "candidates", "uncertainty"):
        if writes and getattr(options, flag):
            place = "a FILE" if reads else "a folder"
            raise InputError(f"--{flag} writes a second file; give {place} as --output")
    # Not sys.stdout: that of the operating system may be closed, and is replaced then.
    if writes and sys.__stdout__ is None:
        raise InputError("standard output is closed; give an --output")
    if writes and sys.stdout.isatty():
        raise InputError("standard output is a terminal; add > coloured.jpg, or give an --output")
    if reads and sys.stdin is None:
        raise InputError("standard input is closed; give a file, or - behind a pipe")
    if reads and not writes:
        from colorjax.colorize.plan import find_place

        if find_place(output, options.suffix, options.format or "").file is None:
            raise InputError("standard input has no name; give a FILE as --output, or -")
    with tempfile.TemporaryDirectory(prefix="colorjax-") as name:
        folder = Path(name)
        if reads:
            source = folder / STANDARD_INPUT
            with source.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            inputs = [str(source)]
        try:
            yield _Pipes(inputs, str(folder / "out") if writes else output, folder, writes)
        except InputError as error:
            raise InputError(str(error).replace(os.path.join(folder, ""), "")) from error


def _colour(
    planned: "Plan",
    model: Path,
    record: "Record",
    results: "Results",
    options: argparse.Namespace,
    hints: "Hints | None",
) -> None:
    from colorjax.files import remove_leftovers
    from colorjax.images.photo_reader import PhotoReader
    from colorjax.runs.model_paths import model_name

    jobs = planned.jobs
    with PhotoReader(len(jobs)) as reader:  # its processes start while JAX is imported
        with signals.delayed():
            from colorjax.colorize.colorizer import Colorizer
            from colorjax.colorize.files import colorize_files
            from colorjax.parallel import devices
            from colorjax.terminal.progress import counting

            devices.configure()
            colorizer = Colorizer.load(
                model, options.batch_size, options.device, options.temperature
            )
        for folder in {job.target.parent for job in jobs}:
            remove_leftovers(folder)
        with counting("Colouring", len(jobs)) as advance:
            colorize_files(
                jobs,
                colorizer,
                results,
                saturation=options.saturation,
                batch_size=options.batch_size,
                mark=model_name(model) if options.mark else None,
                hints=hints,
                advance=advance,
                obstacle=planned.obstacle,
                written=lambda job, path: record.add(path, job.source, job.stamp),
                reader=reader,
            )


def _report(planned: "Plan", results: "Results", record: "Record", pipes: _Pipes) -> None:
    said = sys.stderr if pipes.writes else sys.stdout
    if not pipes.writes:
        for line in _counts(planned, results.coloured, pipes):
            print(line)
    for line in _grouped((pipes.shown(source), text) for source, text in results.notes):
        print(line, file=said)
    if record.error and not pipes.writes:
        print(f"{record.error}: what was coloured is not remembered there.", file=said)
    for source, reason in results.failures:
        print(f"{pipes.shown(source)}: {reason}", file=sys.stderr)


def _counts(planned: "Plan", coloured: int, pipes: _Pipes) -> Iterator[str]:
    if len(planned.jobs) == coloured == 1:
        job = planned.jobs[0]
        last = f" to {pipes.shown(job.others[-1])}" if job.others else ""
        yield f"Coloured: {pipes.shown(job.target)}{last}"
    elif coloured:
        into = (
            "beside the inputs"
            if pipes.output is None
            else f"into {pipes.shown(Path(pipes.output))}"
        )
        yield f"{coloured} coloured {into}."
    if planned.current:
        yield f"{planned.current} skipped, coloured already (--overwrite colours them again)."
    for reason, number in planned.left_out.items():
        yield f"{number} left out {reason}."


def _grouped(notes: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A line for each text: "not kept: a.jpg, b.jpg and 12 more"."""
    names = defaultdict(list)
    for source, text in notes:
        names[text].append(source)
    for text, all_names in names.items():
        more = len(all_names) - NAMED
        rest = f" and {more} more" if more > 0 else ""
        yield f"{text}: {', '.join(all_names[:NAMED])}{rest}"
