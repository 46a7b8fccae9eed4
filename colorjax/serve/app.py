"""The page and its API as a Starlette application."""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from colorjax.serve import looks
from colorjax.serve.forms import Form, discard, parse_json, read_form, read_json, until_left
from colorjax.serve.limits import Refusal
from colorjax.serve.looks import Look, read_look, read_points
from colorjax.serve.openapi import description
from colorjax.serve.photos import File
from colorjax.serve.pictures import Picture
from colorjax.serve.service import Service
from colorjax.serve.store import GONE
from colorjax.serve.zips import zipped
from colorjax.terminal.errors import EndedError, InputError

T = TypeVar("T")
JPEG, PNG = "image/jpeg", "image/png"
_LEFT = 499  # nobody reads it
_POINT = ("x", "y", "count", "hints")
_TICKET = re.compile(r"[\w-]{1,64}", re.ASCII)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def build_app(service: Service, assets: Mapping[str, bytes]) -> Starlette:
    """The application.

    Args:
      service: colours pictures.
      assets: the files of the page by name, one of them index.html.
    """
    api = _Api(service)
    routes = [
        Route("/", _asset(assets, "index.html")),
        Route("/static/{name}", _asset(assets)),
        Route("/api/models", api.models),
        Route("/api/openapi.json", api.openapi),
        Route("/api/colorize", api.colorize, methods=["POST"]),
        Route("/api/suggest", api.suggest, methods=["POST"]),
        Route("/api/pictures", api.open, methods=["POST"]),
        Route("/api/pictures/{id}", api.forget, methods=["DELETE"]),
        Route("/api/pictures/{id}/grey", api.grey),
        Route("/api/pictures/{id}/preview", api.preview, methods=["POST"]),
        Route("/api/pictures/{id}/candidates", api.candidates, methods=["POST"]),
        Route("/api/pictures/{id}/uncertainty", api.uncertainty, methods=["POST"]),
        Route("/api/pictures/{id}/suggest", api.suggest_in, methods=["POST"]),
        Route("/api/pictures/{id}/file", api.file, methods=["POST"]),
        Route("/api/zip", api.zip, methods=["POST"]),
        Route("/api/queue", api.queue),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        tidying = asyncio.create_task(service.tidy())
        yield
        tidying.cancel()

    handlers: dict[Any, Any] = {
        InputError: lambda request, error: _error(400, str(error)),
        Refusal: lambda request, error: _error(error.status, str(error), error.headers),
        EndedError: lambda request, error: _error(507, str(error)),  # a full disk
        HTTPException: lambda request, error: _error(error.status_code, error.detail),
        ClientDisconnect: lambda request, error: Response(status_code=_LEFT),
        Exception: lambda request, error: _error(500, f"{type(error).__name__}: see the terminal"),
    }
    return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)


class _Api:
    """The handlers of requests: they read, ask the service, and write."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def models(self, request: Request) -> Response:
        models, limits = self._service.models, self._service.limits
        keys = "bytes", "pixels", "pictures", "session_seconds"
        told = {key: getattr(limits, key) for key in keys}
        described = list(models.described.values())
        return JSONResponse({"models": described, "default": models.default, "limits": told})

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(description())

    async def colorize(self, request: Request) -> Response:
        async def answer(form: Form) -> Response:
            look, model = _form_look(form), self._service.models.named(form.fields.get("model"))
            self._service.check(look, model)
            file, _ = await self._service.file(form.data, form.name, look, model, _names(request))
            return _file(file)

        return await self._with_form(request, (*looks.KEYS, "model"), answer)

    async def suggest(self, request: Request) -> Response:
        async def answer(form: Form) -> Response:
            point = _point(_parsed(form, _POINT))
            model = self._service.models.named(form.fields.get("model"))
            self._service.check(Look(hints=point[2]), model, distribution=True)
            found, _ = await self._service.suggest(form.data, *point, model, _names(request))
            return _colors(found)

        return await self._with_form(request, (*_POINT, "model"), answer)

    async def open(self, request: Request) -> Response:
        async def answer(form: Form) -> Picture:
            model = self._service.models.named(form.fields.get("model"))
            picture, _ = await self._service.open(form.data, form.name, model, _names(request))
            return picture

        picture = await self._with_form(request, ("model",), answer)
        name = self._service.store.add(picture)
        keys = ("width", "height", "preview_width", "preview_height")
        sizes = dict(zip(keys, (*picture.size, *picture.preview_size), strict=True))
        values = {"id": name, "name": picture.name, **sizes, "notes": picture.notes}
        return JSONResponse(values, 201, {"Location": f"/api/pictures/{name}"})

    async def forget(self, request: Request) -> Response:
        self._service.store.remove(request.path_params["id"])
        return Response(status_code=204)

    async def grey(self, request: Request) -> Response:
        picture = self._picture(request)
        return await self._image(
            request, JPEG, picture, lambda colorizer: picture.grey(colorizer), Look()
        )

    async def preview(self, request: Request) -> Response:
        picture, look = self._picture(request), await self._look(request)
        return await self._image(request, JPEG, picture, lambda c: picture.coloured(look, c), look)

    async def candidates(self, request: Request) -> Response:
        picture, values = self._picture(request), await read_json(request, self._service.limits)
        count = looks.integer(values.pop("count", 4), "count", 1, looks.MAX_CANDIDATES)
        look = read_look(values)
        self._service.check(look, picture.model, distribution=True)
        found, _ = await self._run(
            request, picture, look, lambda c: picture.candidates(look, c, count)
        )
        urls = [f"data:{JPEG};base64,{base64.b64encode(jpeg).decode()}" for jpeg in found]
        return JSONResponse({"previews": urls})

    async def uncertainty(self, request: Request) -> Response:
        picture, look = self._picture(request), await self._look(request)
        self._service.check(look, picture.model, distribution=True)
        return await self._image(
            request, PNG, picture, lambda c: picture.uncertainty(look, c), look
        )

    async def suggest_in(self, request: Request) -> Response:
        picture = self._picture(request)
        x, y, hints, count = _point(await read_json(request, self._service.limits))
        look = Look(hints=hints)
        self._service.check(look, picture.model, distribution=True)
        width, height = picture.size
        if not (x < width and y < height):
            raise InputError(f"({x:g}, {y:g}) is outside the picture of {width}×{height} pixels")
        found, _ = await self._run(
            request, picture, look, lambda c: picture.suggest(x, y, hints, c, count)
        )
        return _colors(found)

    async def file(self, request: Request) -> Response:
        picture, look = self._picture(request), await self._look(request)
        self._service.check(look, picture.model)
        names = (*_names(request), request.path_params["id"])
        file, _ = await _while_connected(
            request,
            self._service.file(picture.data, picture.name, look, picture.model, names),
        )
        return _file(file)

    async def zip(self, request: Request) -> Response:
        values = await read_json(request, self._service.limits)
        chosen = values.get("pictures")
        if values.keys() != {"pictures"} or not isinstance(chosen, list) or not chosen:
            raise InputError('send {"pictures": [{"id": …, "look": {…}}, …]}')
        for one in chosen:
            if not isinstance(one, dict) or not isinstance(one.get("id"), str):
                raise InputError(f'one of "pictures" has no "id": {one!r:.60}')
        if gone := self._service.store.missing([one["id"] for one in chosen]):
            return JSONResponse({"error": GONE, "gone": gone}, 404)
        wanted = []
        for one in chosen:
            picture, look = self._service.store.get(one["id"]), read_look(one.get("look", {}))
            self._service.check(look, picture.model)
            look.fits(picture.size)
            wanted.append((one["id"], picture, look))
        self._service.queue.check_room()
        headers = {"Content-Disposition": 'attachment; filename="coloured.zip"'}
        files = (
            (
                picture.name,
                self._service.file(
                    picture.data, picture.name, look, picture.model, (name,), admitted=True
                ),
            )
            for name, picture, look in wanted
        )
        return StreamingResponse(zipped(files), 200, headers, "application/zip")

    async def queue(self, request: Request) -> Response:
        names = request.query_params.get("ids", "").split(",")[:256]

        async def events() -> AsyncIterator[str]:
            async for state in self._service.queue.states(names):
                yield f"data: {json.dumps(state)}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    def _picture(self, request: Request) -> Picture:
        return self._service.store.get(request.path_params["id"])

    async def _look(self, request: Request) -> Look:
        return read_look(await read_json(request, self._service.limits))

    async def _with_form(
        self, request: Request, fields: tuple[str, ...], answer: Callable[[Form], Awaitable[T]]
    ) -> T:
        """Answers a form with a photograph, whose bytes count as long as it is worked on."""
        try:
            self._service.queue.check_room()
        except Refusal:
            await discard(request)
            raise
        with self._service.store.arriving() as count:
            form = await read_form(request, self._service.limits, fields, count)
            return await _while_connected(request, answer(form))

    async def _run(
        self, request: Request, picture: Picture, look: Look, function: Callable[[Any], T]
    ) -> tuple[T, float]:
        self._service.check(look, picture.model)
        look.fits(picture.size)
        names = (*_names(request), request.path_params["id"])
        return await _while_connected(
            request, self._service.see(picture, look.temperature, function, names)
        )

    async def _image(
        self,
        request: Request,
        kind: str,
        picture: Picture,
        function: Callable[[Any], bytes],
        look: Look,
    ) -> Response:
        data, seconds = await self._run(request, picture, look, function)
        return Response(data, 200, {"X-Elapsed-Ms": f"{1000 * seconds:.0f}"}, kind)


async def _while_connected(request: Request, work: Awaitable[T]) -> T:
    """What work returns. If the client leaves, the work is cancelled: raises ClientDisconnect."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(until_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


def _names(request: Request) -> tuple[str, ...]:
    """What the client calls this request, if anything, to find its place in the queue."""
    name = request.query_params.get("ticket", "")
    return (name,) if _TICKET.fullmatch(name) else ()


def _parsed(form: Form, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: parse_json(form.fields[key]) for key in keys if form.fields.get(key)}


def _form_look(form: Form) -> Look:
    """Empty fields count as missing ones."""
    return read_look(_parsed(form, looks.KEYS))


def _point(values: dict[str, Any]) -> tuple[float, float, Any, int]:
    """x, y, hints, count. Raises InputError."""
    if unknown := values.keys() - set(_POINT):
        raise InputError(f"a place has no {min(unknown)!r:.60}; it has {', '.join(_POINT)}")
    x, y = (looks.number(values.get(key), key, 0, 1e9) for key in ("x", "y"))
    count = looks.integer(values.get("count", 5), "count", 1, looks.MAX_COLORS)
    return x, y, read_points(values.get("hints")), count


def _colors(found: list[tuple[str, float]]) -> Response:
    colors = [{"color": color, "probability": round(share, 4)} for color, share in found]
    return JSONResponse({"colors": colors})


def _file(file: File) -> Response:
    ascii_name = file.name.encode("ascii", "replace").decode().replace("?", "_")
    ascii_name = ascii_name.replace("\\", "_").replace('"', "_")
    disposition = f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(file.name)}"
    headers = {"Content-Disposition": disposition}
    if file.notes:
        headers["X-Notes"] = json.dumps(file.notes)
    return Response(file.data, 200, headers, file.media_type)


def _asset(
    assets: Mapping[str, bytes], fixed: str | None = None
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        name = fixed or request.path_params["name"]
        if name not in assets:
            raise HTTPException(404, f"there is no file {name!r:.60}")
        kind = _TYPES[name[name.rfind(".") :]]
        return Response(assets[name], 200, {"Cache-Control": "no-cache"}, kind)

    return answer


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": " ".join(message.split())}, status, headers)
