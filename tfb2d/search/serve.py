"""Serves a search page and its JSON API.

  tfb2d search serve --index=runs/shop/index
  tfb2d search serve --index=runs/shop/index --ranker=saved_models/shop --teacher=runs/shop/teachers/bert --port=8080

The page shows what BM25, the twin, and the two stages (retrieve, then rank by the DNN student) answer, side by side. The
API is described at /api and /openapi.json. Twin and ranker are folders of exported models, or HOST:PORT/MODEL of a running
server. What moved a score is computed from the student's weights, which are looked for as `tfb2d explain` looks for them;
without them each word is left out in turn. The teacher answers only where somebody asks for its score.

Whoever reaches the port may search: --host=0.0.0.0 opens it to the network. Ctrl-C or SIGTERM ends it once the requests in
work are answered.
"""

import contextlib
import socket
import threading
import webbrowser
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from tfb2d.cli.arguments import Parser
from tfb2d.errors import UserError
from tfb2d.search.flags import open_searcher, searched_flags

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

    from tfb2d.search.api import Api

EXTRA = "search"
MAX_ADDRESS = 2**20  # bytes of a request's address and headers: twenty titles are long
GRACE = 10  # seconds that requests in work may take once the server ends


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    what = searched_flags(parser)
    what.flag("student", "The ranker's student folder, where explanations cannot find it.", "", metavar="DIR")
    what.flag("teacher", "A saved teacher's folder, for its scores on demand.", "", metavar="DIR")
    how = parser.group("server")
    how.flag("host", "The address to listen at.", "127.0.0.1", metavar="ADDRESS")
    how.integer("port", "The port; 0 takes a free one.", 8080, 0, most=65535)
    how.integer("threads", "Searches at once.", 4, 1)
    how.integer("waiting", "Searches that may wait for a thread; further ones are answered 503.", 32, 0)
    how.switch("open", "Open the page in the browser.")


def run(options: Namespace) -> None:
    """Runs the command until it is ended."""
    import uvicorn

    from tfb2d.search.api import application

    with contextlib.ExitStack() as opened:
        # First: opening an index takes seconds, and whether the port is taken is known at once.
        listener = opened.enter_context(listen(options.host, options.port))
        api = open_api(options)
        opened.callback(api.close)
        host, port = listener.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        print(f"{address} searches {api.searcher.describe()['titles']:,} titles; Ctrl-C ends it", flush=True)
        warming = threading.Thread(target=api.warm, name="warm")
        warming.start()
        opened.callback(warming.join)  # a process that ends amid TensorFlow's work would abort
        if options.open:
            webbrowser.open(address)
        uvicorn.Server(settings_of(application(api))).run([listener])


def settings_of(served: "Starlette") -> "uvicorn.Config":
    """Returns uvicorn's settings for the application."""
    import uvicorn

    return uvicorn.Config(
        served,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # addresses hold what people search for
        server_header=False,
        h11_max_incomplete_event_size=MAX_ADDRESS,
        timeout_graceful_shutdown=GRACE,
    )


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens; raises UserError where the port is taken or the address is not this machine's."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port}: {error.strerror or error}; --port=0 takes a free port"
        ) from error


def open_api(options: Namespace) -> "Api":
    """Opens index, models and teacher; raises UserError where one of them cannot be used."""
    from tfb2d.search.api import Api
    from tfb2d.search.explaining import Explainer, TeacherOnDemand

    teacher = TeacherOnDemand(options.teacher) if options.teacher else None
    searcher = open_searcher(options)
    explainer = None
    if options.ranker:
        folder = options.ranker if Path(options.ranker).exists() else ""
        explainer = Explainer(searcher.rank, folder, options.student)
    return Api(searcher, explainer, teacher, options.threads, options.waiting)
