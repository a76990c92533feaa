"""Describes the API in OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0): what it takes and what it answers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from tfb2d import __version__

MAX_QUERY = 1000  # characters
MAX_K, MAX_RETRIEVE = 100, 1000  # hits of an answer, candidates of a leg
MAX_TITLES, MAX_TITLE = 20, 20_000  # of a request to /api/explain or /api/teacher, and the characters of each

Schema = dict[str, Any]


def schema(kind: str, about: str, **more: Any) -> Schema:
    """Returns the schema of a value of a JSON type."""
    return {"type": kind, "description": about, **more}


text, number, whole, switch = (partial(schema, kind) for kind in ("string", "number", "integer", "boolean"))


def several(items: Schema, about: str, **more: Any) -> Schema:
    """Returns the schema of a list."""
    return schema("array", about, items=items, **more)


def table(values: Schema, about: str) -> Schema:
    """Returns the schema of an object with any keys."""
    return schema("object", about, additionalProperties=values)


def record(about: str, /, *, optional: Sequence[str] = (), **properties: Schema) -> Schema:
    """Returns the schema of an object with these properties, all of which are there, save the optional ones."""
    required = [name for name in properties if name not in optional]
    return schema("object", about, required=required, properties=properties, additionalProperties=False)


def named(name: str) -> Schema:
    """Returns a reference to a schema of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


SPAN = record(
    "A piece of a text.",
    text=text("The piece; joined, the pieces are the text."),
    value=number("What it adds to the logit; 0 between words."),
)
ANSWER: dict[str, Any] = {
    "query": text("The query that was answered."),
    "hits": several(named("Hit"), "The best titles, the best first."),
    "milliseconds": table(number("Milliseconds."), "What each stage took: embed, twin, bm25, fuse, rank, total."),
    "notes": several(text("A sentence."), "What went otherwise than asked, such as a ranker that does not answer."),
}
SCHEMAS: dict[str, Schema] = {
    "Hit": record(
        "A title of the catalogue.",
        id=text("The title's id in the catalogue."),
        title=text("The title."),
        score=number("The last stage's score; titles are ordered by it."),
        stages=table(
            record("A stage's view of the title.", rank=whole("Its rank, from 1."), score=number("Its own score.")),
            "Where each stage that saw the title put it.",
        ),
    ),
    "Answer": record("One search.", **ANSWER),
    "SearchAnswer": record(
        "The search that was asked for; with `compare` also what each leg alone answers.",
        optional=("columns",),
        **ANSWER,
        columns=table(named("Answer"), "The answer of each leg by itself, by its name."),
    ),
    "Description": record(
        "What is searched, and what this server can do.",
        version=text("The version of tfb2d."),
        titles=whole("Titles in the catalogue."),
        legs=several(text("A leg."), "The ways to retrieve that this index has: bm25, twin."),
        models=table(text("A model."), "Names of the models, by what they do: twin, ranker, teacher."),
        index=text("How the twin's vectors are searched: exact, hnsw, ivfpq, sq or milvus."),
        samples=several(text("A query."), "Queries to try."),
        ranks=switch("Whether a student ranks what was retrieved."),
        explains=switch("Whether /api/explain answers."),
        teacher=switch("Whether /api/teacher answers."),
        notes=several(text("A sentence."), "Advice about the index."),
        limits=record(
            "What a request may ask for.",
            query=whole("Characters of a query."),
            k=whole("Hits of an answer."),
            retrieve=whole("Candidates of a leg."),
            titles=whole("Titles of a request to /api/explain or /api/teacher."),
            title=whole("Characters of each."),
        ),
    ),
    "Explanations": record(
        "What moved the ranker's scores.",
        query=text("The query."),
        explanations=several(named("Explanation"), "One a title, in the request's order."),
        milliseconds=number("What all of them took."),
    ),
    "Explanation": record(
        "What moved the score of one title.",
        score=number("The ranker's score, from 0 to 1."),
        query=several(SPAN, "The query in pieces."),
        title=several(SPAN, "The title in pieces."),
        ngrams=several(
            record(
                "An n-gram, or two words that match softly.",
                text=text("The n-gram."),
                value=number("What it adds to the logit."),
                about=text("Where it is."),
            ),
            "Those that moved the score most, the largest first; none where words were left out.",
        ),
        method=text("How it was computed.", enum=["integrated gradients", "each word left out"]),
    ),
    "TeacherScores": record(
        "The teacher's scores.",
        query=text("The query."),
        scores=several(number("From 0 to 1."), "One a title, in the request's order."),
        milliseconds=number("What all of them took; the first request also loads the teacher."),
    ),
    "Health": record("The server answers.", status=text("Always ok.", const="ok")),
    "Error": record("Why there is no answer.", error=text("What is wrong, and what to do.")),
}
ERRORS = {
    "400": "A parameter is missing, unknown or out of its range.",
    "404": "This server was started without what would answer.",
    "500": "A fault of the server, which its log tells.",
    "503": "More requests than are worked on at once, or a model or index that does not answer: ask again later.",
}


def parameter(name: str, described: Schema) -> Schema:
    """Returns a parameter; without a default it is required."""
    required = {} if "default" in described else {"required": True}
    return {"in": "query", "name": name, **required, "schema": described}


QUERY = parameter("q", text("What to search for.", minLength=1, maxLength=MAX_QUERY))
TITLE = text("A title.", maxLength=MAX_TITLE)
TITLES = parameter("title", several(TITLE, "A title; may be given several times.", minItems=1, maxItems=MAX_TITLES))
CANDIDATES = whole("Candidates of each leg, which are then ranked.", minimum=1, maximum=MAX_RETRIEVE, default=100)
PAIR = [QUERY, TITLES]
SEARCH = [
    QUERY,
    parameter("k", whole("Hits of the answer.", minimum=1, maximum=MAX_K, default=10)),
    parameter("retrieve", CANDIDATES),
    parameter("legs", text("Which legs retrieve: bm25, twin, or both with a comma.", default="bm25,twin")),
    parameter("rank", switch("Whether the ranker orders them.", default=True)),
    parameter("compare", switch("Whether to answer by each leg alone, too.", default=False)),
]


def operation(summary: str, name: str, answer: str, parameters: Sequence[Schema], errors: Sequence[str]) -> Schema:
    """Returns a path with its GET operation."""
    responses = {"200": response(SCHEMAS[answer]["description"], answer)}
    responses |= {status: response(ERRORS[status], "Error") for status in errors}
    return {"get": {"summary": summary, "operationId": name, "parameters": parameters, "responses": responses}}


def response(about: str, name: str) -> Schema:
    """Returns a JSON response."""
    return {"description": about, "content": {"application/json": {"schema": named(name)}}}


def document() -> Schema:
    """Returns the OpenAPI document."""
    some, every = ("400", "500", "503"), tuple(ERRORS)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tfb2d search",
            "version": __version__,
            "summary": "Two-stage search: BM25 and a twin retrieve, a student ranks.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/api/search": operation("Searches the catalogue.", "search", "SearchAnswer", SEARCH, some),
            "/api/describe": operation("Says what is searched.", "describe", "Description", [], some),
            "/api/explain": operation("Says what moved the ranker's scores.", "explain", "Explanations", PAIR, every),
            "/api/teacher": operation("Asks the teacher.", "teacher", "TeacherScores", PAIR, every),
            "/api/health": operation("Says whether the server answers.", "health", "Health", [], ("400", "503")),
        },
        "components": {"schemas": SCHEMAS},
    }
