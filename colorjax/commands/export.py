"""`colorjax export`."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colorjax.export import kinds
from colorjax.runs import hub
from colorjax.terminal import signals
from colorjax.terminal.arguments import share
from colorjax.terminal.errors import InputError

if TYPE_CHECKING:
    from colorjax.export.write import Checked
    from colorjax.runs.trained_model import TrainedModel


def add_export(commands: Any) -> None:
    """`colorjax export`."""
    parser = commands.add_parser(
        "export",
        help="write a run's model to one file, or a web page that runs it",
        description="Writes the averaged generator of a run, its config and a model card to one "
        "file. The suffix of --output decides which:\n\n"
        "  .safetensors  `colorjax colorize` and `colorjax evaluate` accept it as a model\n"
        "  .onnx         for ONNX runtimes (needs the extra onnx: pip install '.[onnx]')\n"
        "  .stablehlo    for jax.export.deserialize on CPUs, NVIDIA GPUs and TPUs. JAX guarantees\n"
        "                that versions up to six months newer and three weeks older load it.\n"
        "                FILE.json beside it has the card and the config\n\n"
        "The last two turn L [n, 1, h, w] in [0, 100], h and w multiples of 32, into a*b*\n"
        "[n, 2, h, w] in Lab units, without hints. They are compared with JAX before they are\n"
        "written.\n\n"
        "--format site writes a folder for any static web host: a page that colours photographs\n"
        "in the browser, which sends them nowhere. It needs the extra onnx, and once npm, which\n"
        "fetches ONNX Runtime Web.",
        epilog="example:\n  colorjax export runs/gan-image_folder --output faces.safetensors\n"
        "  colorjax export faces --output faces.onnx\n"
        "  colorjax export faces --format site --output public\n"
        "  colorjax export runs/gan-image_folder --output between.safetensors "
        "--interpolate runs/resnet-image_folder --share 0.5\n"
        "  colorjax export runs/gan-image_folder --push hf:me/faces",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "path",
        metavar="RUN|FILE|NAME",
        help="the folder of a run for its newest checkpoint, RUN/checkpoints/STEP, "
        "RUN/checkpoints/best for the best one on validation, an exported file, a name listed "
        f"by `colorjax models`, or {hub.SYNTAX} of the Hugging Face Hub (extra hub)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE|DIR",
        type=Path,
        help="ends in .safetensors, .onnx or .stablehlo; of a site, a new folder; needed without "
        "--push",
    )
    parser.add_argument(
        "--push",
        metavar="hf:OWNER/NAME",
        help="upload the file, as model with its suffix, and the card, as README.md, to this "
        "repository of the Hugging Face Hub, with the token of `hf auth login` or HF_TOKEN (extra "
        "hub); files of these names that are there are replaced; a repository that does not exist "
        "is made, with the visibility that is your default there",
    )
    parser.add_argument("--format", choices=kinds.KINDS, help="for an --output of another name")
    parser.add_argument(
        "--dtype",
        choices=["float16", "float32"],
        help="of the parameters in a .safetensors file, and of the large kernels in the others; "
        "all is computed in float32 (default: float16 for .safetensors and sites, else float32)",
    )
    parser.add_argument(
        "--runtime",
        type=Path,
        metavar="FILE",
        help="for a site, instead of npm: what `npm pack onnxruntime-web@1.30.0` writes",
    )
    parser.add_argument("--card", type=Path, metavar="FILE", help="Markdown to add to the card")
    parser.add_argument(
        "--interpolate",
        metavar="RUN|FILE|NAME",
        help="average the parameters with those of this model, from which RUN was started (a GAN "
        "from its regression): the result is more colourful than the regression and has a "
        "smaller error than the GAN",
    )
    parser.add_argument(
        "--share",
        type=share,
        metavar="X",
        help="weight of RUN in the average, 0 to 1 (default: 0.5)",
    )
    parser.set_defaults(run=_run_export)


def _run_export(options: argparse.Namespace) -> None:
    if options.push is None:
        if options.output is None:
            raise InputError("give --output FILE, --push hf:OWNER/NAME, or both")
        _export(options)
        return
    if options.format == kinds.SITE:
        raise InputError("--push uploads one file and its card, not a site; leave one of them out")
    hub.check_upload(options.push)
    with tempfile.TemporaryDirectory(prefix="colorjax-") as folder:
        if options.output is None:
            options.output = Path(folder, f"model.{options.format or kinds.WEIGHTS}")
        kind, card = _export(options)
        files = kinds.written(options.output, kind)
        named = {f"model{suffix}": file for suffix, file in files.items()}
        address = hub.upload(options.push, named, card)
    print(f"Uploaded to {address}.")


def _export(options: argparse.Namespace) -> tuple[str, str]:
    """Writes the file or the site. Returns its kind and the card."""
    # Nothing here imports JAX: wrong input is answered at once.
    from colorjax.export.site import check_site
    from colorjax.export.web_runtime import runtime_files
    from colorjax.files import check_file
    from colorjax.runs.cards import export_card, read_addition
    from colorjax.runs.model_paths import find_model, model_name

    kind = kinds.choose(options.output, options.format)
    kinds.check_extra(kind)
    if options.share is not None and options.interpolate is None:
        raise InputError("--share needs --interpolate")
    if options.runtime is not None and kind != kinds.SITE:
        raise InputError("--runtime is for --format site; leave it out")
    if kind == kinds.SITE:
        check_site(options.output)
    else:
        for file in kinds.written(options.output, kind).values():
            check_file(file)
    addition = "" if options.card is None else read_addition(options.card)
    runtime = None if options.runtime is None else runtime_files(options.runtime)
    # From here on something may be downloaded.
    given = [options.path] if options.interpolate is None else [options.path, options.interpolate]
    paths = [find_model(model) for model in given]
    if kind == kinds.SITE and runtime is None:
        runtime = runtime_files()
    with signals.delayed():
        from colorjax.parallel import devices
        from colorjax.runs.weights import interpolate, open_model

    devices.configure()
    run, *others = map(open_model, paths)
    for other in others:
        run = interpolate(run, other, 0.5 if options.share is None else options.share)
    card = export_card(run, paths, addition)
    dtype = options.dtype or kinds.DEFAULT_DTYPES[kind]
    try:
        if runtime is not None:
            compared = _write_site(run, options.output, card, dtype, runtime, model_name(paths[0]))
        else:
            compared = _write(run, kind, options.output, card, dtype)
    except OSError as error:
        raise InputError(
            f"cannot write {options.output} ({error}); choose another --output"
        ) from error
    written = options.output.rglob("*") if runtime is not None else [options.output]
    size = sum(file.stat().st_size for file in written) / 2**20
    shown = options.output if options.push is None else options.output.name
    print(f"{shown}: {size:.1f} MiB, step {run.step} of {run.path}{compared}.")
    return kind, card


def _write(run: "TrainedModel", kind: str, output: Path, card: str, dtype: str) -> str:
    """Writes a file. Returns what the command's message says of it at its end."""
    if kind == kinds.WEIGHTS:
        from colorjax.runs.weights import export_weights

        export_weights(run, output, card, dtype)
        return ""
    from colorjax.export.write import write_onnx, write_stablehlo

    write = {kinds.ONNX: write_onnx, kinds.STABLEHLO: write_stablehlo}[kind]
    return _compared(write(run, output, card, dtype))


def _write_site(
    run: "TrainedModel", output: Path, card: str, dtype: str, runtime: dict[str, bytes], name: str
) -> str:
    """Writes a site. Returns what `_write` returns."""
    from colorjax.export.site import write_site
    from colorjax.export.write import to_onnx

    checked = to_onnx(run, card, dtype)
    write_site(output, checked.data, runtime, name, run.image_size, card)
    return _compared(checked)


def _compared(checked: "Checked") -> str:
    return f"; at most {checked.difference:.2g} in a*b* from JAX"
