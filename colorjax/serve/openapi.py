"""The API's description, OpenAPI 3.1, as data."""

from typing import Any

from colorjax import __version__
from colorjax.colorize.hints import SHARE
from colorjax.serve.looks import MAX_CANDIDATES, MAX_COLORS, MAX_SATURATION
from colorjax.terminal.arguments import TEMPERATURE_RULE

_JSON, _FORM = "application/json", "multipart/form-data"

_HINTS = {
    "type": "array",
    "description": "Colours of pixels of the upright photograph: column, row, sRGB. Each holds for "
    f"a square around it, {SHARE:.1%} of the view that the model sees.",
    "items": {
        "type": "array",
        "prefixItems": [
            {"type": "number", "minimum": 0},
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": "^#[0-9A-Fa-f]{6}$"},
        ],
        "minItems": 3,
        "maxItems": 3,
    },
}
_LOOK: dict[str, Any] = {
    "saturation": {"type": "number", "minimum": 0, "maximum": MAX_SATURATION, "default": 1},
    "temperature": {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": 10,
        "description": f"{TEMPERATURE_RULE}; null for the model's own.",
    },
    "hints": _HINTS,
    "candidate": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_CANDIDATES - 1,
        "default": 0,
        "description": "0: the answer itself; k: the k-th candidate after it.",
    },
}
_POINT: dict[str, Any] = {
    "x": {"type": "number", "minimum": 0, "description": "Column of the upright photograph."},
    "y": {"type": "number", "minimum": 0, "description": "Row."},
    "count": {"type": "integer", "minimum": 1, "maximum": MAX_COLORS, "default": 5},
    "hints": _HINTS,
}
_MODEL = {"model": {"type": "string", "description": "A name of /api/models."}}
_FILE = {"file": {"type": "string", "contentMediaType": "application/octet-stream"}}
_COUNT = {"count": {"type": "integer", "minimum": 1, "maximum": MAX_CANDIDATES, "default": 4}}
_COLORS = {
    "colors": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"color": {"type": "string"}, "probability": {"type": "number"}},
        },
    }
}
_PREVIEWS = {"previews": {"type": "array", "items": {"type": "string"}}}
_PICTURE = {
    "id": {"type": "string"},
    "name": {"type": "string"},
    **{key: {"type": "integer"} for key in ("width", "height", "preview_width", "preview_height")},
    "notes": {"type": "array", "items": {"type": "string"}},
}
_MODELS = {
    "models": {"type": "array", "items": {"type": "object"}},
    "default": {"type": "string"},
    "limits": {"type": "object"},
}
_CHOSEN = {
    "pictures": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string"},
                "look": {"type": "object", "properties": _LOOK},
            },
        },
    }
}


def description() -> dict[str, Any]:
    """The document of /api/openapi.json."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "colorjax",
            "version": __version__,
            "description": "Colours grey photographs. A request with ?ticket=NAME is found under "
            "this name in /api/queue.",
        },
        "paths": _paths(),
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                }
            }
        },
    }


def _paths() -> dict[str, Any]:
    picture = "/api/pictures/{id}"
    form = {**_FILE, **_LOOK, **_MODEL}
    return {
        "/api/models": {"get": _call("The models, and the limits", _json(_MODELS))},
        "/api/openapi.json": {"get": _call("This description", _json({}))},
        "/api/colorize": {
            "post": _call(
                "Colours a photograph: the bytes that `colorjax colorize` writes",
                _file(),
                _body(form, _FORM, "file"),
            )
        },
        "/api/suggest": {
            "post": _call(
                "The likeliest colours of a pixel",
                _json(_COLORS),
                _body({**_FILE, **_POINT, **_MODEL}, _FORM, "file", "x", "y"),
            )
        },
        "/api/pictures": {
            "post": _call(
                "Keeps a photograph to look at, until it was not used for some time",
                _json(_PICTURE),
                _body({**_FILE, **_MODEL}, _FORM, "file"),
                status="201",
            )
        },
        picture: {"delete": _call("Forgets it", {}, status="204", id=True)},
        f"{picture}/grey": {"get": _call("Its lightness", _file("image/jpeg"), id=True)},
        f"{picture}/preview": {
            "post": _call("How it looks", _file("image/jpeg"), _body(_LOOK), id=True)
        },
        f"{picture}/candidates": {
            "post": _call(
                "The answer and the candidates after it, as data URLs",
                _json(_PREVIEWS),
                _body({**_COUNT, **_without(_LOOK, "candidate")}),
                id=True,
            )
        },
        f"{picture}/uncertainty": {
            "post": _call(
                "How unsure the model is, to lay over it", _file("image/png"), _body(_LOOK), id=True
            )
        },
        f"{picture}/suggest": {
            "post": _call(
                "The likeliest colours of a pixel",
                _json(_COLORS),
                _body(_POINT, _JSON, "x", "y"),
                id=True,
            )
        },
        f"{picture}/file": {
            "post": _call("The coloured photograph in full size", _file(), _body(_LOOK), id=True)
        },
        "/api/zip": {
            "post": _call(
                "Coloured photographs as a zip",
                _file("application/zip"),
                _body(_CHOSEN, _JSON, "pictures"),
            )
        },
        "/api/queue": {
            "get": _call(
                "Events: how many requests wait and run, and the places of those that are named in "
                "?ids=a,b, pictures or tickets",
                {"text/event-stream": {}},
            )
        },
    }


def _call(
    summary: str,
    content: dict[str, Any],
    body: dict[str, Any] | None = None,
    *,
    status: str = "200",
    id: bool = False,
) -> dict[str, Any]:
    done = {"description": "Done", **({"content": content} if content else {})}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    failed = {
        "description": "An error; 503 with Retry-After if too many requests wait",
        "content": error,
    }
    found: dict[str, Any] = {"summary": summary, "responses": {status: done, "default": failed}}
    if body is not None:
        found["requestBody"] = body
    if id:
        schema = {"type": "string"}
        found["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": schema}]
    return found


def _body(properties: dict[str, Any], kind: str = _JSON, *required: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    content: dict[str, Any] = {"schema": schema}
    if kind == _FORM:  # values that are no text are JSON
        content["encoding"] = {
            key: {"contentType": _JSON} for key in properties if key not in ("file", "model")
        }
    return {"required": bool(required), "content": {kind: content}}


def _json(properties: dict[str, Any]) -> dict[str, Any]:
    return {_JSON: {"schema": {"type": "object", "properties": properties}}}


def _file(kind: str = "*/*") -> dict[str, Any]:
    return {kind: {"schema": {"type": "string", "contentMediaType": kind}}}


def _without(properties: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name != key}
