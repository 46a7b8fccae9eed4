"""The API's description, against the routes and against what they answer."""

import re

import pytest
import served
from starlette.routing import Route

from colorjax.serve.app import build_app
from colorjax.serve.looks import KEYS, read_look
from colorjax.serve.openapi import description


def test_every_route_is_described_and_nothing_else():
    routes = {
        (route.path, method.lower())
        for route in build_app(None, served.ASSETS).routes
        if isinstance(route, Route) and route.path.startswith("/api/")
        for method in route.methods - {"HEAD"}
    }
    paths = description()["paths"]
    assert routes == {(path, method) for path, methods in paths.items() for method in methods}


CALLS = [
    (path, method, call)
    for path, methods in description()["paths"].items()
    for method, call in methods.items()
]


@pytest.mark.parametrize(("path", "method", "call"), CALLS)
def test_a_call_is_whole(path, method, call):
    """As OpenAPI 3.1 demands: parameters of the path, an answer, required properties that exist."""
    named = {one["name"] for one in call.get("parameters", ()) if one["in"] == "path"}
    assert named == set(re.findall(r"{(\w+)}", path))
    assert any(status.startswith("2") for status in call["responses"])
    assert all(answer["description"] for answer in call["responses"].values())
    assert ("requestBody" in call) == (method == "post")
    for content in call.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        assert set(schema.get("required", ())) <= schema["properties"].keys()


def test_references_lead_to_something():
    document = description()
    for name in set(re.findall(r"'#/([^']*)'", str(document))):
        found = document
        for part in name.split("/"):
            found = found[part]
        assert found


def test_a_look_has_the_properties_that_are_read():
    body = description()["paths"]["/api/pictures/{id}/preview"]["post"]["requestBody"]
    properties = body["content"]["application/json"]["schema"]["properties"]
    assert set(properties) == set(KEYS)
    read_look({key: value["default"] for key, value in properties.items() if "default" in value})
