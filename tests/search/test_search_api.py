"""The API: what it answers and refuses, by its own description, and that no request waits for another's work."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from tests.search.trained_shop import TITLES, Shop
from tfb2d.errors import UserError
from tfb2d.search.api import BROKEN, FULL, NO_RANKER, NO_TEACHER, Api, application
from tfb2d.search.explaining import GRADIENTS, LEFT_OUT, Explainer, TeacherOnDemand
from tfb2d.search.models import Model
from tfb2d.search.openapi import document
from tfb2d.search.searcher import Searcher
from tfb2d.search.workers import FullError, Workers

SHOES = {"q": "red running shoes"}
PAIR = {"q": "red shoes", "title": ["Acme running shoes, red", "Bolt desk lamp LED, blue"]}


@pytest.fixture(scope="module")
def searcher(shop: Shop) -> Iterator[Searcher]:
    with Searcher.open(shop.index, ranker=str(shop.ranker)) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(searcher: Searcher, shop: Shop, shop_teacher: Path) -> TestClient:
    """Asks a server that has everything."""
    explainer = Explainer(searcher.rank, str(shop.ranker), str(shop.student))
    return TestClient(application(Api(searcher, explainer, TeacherOnDemand(shop_teacher))))


@pytest.fixture(scope="module")
def bare(shop: Shop) -> Iterator[TestClient]:
    """Asks a server that has neither ranker nor teacher."""
    with Searcher.open(shop.index) as opened:
        yield TestClient(application(Api(opened)), raise_server_exceptions=False)


def check(path: str, status: int, answer: Any) -> None:
    """Holds an answer against the API's own description."""
    described = document()
    response = described["paths"][path]["get"]["responses"][str(status)]
    schema = response["content"]["application/json"]["schema"] | {"components": described["components"]}
    jsonschema.validate(answer, schema, jsonschema.Draft202012Validator)


def ask(client: TestClient, path: str, status: int = 200, **parameters: Any) -> Any:
    response = client.get(path, params=parameters)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    check(path, status, response.json())
    return response.json()


def test_the_description_is_openapi_and_lists_what_there_is(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    validate(described)
    assert described == document()
    paths = {route.path for route in client.app.routes}  # type: ignore[attr-defined]
    assert set(described["paths"]) == {path for path in paths if path.startswith("/api/")}
    page = client.get("/api").text
    assert all(f"GET {path}" in page for path in described["paths"])
    assert all(f'id="{name}"' in page for name in described["components"]["schemas"])
    assert "<script" not in page


def test_examples_of_the_page_work(client: TestClient) -> None:
    from tfb2d.search.pages import EXAMPLES

    for path, example in EXAMPLES.items():
        response = client.get(example)
        assert response.status_code == 200
        check(path, 200, response.json())


def test_a_search_retrieves_and_ranks(client: TestClient) -> None:
    answer = ask(client, "/api/search", **SHOES, k=4)
    assert [hit["title"].split(" ", 1)[1] for hit in answer["hits"]] == ["running shoes, red"] * 4
    assert answer["hits"][0]["stages"]["rank"]["rank"] == 1
    assert set(answer["milliseconds"]) == {"embed", "twin", "bm25", "fuse", "rank", "total"}
    assert "columns" not in answer
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_each_leg_by_itself_stands_beside_it(client: TestClient) -> None:
    answer = ask(client, "/api/search", **SHOES, k=3, legs="twin", compare="true")
    assert set(answer["columns"]) == {"bm25", "twin"}
    for leg, column in answer["columns"].items():
        assert column["hits"][0]["stages"][leg]["rank"] == 1
        assert not {"rank", ({"bm25", "twin"} - {leg}).pop()} & set(column["hits"][0]["stages"])
    assert "bm25" not in answer["milliseconds"]
    unranked = ask(client, "/api/search", **SHOES, rank="false")
    assert "rank" not in unranked["milliseconds"]


def test_what_is_searched(client: TestClient, bare: TestClient, shop: Shop) -> None:
    told = ask(client, "/api/describe")
    assert (told["titles"], told["ranks"], told["explains"], told["teacher"]) == (len(TITLES), True, True, True)
    assert told["samples"]
    assert ask(client, "/api/search", q=told["samples"][0])["hits"]
    assert told["models"]["ranker"] == "ranker, version 1"  # no path: the page may be open to all
    assert told["models"]["teacher"] == "teacher"
    told = ask(bare, "/api/describe")
    assert (told["ranks"], told["explains"], told["teacher"]) == (False, False, False)
    assert ask(client, "/api/health") == {"status": "ok"}


@pytest.mark.parametrize(
    ("path", "query", "says"),
    [
        ("/api/search", "", "give it as q"),
        ("/api/search", "q=%20%09", "give it as q"),
        ("/api/search", f"q={'x' * 1001}", "up to 1,000"),
        ("/api/search", "q=a&q=b", "give it once"),
        ("/api/search", "q=a&k=0", "from 1 to 100"),
        ("/api/search", "q=a&k=101", "from 1 to 100"),
        ("/api/search", "q=a&k=1e1", "from 1 to 100"),
        ("/api/search", "q=a&k=" + "9" * 400, "from 1 to 100"),
        ("/api/search", "q=a&retrieve=-3", "from 1 to 1,000"),
        ("/api/search", "q=a&legs=bm52", "bm25 or twin"),
        ("/api/search", "q=a&legs=", "bm25 or twin"),
        ("/api/search", "q=a&rank=maybe", "true or false"),
        ("/api/search", "q=a&retreive=5", "did you mean retrieve"),
        ("/api/describe", "q=a", "takes none"),
        ("/api/explain", "q=a", "0 titles: give 1 to 20"),
        ("/api/explain", "q=a" + "&title=b" * 21, "21 titles"),
        ("/api/teacher", f"q=a&title={'x' * 20_001}", "up to 20,000"),
        ("/api/teacher", "title=b", "give it as q"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_remedy(client: TestClient, path: str, query: str, says: str) -> None:
    response = client.get(f"{path}?{query}")
    assert response.status_code == 400
    check(path, 400, response.json())
    assert says in response.json()["error"]
    assert len(response.content) < 400


def test_any_text_is_answered(client: TestClient) -> None:
    for query in ("!?", "漢字", "a\x00b", "%", "é" * 999, "-- OR 1=1", "<script>"):
        ask(client, "/api/search", q=query, compare=1)
    assert client.get("/api/search?q=%ff%fe").status_code == 200


def test_what_this_server_lacks(bare: TestClient) -> None:
    assert ask(bare, "/api/explain", 404, **PAIR)["error"] == NO_RANKER
    assert ask(bare, "/api/teacher", 404, **PAIR)["error"] == NO_TEACHER
    for path in ("/nothing", "/api/nothing"):
        response = bare.get(path)
        assert (response.status_code, "/api lists" in response.json()["error"]) == (404, True)
    response = bare.post("/api/search")
    assert (response.status_code, response.json()["error"]) == (405, "POST /api/search: Method Not Allowed")


def test_the_words_of_both_sides_raise_the_score(client: TestClient) -> None:
    answer = ask(client, "/api/explain", **PAIR)
    first, second = answer["explanations"]
    assert first["method"] == GRADIENTS
    assert first["score"] > 0.8 > 0.2 > second["score"]
    assert "".join(part["text"] for part in first["title"]) == PAIR["title"][0]
    assert "".join(part["text"] for part in first["query"]) == PAIR["q"]
    values = {part["text"]: part["value"] for part in first["title"]}
    assert values["red"] > 0
    assert values["shoes"] > 0
    assert first["ngrams"][0]["value"] == max(first["ngrams"], key=lambda part: abs(part["value"]))["value"]


def test_explanations_without_the_students_weights(searcher: Searcher, shop: Shop, tmp_path: Path) -> None:
    by_gradients = Explainer(searcher.rank, str(shop.ranker), str(shop.student)).explain(PAIR["q"], PAIR["title"])
    for model, student in (("", ""), (str(shop.ranker), ""), (str(shop.ranker), str(tmp_path))):
        moved = Explainer(searcher.rank, model, student).explain(PAIR["q"], PAIR["title"])
        assert {each.method for each in moved} == {LEFT_OUT}
        np.testing.assert_allclose([each.score for each in moved], [each.score for each in by_gradients], atol=0.02)
        values = {span.text: span.value for span in moved[0].title}
        assert values["red"] > values["Acme"]
    assert Explainer(searcher.rank, "", str(shop.student)).explain("red", ["red hat"])[0].method == GRADIENTS


def test_another_students_weights_are_not_used(
    searcher: Searcher, shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tfb2d.students.model import Student, load_student

    trained = load_student(shop.student)
    Student(trained.task, trained.config, seed=9).save(tmp_path / "other")
    moved = Explainer(searcher.rank, str(shop.ranker), str(tmp_path / "other")).explain("red shoes", PAIR["title"])
    assert {each.method for each in moved} == {LEFT_OUT}
    assert "it is another student" in caplog.text


def test_the_teacher_says_what_it_thinks(client: TestClient, shop: Shop, shop_teacher: Path) -> None:
    from tfb2d.teachers.teacher import load_teacher

    scores = ask(client, "/api/teacher", **PAIR)["scores"]
    logits = load_teacher(shop_teacher).logits([[PAIR["q"]] * 2, PAIR["title"]])[:, 0]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), atol=1e-5)
    with pytest.raises(UserError, match=r"no teacher\.json"):
        TeacherOnDemand(shop.index)


def test_a_ranker_that_is_away_leaves_the_first_stage(shop: Shop) -> None:
    with Searcher.open(shop.index, ranker=Model("127.0.0.1:9/shop", timeout=0.2, pause=600)) as opened:
        away = TestClient(application(Api(opened, Explainer(opened.rank))))
        answer = ask(away, "/api/search", **SHOES)
        assert len(answer["hits"]) == 10
        assert any("the ranker did not answer" in note for note in answer["notes"])
        assert "127.0.0.1:9" in ask(away, "/api/explain", 503, **PAIR)["error"]
        assert "asked again in" in ask(away, "/api/search", **SHOES)["notes"][0]  # nobody waits for it again
    with Searcher.open(shop.index, ranker=Model("127.0.0.1:9/shop", timeout=0.2, pause=0)) as opened:
        away = TestClient(application(Api(opened)))
        for _ in range(2):
            assert "not reachable" in ask(away, "/api/search", **SHOES)["notes"][0]


class Held:
    """A searcher that answers when it is let go."""

    def __init__(self, searcher: Searcher) -> None:
        self.searcher, self.go = searcher, threading.Event()

    def search(self, *arguments: Any, **settings: Any) -> Any:
        assert self.go.wait(30)
        return self.searcher.search(*arguments, **settings)


def test_a_full_server_says_so_and_goes_on_answering(searcher: Searcher) -> None:
    held = Held(searcher)
    api = Api(held, threads=1, waiting=1)  # type: ignore[arg-type]
    client = TestClient(application(api))
    with client, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(client.get, "/api/search", params=SHOES) for _ in range(3)]  # one more than may wait
        refused, waiting = wait(asked, timeout=30, return_when=FIRST_COMPLETED)
        (response,) = (future.result() for future in refused)
        assert (response.status_code, response.json()["error"], response.headers["retry-after"]) == (503, FULL, "1")
        assert ask(client, "/api/health") == {"status": "ok"}  # the event loop is free
        held.go.set()
        assert all(future.result().json()["hits"] for future in waiting)
        assert ask(client, "/api/search", **SHOES)["hits"]


def test_a_fault_of_the_server_is_told_without_its_inside(searcher: Searcher, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def search(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("secret")

    client = TestClient(application(Api(Broken())), raise_server_exceptions=False)  # type: ignore[arg-type]
    assert ask(client, "/api/search", 500, **SHOES)["error"] == BROKEN
    assert "ZeroDivisionError: secret" in caplog.text


def test_work_whose_client_has_gone_keeps_its_place() -> None:
    go = threading.Event()

    async def leave() -> None:
        workers = Workers("test", 1, 0)
        task = asyncio.create_task(workers.run(go.wait, 30))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(FullError):
            await workers.run(int)
        go.set()
        for _ in range(1000):
            await asyncio.sleep(0.001)
            try:
                assert await workers.run(int) == 0
                break
            except FullError:
                continue
        else:
            pytest.fail("the thread was not given back")
        workers.close()

    asyncio.run(leave())
