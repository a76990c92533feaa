"""The HTML pages: the search page, and the API's description for people. Both need nothing from elsewhere."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tfb2d.report.page import render
from tfb2d.search.openapi import document

FOLDER = Path(__file__).parent
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 20' fill='none' stroke='%231d5fd1' "
    "stroke-width='3'%3E%3Ccircle cx='8.5' cy='8.5' r='6'/%3E%3Cpath d='m13 13 5 5'/%3E%3C/svg%3E"
)
KINDS = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
    "object": "object",
}
EXAMPLES = {
    "/api/search": "/api/search?q=usb+c+cable&k=3",
    "/api/describe": "/api/describe",
    "/api/explain": "/api/explain?q=usb+c+cable&title=USB-C+cable+2+m",
    "/api/teacher": "/api/teacher?q=usb+c+cable&title=USB-C+cable+2+m",
    "/api/health": "/api/health",
}


def page_routes() -> list[Route]:
    """Returns the pages' paths; each page is rendered once, here."""
    pages = {
        "/": render(FOLDER / "page.html", icon=ICON),
        "/api": render(FOLDER / "api.html", icon=ICON, **reference(document())),
    }
    return [_route(path, page) for path, page in pages.items()]


def reference(described: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the API's page shows of an OpenAPI document: its `operations` and `schemas`."""
    operations = []
    for path, methods in described["paths"].items():
        operation = methods["get"]
        responses = operation["responses"]
        operations.append(
            {
                "path": path,
                "example": EXAMPLES[path],
                "summary": operation["summary"],
                "parameters": [(each["name"], _note(each), _about(each["schema"])) for each in operation["parameters"]],
                "answer": _kind(responses["200"]["content"]["application/json"]["schema"]),
                "errors": [(status, each["description"]) for status, each in responses.items() if status != "200"],
            }
        )
    schemas = []
    for name, schema in described["components"]["schemas"].items():
        rows = [(key, _kind(value), _about(value)) for key, value in _flat(schema["properties"])]
        schemas.append({"name": name, "about": schema["description"], "rows": rows})
    return {"operations": operations, "schemas": schemas}


def _flat(properties: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields properties and those of the objects in them, as "stages.*.rank"."""
    for name, schema in properties.items():
        yield before + name, schema
        inner, mark = schema, ""
        while inner.get("items") or inner.get("additionalProperties"):
            mark += "[]." if "items" in inner else ".*."
            inner = inner.get("items") or inner["additionalProperties"]
        if "properties" in inner:
            yield from _flat(inner["properties"], before + name + (mark or "."))


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "items" in schema:
        return f"list of {_kind(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"{_kind(schema['additionalProperties'])} by name"
    return KINDS[schema["type"]]


def _about(schema: Mapping[str, Any]) -> str:
    return schema.get("description", "")


def _note(parameter: Mapping[str, Any]) -> str:
    schema = parameter["schema"]
    words = ["required"] if parameter.get("required") else []
    if "maximum" in schema:
        words.append(f"{schema['minimum']} to {schema['maximum']:,}")
    if "maxLength" in schema:
        words.append(f"up to {schema['maxLength']:,} characters")
    if "default" in schema:
        words.append(f"without it {str(schema['default']).lower()}")
    return ", ".join(words)


def _route(path: str, page: str) -> Route:
    scripts = [
        f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    ] or ["'none'"]
    policy = {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "connect-src": "'self'",
        "script-src": " ".join(scripts),  # the page's own script and no other
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",  # an address holds what somebody searched for
    }

    async def answer(request: Request) -> Response:
        return HTMLResponse(page, headers=headers)

    return Route(path, answer)
