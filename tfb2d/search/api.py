"""The web application of a search: one HTML page, and a JSON API under /api that `openapi.py` describes.

An error is JSON with a message that says what to do, and has the status

* 400: a parameter that is missing, unknown or out of its range;
* 404: no such path, or something that this server was started without (a ranker, a teacher);
* 503: more requests than it works on at once, or a model server or an index that does not answer.

Searches, explanations and the teacher have threads of their own (`Workers`), so that a slow teacher delays no search.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tfb2d import __version__
from tfb2d.errors import UserError
from tfb2d.search.answer import SearchError
from tfb2d.search.openapi import MAX_K, MAX_QUERY, MAX_RETRIEVE, MAX_TITLE, MAX_TITLES, PAIR, SEARCH, document
from tfb2d.search.pages import page_routes
from tfb2d.search.parameters import ApiError, read
from tfb2d.search.searcher import LEGS, Searcher
from tfb2d.search.workers import FullError, Workers

if TYPE_CHECKING:
    from tfb2d.search.explaining import Explainer, TeacherOnDemand

NO_TEACHER = "There is no teacher here. Start the server with --teacher=FOLDER, a saved teacher, to see its scores."
NO_RANKER = (
    "No student ranks here. Start the server with --ranker=FOLDER, an exported student, to see what moves its scores."
)
FULL = "The server has as many requests as it works on at once. Ask again in a second."
BROKEN = "The server met a fault of its own; its log tells which."
LIMITS = {"query": MAX_QUERY, "k": MAX_K, "retrieve": MAX_RETRIEVE, "titles": MAX_TITLES, "title": MAX_TITLE}
SAMPLE_WORDS = 5  # of a title, as a query to try
_LOG = logging.getLogger("tfb2d.search")


class Api:
    """Answers the requests to /api.

    `explainer` and `teacher` are None where nothing ranks, or where there is no teacher. `threads` is how many searches
    run at once, `waiting` how many may wait. Explanations and the teacher have a thread each.
    """

    def __init__(
        self,
        searcher: Searcher,
        explainer: "Explainer | None" = None,
        teacher: "TeacherOnDemand | None" = None,
        threads: int = 4,
        waiting: int = 32,
    ) -> None:
        self.searcher, self.explainer, self.teacher = searcher, explainer, teacher
        self._searches = Workers("search", threads, waiting)
        self._explanations = Workers("explain", 1, 8)
        self._teachers = Workers("teacher", 1, 8)

    def routes(self) -> list[Route]:
        """Returns the API's paths."""
        return [
            Route("/api/search", self.search),
            Route("/api/describe", self.describe),
            Route("/api/explain", self.explain),
            Route("/api/teacher", self.ask_teacher),
            Route("/api/health", self.health),
        ]

    async def search(self, request: Request) -> Response:
        """Answers /api/search."""
        given = read(request, SEARCH)
        given["legs"] = tuple(dict.fromkeys(leg.strip() for leg in given["legs"].split(",")))
        if unknown := [leg for leg in given["legs"] if leg not in LEGS]:
            raise ApiError(400, f"legs: there is no {unknown[0][:40]!r} here; bm25 or twin, or both with a comma")
        search: Callable[..., dict[str, Any]] = self._compare if given.pop("compare") else self._search
        return JSONResponse(await self._searches.run(search, given.pop("q"), **given))

    def _search(self, query: str, **settings: Any) -> dict[str, Any]:
        return self.searcher.search(query, **settings).to_json()

    def _compare(self, query: str, *, legs: Sequence[str], **settings: Any) -> dict[str, Any]:
        """Returns an answer, and that of each leg by itself, timed as it would be alone."""
        notes = []
        try:
            answer = self._search(query, legs=legs, **settings)
        except SearchError as error:  # a twin that does not answer: BM25 may
            answer = self._search(query, legs=LEGS, **settings)
            notes = [] if str(error) in answer["notes"] else [str(error)]
        columns = {}
        for leg in LEGS:
            try:
                columns[leg] = self._search(query, **{**settings, "legs": (leg,), "rank": False})
            except SearchError as error:
                columns[leg] = {"query": query, "hits": [], "milliseconds": {}, "notes": [str(error)]}
        return {**answer, "notes": [*answer["notes"], *notes], "columns": columns}

    async def describe(self, request: Request) -> Response:
        """Answers /api/describe."""
        read(request)
        return JSONResponse(await self._searches.run(self.description))

    def description(self) -> dict[str, Any]:
        """Returns what is searched, and what this server can do."""
        described = self.searcher.describe()
        models = {name: _name(described[name]) for name in ("twin", "ranker") if described[name]}
        if self.teacher is not None:
            models["teacher"] = self.teacher.folder.name
        return {
            "version": __version__,
            "titles": described["titles"],
            "legs": list(LEGS),
            "models": models,
            "index": described["backend"],
            "samples": list(dict.fromkeys(" ".join(title.split()[:SAMPLE_WORDS]) for title in described["samples"])),
            "ranks": described["ranker"] is not None,
            "explains": self.explainer is not None,
            "teacher": self.teacher is not None,
            "limits": LIMITS,
            "notes": list(described["notes"]),
        }

    async def explain(self, request: Request) -> Response:
        """Answers /api/explain."""
        given = read(request, PAIR)
        if self.explainer is None:
            raise ApiError(404, NO_RANKER)
        began = time.perf_counter()
        moved = await self._explanations.run(self.explainer.explain, given["q"], given["title"])
        return _timed(began, query=given["q"], explanations=[asdict(each) for each in moved])

    async def ask_teacher(self, request: Request) -> Response:
        """Answers /api/teacher."""
        given = read(request, PAIR)
        if self.teacher is None:
            raise ApiError(404, NO_TEACHER)
        began = time.perf_counter()
        scores = await self._teachers.run(self.teacher.score, given["q"], given["title"])
        return _timed(began, query=given["q"], scores=scores)

    async def health(self, request: Request) -> Response:
        """Answers /api/health, however many searches wait."""
        read(request)
        return JSONResponse({"status": "ok"})

    def warm(self) -> None:
        """Explains a title, which loads what explaining needs; the teacher is loaded where it is asked."""
        if self.explainer is not None:
            for title in self.searcher.describe()["samples"][:1]:
                with suppress(UserError):  # what goes wrong is the first request's to tell
                    self.explainer.explain(title[:MAX_QUERY], [title])

    def close(self) -> None:
        """Drops the requests that wait, and closes the index."""
        for workers in (self._searches, self._explanations, self._teachers):
            workers.close()
        self.searcher.close()


def application(api: Api) -> Starlette:
    """Returns the web application: the pages and the API."""
    handlers: dict[Any, Any] = {
        ApiError: lambda _, error: _error(error.status, error.message),
        HTTPException: lambda request, error: _error(error.status_code, _no_path(request, error), error.headers),
        FullError: lambda _, error: _error(503, FULL, {"Retry-After": "1"}),
        UserError: lambda _, error: _error(503, str(error), {"Retry-After": "5"}),  # what was asked is right by now
        Exception: _broken,
    }
    routes = [*page_routes(), *api.routes(), Route("/openapi.json", _openapi)]
    return Starlette(routes=routes, exception_handlers=handlers)


async def _openapi(request: Request) -> Response:
    return JSONResponse(document())


def _name(model: Mapping[str, Any]) -> str:
    name = str(model["model"]).rpartition("/")[2]  # not where it lies: the page may be open to others
    return f"{name}, version {model['version']}" if model["version"] else name


def _timed(began: float, **answer: Any) -> Response:
    return JSONResponse({**answer, "milliseconds": 1e3 * (time.perf_counter() - began)})


def _no_path(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return f"there is nothing at {request.url.path}; /api lists what there is"
    return f"{request.method} {request.url.path}: {error.detail}"


def _error(status: int, message: str, headers: Any = None) -> Response:
    return JSONResponse({"error": message}, status, headers)


async def _broken(request: Request, error: Exception) -> Response:
    _LOG.error("%s: %s: %s", request.url.path, type(error).__name__, error)
    return _error(500, BROKEN)
