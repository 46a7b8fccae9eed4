"""A page that colours photographs in the browser, as a folder for any static host."""

import importlib.resources
import json
import os
import tempfile
from importlib.resources.abc import Traversable
from pathlib import Path

from colorjax.files import check_folder
from colorjax.runs import cards
from colorjax.terminal.errors import InputError

# The page is the one that `colorjax serve` shows; the files of SITE take the server's place.
WEB, SITE = "assets/web", "assets/site"
PAGE = "index.html"


def check_site(output: Path) -> None:
    """Raises InputError if a site cannot be written to this folder."""
    folder = Path(os.path.realpath(output))
    if folder == Path.cwd():  # it would be replaced
        raise InputError(f"{output} is the current folder; give --output a new one")
    check_folder(folder)
    check_folder(folder.parent)
    try:
        is_full = folder.is_dir() and any(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot read {output} ({error}); give --output a new folder") from error
    if is_full:
        raise InputError(f"{output} is not empty; give --output a new folder")


def write_site(
    output: Path, onnx: bytes, runtime: dict[str, bytes], name: str, image_size: int, card: str
) -> None:
    """Writes the folder completely or not at all.

    Args:
      output: does not exist or is empty, see `check_site`. If it is a link, what it names is.
      onnx: the model.
      runtime: see `web_runtime.runtime_files`.
      name: of the model, shown on the page.
      image_size: side of the images that the model was trained with, in pixels.
      card: Markdown; its title and its terms are shown on the page.
    """
    model = {
        "name": name,
        "title": title(card) or name,
        "terms": terms(card),
        "image_size": image_size,
        "hints": False,
        "distribution": False,
    }
    files = {
        **static_files(WEB),
        **static_files(SITE),
        **runtime,
        "model.onnx": onnx,
        "model.json": json.dumps(model, ensure_ascii=False, indent=1).encode(),
    }
    page = files.pop(PAGE)
    output = Path(os.path.realpath(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".colorjax-", dir=output.parent) as folder:
        site = Path(folder) / "site"
        (site / "static").mkdir(parents=True)
        (site / PAGE).write_bytes(page)
        for file, data in files.items():
            (site / "static" / file).write_bytes(data)
        if output.is_dir():
            output.rmdir()  # it is empty; not every system replaces a folder
        os.replace(site, output)


def static_files(folder: str) -> dict[str, bytes]:
    """The files of a folder of the package, by name."""
    root: Traversable = importlib.resources.files("colorjax") / folder
    return {file.name: file.read_bytes() for file in root.iterdir() if file.is_file()}


def title(card: str) -> str:
    return next(iter(card.splitlines()), "").lstrip("# ")


def terms(card: str) -> str:
    """What a card says in its paragraphs **Use**, as plain text."""
    found = " ".join(text.removeprefix(cards.USE) for text in cards.terms(card))
    return " ".join(found.replace("**", "").replace("`", "").split())
