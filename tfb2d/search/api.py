"""The web application of a search: one HTML page, and a JSON API under /api that `openapi.py` describes.

An error is JSON with a message that says what to do, and has the status

* 400: a parameter that is missing, unknown or out of its range;
* 404: no such path, or something that this server was started without (a ranker, a teacher);
* 503: more requests than it works on at once, or a model server or an index that does not answer.

Searches, explanations and the teacher have threads of their own (`Workers`), so that a slow teacher delays no search.
"""

import logging
import time
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tfb2d.errors import UserError
from tfb2d.search import parameters as read
from tfb2d.search.openapi import MAX_K, MAX_QUERY, MAX_RETRIEVE, MAX_TITLE, MAX_TITLES, document
from tfb2d.search.pages import page_routes
from tfb2d.search.parameters import ApiError
from tfb2d.search.workers import FullError, Workers

if TYPE_CHECKING:
    from tfb2d.search.explaining import Explainer
    from tfb2d.search.searcher import Answer, Searcher
    from tfb2d.search.teacher import TeacherOnDemand

NO_TEACHER = "There is no teacher here. Start the server with --teacher=FOLDER, a saved teacher, to see its scores."
NO_RANKER = "No student ranks here. Start the server with --ranker=FOLDER, an exported student, to see what moves its scores."
FULL = "The server has as many requests as it works on at once. Ask again in a second."
BROKEN = "The server met a fault of its own; its log tells which."
LIMITS = {"query": MAX_QUERY, "k": MAX_K, "retrieve": MAX_RETRIEVE, "titles": MAX_TITLES, "title": MAX_TITLE}
_LOG = logging.getLogger("tfb2d.search")


class Api:
    """Answers the requests to /api.

    Args:
      searcher: an open index.
      explainer: of the ranker's scores; None where nothing ranks.
      teacher: None without one.
      threads: searches at once. Explanations and the teacher have a thread each.
      waiting: searches that may wait for a thread.
    """

    def __init__(
        self,
        searcher: "Searcher",
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
        given = read.parameters(request, "q", "k", "retrieve", "legs", "rank", "compare")
        query = read.query_of(given)
        k = read.integer(given, "k", 10, MAX_K)
        retrieve = max(k, read.integer(given, "retrieve", 100, MAX_RETRIEVE))
        legs = read.choices(given, "legs", self.searcher.legs)
        rank, compare = read.boolean(given, "rank", True), read.boolean(given, "compare", False)

        def work() -> dict[str, Any]:
            answer = answer_json(self.searcher.search(query, k=k, retrieve=retrieve, legs=legs, rank=rank))
            if compare:  # each leg by itself, so that its time is what it takes alone
                answer["columns"] = {
                    leg: answer_json(self.searcher.search(query, k=k, retrieve=retrieve, legs=(leg,), rank=False))
                    for leg in self.searcher.legs
                }
            return answer

        return JSONResponse(await self._searches.run(work))

    async def describe(self, request: Request) -> Response:
        """Answers /api/describe."""
        read.parameters(request)
        return JSONResponse(await self._searches.run(self.description))

    def description(self) -> dict[str, Any]:
        """Returns what is searched, and what this server can do."""
        raise NotImplementedError

    async def explain(self, request: Request) -> Response:
        """Answers /api/explain."""
        query, titles = read.query_of(read.parameters(request, "q", "title")), read.titles_of(request)
        if self.explainer is None:
            raise ApiError(404, NO_RANKER)
        began = time.perf_counter()
        moved = await self._explanations.run(self.explainer.explain, query, titles)
        explanations = [each.to_json() for each in moved]
        return JSONResponse({"query": query, "explanations": explanations, "milliseconds": _since(began)})

    async def ask_teacher(self, request: Request) -> Response:
        """Answers /api/teacher."""
        query, titles = read.query_of(read.parameters(request, "q", "title")), read.titles_of(request)
        if self.teacher is None:
            raise ApiError(404, NO_TEACHER)
        began = time.perf_counter()
        scores = await self._teachers.run(self.teacher.score, query, titles)
        return JSONResponse({"query": query, "scores": scores, "milliseconds": _since(began)})

    async def health(self, request: Request) -> Response:
        """Answers /api/health, at once and however many searches wait."""
        read.parameters(request)
        return JSONResponse({"status": "ok", "titles": len(self.searcher)})

    def close(self) -> None:
        """Drops the requests that wait."""
        for workers in (self._searches, self._explanations, self._teachers):
            workers.close()


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


def answer_json(answer: "Answer") -> dict[str, Any]:
    """Returns an answer as JSON values."""
    return {
        "query": answer.query,
        "hits": [
            {
                "id": hit.id,
                "title": hit.title,
                "score": hit.score,
                "stages": {name: {"rank": rank, "score": score} for name, (rank, score) in hit.stages.items()},
            }
            for hit in answer.hits
        ],
        "milliseconds": dict(answer.milliseconds),
        "notes": list(answer.notes),
    }


def _since(began: float) -> float:
    return 1e3 * (time.perf_counter() - began)


def _no_path(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return f"there is nothing at {request.url.path}; /api lists what there is"
    return f"{request.method} {request.url.path}: {error.detail}"


def _error(status: int, message: str, headers: Any = None) -> Response:
    return JSONResponse({"error": message}, status, headers)


async def _broken(request: Request, error: Exception) -> Response:
    _LOG.error("%s: %s: %s", request.url.path, type(error).__name__, error)
    return _error(500, BROKEN)
