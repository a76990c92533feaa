"""Describes the API in OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0): what it takes and what it answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfb2d import __version__

MAX_QUERY = 1000  # characters
MAX_K, MAX_RETRIEVE = 100, 1000  # hits of an answer, candidates of a leg
MAX_TITLES, MAX_TITLE = 20, 20_000  # of a request to /api/explain or /api/teacher, and the characters of each

Schema = dict[str, Any]


def text(about: str, **more: Any) -> Schema:
    """Returns the schema of a string."""
    return {"type": "string", "description": about, **more}


def number(about: str) -> Schema:
    """Returns the schema of a number."""
    return {"type": "number", "description": about}


def whole(about: str, **more: Any) -> Schema:
    """Returns the schema of a whole number."""
    return {"type": "integer", "description": about, **more}


def several(items: Schema, about: str) -> Schema:
    """Returns the schema of a list."""
    return {"type": "array", "items": items, "description": about}


def table(values: Schema, about: str) -> Schema:
    """Returns the schema of an object with any keys."""
    return {"type": "object", "additionalProperties": values, "description": about}


def record(about: str, /, *, optional: Sequence[str] = (), **properties: Schema) -> Schema:
    """Returns the schema of an object with these properties, all of which are there, save the optional ones."""
    return {
        "type": "object",
        "description": about,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
        "additionalProperties": False,
    }


def named(schema: str) -> Schema:
    """Returns a reference to a schema of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{schema}"}


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
        ranks={"type": "boolean", "description": "Whether a student ranks what was retrieved."},
        explains={"type": "boolean", "description": "Whether /api/explain answers."},
        teacher={"type": "boolean", "description": "Whether /api/teacher answers."},
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
                about=text("Where it stands."),
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
QUERY = {"name": "q", "required": True, "schema": text("What to search for.", minLength=1, maxLength=MAX_QUERY)}
TITLES = {
    "name": "title",
    "required": True,
    "schema": {
        "type": "array",
        "items": text("A title.", maxLength=MAX_TITLE),
        "minItems": 1,
        "maxItems": MAX_TITLES,
        "description": "A title; may stand several times.",
    },
}
SEARCH = (
    QUERY,
    {"name": "k", "schema": whole("Hits of the answer.", minimum=1, maximum=MAX_K, default=10)},
    {
        "name": "retrieve",
        "schema": whole("Candidates of each leg, which are then ranked.", minimum=1, maximum=MAX_RETRIEVE, default=100),
    },
    {
        "name": "legs",
        "schema": text("Which legs retrieve: bm25, twin, or both with a comma. Without it: all there are."),
    },
    {"name": "rank", "schema": {"type": "boolean", "default": True, "description": "Whether the ranker orders them."}},
    {
        "name": "compare",
        "schema": {"type": "boolean", "default": False, "description": "Whether to answer by each leg alone, too."},
    },
)


def operation(
    summary: str, name: str, answer: str, parameters: Sequence[Mapping[str, Any]], errors: Sequence[str]
) -> Schema:
    """Returns a path with its GET operation."""
    responses = {"200": response(SCHEMAS[answer]["description"], answer)}
    responses |= {status: response(ERRORS[status], "Error") for status in errors}
    return {
        "get": {
            "summary": summary,
            "operationId": name,
            "parameters": [{"in": "query", **parameter} for parameter in parameters],
            "responses": responses,
        }
    }


def response(about: str, schema: str) -> Schema:
    """Returns a JSON response."""
    return {"description": about, "content": {"application/json": {"schema": named(schema)}}}


def document() -> Schema:
    """Returns the OpenAPI document."""
    statuses = ("400", "404", "500", "503")
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
            "/api/search": operation(
                "Searches the catalogue.", "search", "SearchAnswer", SEARCH, ("400", "500", "503")
            ),
            "/api/describe": operation("Says what is searched.", "describe", "Description", (), ("400", "500", "503")),
            "/api/explain": operation(
                "Says what moved the ranker's scores.", "explain", "Explanations", (QUERY, TITLES), statuses
            ),
            "/api/teacher": operation("Asks the teacher.", "teacher", "TeacherScores", (QUERY, TITLES), statuses),
            "/api/health": operation("Says whether the server answers.", "health", "Health", (), ("400", "503")),
        },
        "components": {"schemas": SCHEMAS},
    }
