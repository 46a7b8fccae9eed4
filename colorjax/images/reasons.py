"""Why a picture cannot be read, in one line: the errors of decoders as ValueErrors."""

import contextlib
import re
from collections.abc import Iterator

import pyvips

# Pixels of what decoders hold as a whole; they need up to 16 bytes each, 4 GB in all.
MAX_WHOLE = 250_000_000


@contextlib.contextmanager
def reasons() -> Iterator[None]:
    """Turns the errors of decoders into ValueErrors."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"is corrupt ({one_line(error)})") from error  # of Pillow's
    except pyvips.Error as error:
        words = details(error)
        raise ValueError(f"is corrupt or truncated{words and f' ({words})'}") from error
    except UnicodeDecodeError as error:  # libvips' words hold bytes of the file
        raise ValueError("is corrupt or truncated") from error
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # decoders' many kinds, of untrusted bytes
        name = type(error).__name__
        raise ValueError(f"is corrupt ({name}: {one_line(error)})") from error


def one_line(error: Exception) -> str:
    """What an error says, with the names of tifffile's constants alone; or else its kind."""
    words = re.sub(r"<\w+\.(\w+): \d+>", r"\1", " ".join(str(error).split()))
    return words[:200] or type(error).__name__


def details(error: pyvips.Error) -> str:
    """What libvips says, without the names of its operation and of the file."""
    lines = [line.rpartition(": ")[2].strip() for line in str(error).splitlines()[1:]]
    # It seeks before it tries a format.
    return next((line[:200] for line in lines if line and "bad seek" not in line), "")


def check_size(width: int, height: int, most: int, whole: str = "") -> None:
    """Raises ValueError if a picture is too large.

    Args:
      width: in pixels.
      height: in pixels.
      most: number of pixels.
      whole: files of its kind, if they are decoded as a whole: these may have fewer pixels.
    """
    if width * height > most or (whole and width * height > MAX_WHOLE):
        kind = f" of {whole}, which are decoded as a whole" if whole else ""
        limit = min(most, MAX_WHOLE) if whole else most
        raise ValueError(
            f"has {width} × {height} pixels; at most {limit / 1e6:.0f} million are read{kind}"
        )
