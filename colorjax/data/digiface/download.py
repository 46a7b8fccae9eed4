"""Downloads that resume where they stopped, and are complete or absent."""

import logging
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, IncompleteRead, ProtocolError

from colorjax.images.folders import READ_ERRORS
from colorjax.terminal.errors import InputError
from colorjax.terminal.progress import Report

ATTEMPTS = 5
TIMEOUT_SECONDS = 60
MAX_WAIT_SECONDS = 60
CHUNK = 1 << 20
# Left free on the disk.
MARGIN_BYTES = 64 << 20
# The server is busy or restarts.
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)

# It warns of each attempt that is repeated.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


class _Retry(urllib3.Retry):
    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, MAX_WAIT_SECONDS)


def fetch_zip(url: str, path: Path, report: Report, *, pause: float = 1.0) -> None:
    """Downloads a zip to `path`, which appears once every member has been checked.

    Until then it is `path` with ".part" appended, which the next call resumes; ".part.version"
    holds the server's name for this version of the file, so that two versions are never mixed.

    Args:
      url: http or https.
      path: the file; its folder must exist.
      report: told about the progress.
      pause: seconds between attempts, doubled with each.

    Raises:
      InputError: the file cannot be downloaded, is incomplete or not an intact zip, or the disk is
        full. What has arrived is kept unless it is corrupt.
    """
    part, name = path.with_name(path.name + ".part"), path.name
    try:
        total = _fetch(url, part, lambda *of: report(f"Downloading {name}", *of), pause)
    except OSError as error:
        raise InputError(
            f"cannot write {part} ({error}); free some space, and run the same command to resume"
        ) from error
    size = part.stat().st_size
    fault = f"it has {size} bytes, not {total}" if total not in (None, size) else None
    try:
        with zipfile.ZipFile(part) as archive:
            done = 0
            for member in archive.infolist():
                with archive.open(member) as file:
                    while file.read(CHUNK):  # compares the checksum at the end
                        pass
                done += member.compress_size
                report(f"Checking {name}", done, size)
    except READ_ERRORS as error:
        fault = fault or str(error) or type(error).__name__
    _version(part).unlink(missing_ok=True)
    if fault is not None:
        part.unlink()
        raise InputError(f"{url} arrived corrupt ({fault}) and was removed; run the command again")
    os.replace(part, path)


def _version(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _fetch(url: str, part: Path, report: Callable[..., None], pause: float) -> int | None:
    """Completes `part`; returns its length as far as the server tells it."""
    retries = _Retry(
        ATTEMPTS - 1, status_forcelist=_TEMPORARY, backoff_factor=pause, raise_on_status=False
    )
    failures = 0
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        while True:
            have = part.stat().st_size if part.exists() else 0
            known = _version(part).read_text() if have and _version(part).exists() else ""
            headers = {"User-Agent": "colorjax", "Accept-Encoding": "identity"}
            headers |= {"Range": f"bytes={have}-"} if have else {}
            headers |= {"If-Range": known} if known else {}
            try:
                with session.get(
                    url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS
                ) as response:
                    return _receive(response, part, have, known, report)
            except (requests.RequestException, HTTPError) as error:
                if isinstance(error, ValueError):
                    raise InputError(f"{url} is not a valid address ({error}); check it") from error
                gained = part.exists() and part.stat().st_size > have
                failures = 0 if gained else failures + 1
                # Requests are repeated by urllib3, and what fails while a body is read here.
                if failures >= ATTEMPTS or isinstance(error, requests.RequestException):
                    raise InputError(
                        f"{url} cannot be downloaded ({_reason(error)}); run the same command "
                        "later to resume, check the address (--mirror URL), or put the zip into "
                        "--manual_dir"
                    ) from error
                time.sleep(min(pause * 2**failures, MAX_WAIT_SECONDS))


def _reason(error: Exception) -> object:
    """Without the address and the number of attempts that urllib3 repeats."""
    return getattr(error.args[0], "reason", error) if error.args else type(error).__name__


def _receive(
    response: requests.Response, part: Path, have: int, known: str, report: Callable[..., None]
) -> int | None:
    """Writes a body behind the first `have` bytes of `part`, or in their place.

    Raises:
      urllib3.exceptions.HTTPError: it is incomplete, or another part than was asked for.
    """
    status, headers = response.status_code, response.headers
    span, _, length = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if status == 416:
        if length == str(have):  # nothing is missing
            return have
        part.unlink()
        raise ProtocolError("the part that was there belongs to another file")
    if status not in (200, 206):
        raise requests.HTTPError(f"{status} {response.reason}")
    if status == 206 and span.partition("-")[0] != str(have):
        raise ProtocolError(f"the server sent bytes {span or '?'}, not those from {have}")
    done = have if status == 206 else 0
    length = length if status == 206 else headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    validator = headers.get("ETag", "")
    if not validator or validator.startswith("W/"):
        validator = headers.get("Last-Modified", "")
    if done and known and validator and validator != known:
        part.unlink()
        raise ProtocolError("the file has changed on the server")
    needed, free = (total or 0) - done + MARGIN_BYTES, shutil.disk_usage(part.parent).free
    if total is not None and free < needed:
        raise InputError(
            f"{part.parent} has {free >> 20} MiB left, but {needed >> 20} MiB are needed; free "
            "some space, and run the same command to resume"
        )
    with part.open("r+b" if done else "wb") as file:
        file.seek(done)
        file.truncate()
        _version(part).write_text(validator)  # of the bytes that are left
        report(done, total)
        try:
            while chunk := response.raw.read1(CHUNK):
                file.write(chunk)
                done += len(chunk)
                report(done, total)
            if total is not None and done < total:
                raise IncompleteRead(done, total - done)
        except HTTPError as error:
            raise ProtocolError(f"the connection broke after {done} of {total} bytes") from error
    return total
