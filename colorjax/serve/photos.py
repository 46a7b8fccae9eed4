"""An uploaded photograph, coloured exactly as `colorjax colorize` colours a file."""

from concurrent.futures import Future
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.files import colorize_files
from colorjax.colorize.plan import COLOURED, Job
from colorjax.images.photo import FORMATS, SUFFIXES, Photo, format_of, output_suffix
from colorjax.images.photo_reader import PhotoReader, private_folder
from colorjax.serve.limits import Refusal
from colorjax.serve.looks import Look
from colorjax.serve.queue import Ticket

MEDIA_TYPES = {"tiff": "image/tiff", "bmp": "image/bmp", "webp": "image/webp", "png": "image/png"}
# Bytes of a name that a file system holds, with what is appended to it.
_MAX_NAME = 200


class File(NamedTuple):
    """A file to be sent.

    Attributes:
      data: its bytes.
      name: that it is to be saved under.
      notes: what it does not keep, a short clause each.
    """

    data: bytes
    name: str
    notes: tuple[str, ...] = ()

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES.get(format_of(self.data[:64]) or "", "image/jpeg")


def clean_name(name: str) -> str:
    """A client's name of a file without folders and what cannot be printed or saved everywhere."""
    last = PurePosixPath(name.replace("\\", "/")).name
    kept = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*').strip(" .")
    stem, dot, ending = kept.rpartition(".")
    if not dot or len(ending) > 10:
        stem, dot, ending = kept, "", ""
    stem = stem.encode()[: _MAX_NAME - len(ending.encode())].decode("utf-8", "ignore")
    return (stem or "photograph") + dot + ending


def read(data: bytes, reader: PhotoReader) -> Photo:
    """Decodes an upload in a process of the reader, which needs a file: a temporary one.

    Raises:
      Refusal: it is no photograph that can be read (422), or the disk is full (507).
    """
    try:
        with private_folder() as folder:
            source = Path(folder, "upload")
            source.write_bytes(data)
            return reader.submit(source).result()
    except ValueError as error:
        raise Refusal(422, f"the photograph {error}") from error
    except OSError as error:  # a full disk
        raise Refusal(507, f"the photograph cannot be read ({error.strerror})") from error


class _Read:
    """A reader of one photograph that is read already."""

    def __init__(self, photo: Photo) -> None:
        self._photo = photo

    def submit(self, path: Path) -> "Future[Photo]":
        future: Future[Photo] = Future()
        future.set_result(self._photo)
        return future

    def end(self) -> None:
        pass


def coloured(
    data: bytes,
    name: str,
    look: Look,
    colorizer: Colorizer,
    model: str,
    reader: PhotoReader,
    ticket: Ticket,
) -> File:
    """Colours a photograph.

    The file is written by the code of the command, into a folder that only this user can read and
    that is gone when this returns. No text of the client's is a part of a path.

    Args:
      data: the file.
      name: of the file, see `clean_name`; its ending is that of the result, as for the command.
      look: see `Look`.
      colorizer: of the model, with the temperature of the look.
      model: its name.
      reader: decodes the photograph.
      ticket: checked between the steps.

    Raises:
      Refusal: the photograph cannot be coloured (422).
      InputError: a hint is outside of it.
    """
    photo = read(data, reader)
    ticket.check()
    look.fits((photo.rgb.shape[1], photo.rgb.shape[0]))
    ending = output_suffix(Path(name))
    known = ending.lower() if ending.lower() in FORMATS else ""
    with private_folder() as folder:
        target = Path(folder, f"coloured{known}")
        job = Job(Path(folder, "upload"), target, candidate=look.candidate)
        results = colorize_files(
            [job],
            colorizer,
            saturation=look.saturation,
            mark=model,
            hints=look.hints,
            obstacle=lambda job: "is not needed any more" if ticket.is_cancelled else "",
            reader=_Read(photo),
        )
        ticket.check()
        if results.failures:
            raise Refusal(422, f"the photograph {results.failures[0][1]}")
        written = target.read_bytes()
    ending = ending if known else SUFFIXES.get(format_of(written[:64]) or "", "")
    return File(
        written, f"{Path(name).stem}{COLOURED}{ending}", tuple(text for _, text in results.notes)
    )
