"""What a request brings: a form with a photograph, or JSON. Read within limits."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple

from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from colorjax.serve.limits import Limits, Refusal
from colorjax.serve.photos import clean_name
from colorjax.terminal.errors import InputError

# A body must arrive within SECONDS, and more for a large one at BYTES_PER_SECOND.
SECONDS, BYTES_PER_SECOND = 60.0, 50_000
# Bytes that a form has besides its file.
FORM_BYTES = 1 << 20
# Of the rest of a body that is refused, at most so much is read.
DISCARDED_BYTES, DISCARDED_SECONDS = 16 << 20, 5.0


class Form(NamedTuple):
    """A form with a photograph.

    Attributes:
      data: the file.
      name: of the file, cleaned.
      fields: the other fields, whose values are text.
    """

    data: bytes
    name: str
    fields: dict[str, str]


class _InMemory(MultiPartParser):
    """Writes no part of a form to the disk."""

    spool_max_size = 0  # of a SpooledTemporaryFile: no limit


async def read_form(
    request: Request, limits: Limits, fields: tuple[str, ...], count: Callable[[int], None]
) -> Form:
    """Reads a multipart form with one field `file`.

    Args:
      request: of the client.
      limits: see `Limits`.
      fields: names that the other fields may have.
      count: called with the number of bytes that have arrived.

    Raises:
      InputError: it is no such form.
      Refusal: it is too large (413) or arrives too slowly (408).
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InputError("send multipart/form-data with the photograph as the field file")
    body = _body(request, limits.bytes + FORM_BYTES, count)
    parser = _InMemory(
        request.headers, body, max_files=1, max_fields=len(fields), max_part_size=FORM_BYTES
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InputError(f"the form cannot be read: {error.message}") from error
    try:
        values = dict(form.multi_items())
        upload = values.pop("file", None)
        if upload is None or isinstance(upload, str):
            raise InputError("send the photograph as the field file, with a filename")
        if unknown := values.keys() - set(fields):
            raise InputError(
                f"there is no field {min(unknown)!r:.60}; the fields are file, {', '.join(fields)}"
            )
        data = await upload.read()
    finally:
        await form.close()
    if not data:
        raise InputError("the file is empty; send a photograph")
    if len(data) > limits.bytes:
        raise _too_large(limits.bytes)
    text = {name: value for name, value in values.items() if isinstance(value, str)}
    return Form(data, clean_name(upload.filename or ""), text)


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """Reads a JSON object; an empty body counts as {}. Raises as `read_form`."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind != "application/json":
        raise Refusal(415, "send application/json")
    body = b"".join([chunk async for chunk in _body(request, limits.json_bytes, lambda size: None)])
    value = parse_json(body) if body else {}
    if not isinstance(value, dict):
        raise InputError("send a JSON object")
    return value


def parse_json(text: str | bytes) -> Any:
    """Raises InputError if it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is not JSON: {error}") from error


async def _body(
    request: Request, most: int, count: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > most:
        await discard(request)
        raise _too_large(most)
    started, size, more = time.monotonic(), 0, True
    while more:
        allowed = SECONDS + size / BYTES_PER_SECOND - (time.monotonic() - started)
        try:
            message = await asyncio.wait_for(request.receive(), max(0, allowed))
        except TimeoutError:
            raise Refusal(408, "the request arrives too slowly; send it again") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        try:
            if size > most:
                raise _too_large(most)
            count(len(chunk))
        except Refusal:
            if more:
                await discard(request)
            raise
        yield chunk


async def discard(request: Request) -> None:
    """Reads what is left of a body, if that is not long: many clients read an answer only then."""
    size, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARDED_SECONDS):
            while more and size < DISCARDED_BYTES:
                message = await request.receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"this is too large; at most {most / 1e6:.0f} million bytes are accepted")


async def until_left(request: Request) -> None:
    """Returns when the client of a request, whose body is read, is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
