"""Downloads that go on where they broke off, and are whole or not there."""

import email.utils
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from colorjax import __version__
from colorjax.images.folders import zip_fault
from colorjax.terminal.errors import InputError
from colorjax.terminal.progress import Report

ATTEMPTS = 5
TIMEOUT_SECONDS = 60
CHUNK = 1 << 20
# Left free on the disk beside what is downloaded.
MARGIN_BYTES = 64 << 20
# The server is busy or restarting: it may be better in a moment.
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class _Passing(Exception):
    """What may be gone at the next attempt; how many seconds the server asks to wait."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class Reply(NamedTuple):
    """Where the body of a reply starts in the file, how long the file is, and which one it is."""

    start: int
    total: int | None
    validator: str


def fetch_zip(url: str, path: Path, report: Report, *, pause: float = 1.0) -> None:
    """Downloads a zip, reads all of it once, and only then gives it its name.

    Until then it is `path` with ".part" added, which the next call goes on with; beside it lies
    what the server calls this version of the file (".part.version"), so that two are never mixed.

    Args:
      url: http or https.
      path: the file; its folder must be there.
      report: told how far it is.
      pause: seconds before the second attempt; twice as many before each other.

    Raises:
      InputError: it cannot be had, is not whole or no whole zip, or the disk is full. What has
        arrived is kept, unless it is damaged.
    """
    part, version = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.version")
    name = path.name
    try:
        total = _fetch(url, part, version, lambda *of: report(f"Downloading {name}", *of), pause)
    except OSError as error:
        raise InputError(
            f"cannot write {part} ({error}); make room, and run the same command: it goes on"
        ) from error
    size = part.stat().st_size
    broken = f"it has {size} bytes, not {total}" if total not in (None, size) else None
    if broken is None:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            report(f"Checking {name}", done, size)

        broken = zip_fault(part, advance)
    version.unlink(missing_ok=True)
    if broken is not None:
        part.unlink()
        raise InputError(f"{url} came damaged ({broken}) and was removed; run the command again")
    os.replace(part, path)


def _fetch(
    url: str,
    part: Path,
    version: Path,
    report: Callable[[int, int | None], None],
    pause: float,
) -> int | None:
    """Brings `part` to its full length, which it returns as far as the server tells it."""
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _attempt(url, part, version, report)
        except _Passing as error:
            gained = part.exists() and part.stat().st_size > before
            failures = 0 if gained else failures + 1
            if failures >= ATTEMPTS:
                raise InputError(
                    f"{url} cannot be downloaded ({error}); run the same command later: it goes on"
                ) from error
            time.sleep(pause * 2**failures if error.wait is None else min(error.wait, 60.0))


def _attempt(
    url: str, part: Path, version: Path, report: Callable[[int, int | None], None]
) -> int | None:
    have = part.stat().st_size if part.exists() else 0
    known = version.read_text() if version.exists() else ""
    headers = {"User-Agent": f"colorjax/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known:
            headers["If-Range"] = known
    with _open(url, headers) as response:
        if response.status == 416:
            # All of it is there, or it is of another file.
            length = response.headers.get("Content-Range", "").rpartition("/")[2]
            if length == str(have):
                return have
            part.unlink()
            raise _Passing("what was there was of another file")
        reply = _read_headers(response, have)
        if reply.start and known and reply.validator and reply.validator != known:
            part.unlink()
            raise _Passing("the file has changed on the server")
        _check_space(part, reply)
        version.write_text(reply.validator)
        done = reply.start
        with part.open("r+b" if reply.start else "wb") as file:
            file.seek(reply.start)
            file.truncate()
            report(done, reply.total)
            while chunk := _receive(response):
                file.write(chunk)
                done += len(chunk)
                report(done, reply.total)
    if reply.total is not None and done < reply.total:
        raise _Passing(f"the connection broke off after {done} of {reply.total} bytes")
    return reply.total


def _open(url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    """A reply of status 200, 206 or 416."""
    try:
        request = urllib.request.Request(url, headers=dict(headers))
        return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error  # type: ignore[return-value]  # an error of HTTP is a response, too
        error.close()
        reason = f"{error.code} {error.reason}"
        if error.code in _PASSING:
            raise _Passing(reason, _seconds(error.headers.get("Retry-After"))) from error
        raise InputError(
            f"{url} cannot be downloaded: the server says {reason}; check the address "
            "(--mirror URL), or put the zip into --manual_dir"
        ) from error
    except ValueError as error:
        raise InputError(f"{url} is no address of a server ({error})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _receive(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(str(error) or type(error).__name__) from error


def _read_headers(response: http.client.HTTPResponse, have: int) -> Reply:
    headers = response.headers
    validator = headers.get("ETag", "")
    if not validator or validator.startswith("W/"):
        validator = headers.get("Last-Modified", "")
    length = headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    if response.status != 206:
        return Reply(0, total, validator)
    content_range = headers.get("Content-Range", "").removeprefix("bytes ")
    span, _, whole = content_range.partition("/")
    if span.partition("-")[0] != str(have):
        raise _Passing(f"the server sent bytes {span or '?'} when asked for those from {have}")
    return Reply(have, int(whole) if whole.isdecimal() else None, validator)


def _check_space(part: Path, reply: Reply) -> None:
    if reply.total is None:
        return
    needed = reply.total - reply.start + MARGIN_BYTES
    if (free := shutil.disk_usage(part.parent).free) < needed:
        raise InputError(
            f"{part.parent} has {free >> 20} MiB left, but {needed >> 20} MiB are needed; make room"
            ", and run the same command: it goes on"
        )


def _seconds(retry_after: str | None) -> float | None:
    """What Retry-After says: seconds or a date."""
    if not retry_after:
        return None
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
