"""Both clients against a gRPC server on the official stubs; each test runs twice, blocking and with asyncio."""

import asyncio
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2

from tests.killing import python
from tests.serving.scoring_server import LIMIT, ScoringServer, score
from tfb2d.serving import TLS, AsyncClient, Backoff, Client, DeadlineExceeded, ServerUnreachable, ServingError

PAIRS = [("red shoes", "Nike, red"), ("red shoes", "garden hose"), ("", "łódź 🚲")]


class Blocking(AsyncClient):
    """AsyncClient with Client's face: a loop of its own, to which every call goes."""

    def __post_init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        super().__post_init__()

    def do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.do(self.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


for name in ("score", "rank", "embed", "predict", "replay", "signatures", "versions"):

    def method(self, *args, _name=name, **kwargs):
        return self.do(getattr(AsyncClient, _name)(self, *args, **kwargs))

    setattr(Blocking, name, method)


@pytest.fixture(params=[Client, Blocking], ids=["threads", "asyncio"])
def make(request):
    """A client class."""
    return request.param


def expected(rows):
    return np.array([score(*((row,) if isinstance(row, str) else row)) for row in rows], np.float32)


def test_scores_whatever_the_model_and_the_form_of_the_rows(server, make):
    with make(server.address, "text") as client:
        texts = ["a fine film", "łódź 🚲", "", "nul\0"]
        got = client.score(texts)
        np.testing.assert_array_equal(got, expected(texts))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(client.score([(item,) for item in texts]), got)
        np.testing.assert_array_equal(client.score([{"text": item.encode()} for item in texts]), got)
        np.testing.assert_array_equal(client.score(iter(texts), output="logit"), got * np.float32(10))
        assert client.score([]).shape == (0,)
    with make(server.address, "pair") as client:  # the server's map has the title first
        np.testing.assert_array_equal(client.score(PAIRS), expected(PAIRS))
        named = [{"title": title, "query": query} for query, title in PAIRS]
        np.testing.assert_array_equal(client.score(named), expected(PAIRS))
    with make(server.address, "classes") as client:
        assert client.score(["a", "b"]).shape == (2, 3)
        assert client.score([]).shape == (0, 3)


def test_reads_tensor_content(server, make):
    server.content = True
    with make(server.address, "text") as client:
        np.testing.assert_array_equal(client.score(["a", "b", "c"]), expected(["a", "b", "c"]))


def test_ranks_one_query_and_many(server, make):
    titles = [["a", "b", "c"], [], ["d"]]
    with make(server.address, "pair", chunk_rows=4) as client:
        item = client.rank("q", titles[0])
        np.testing.assert_array_equal(item, expected([("q", title) for title in titles[0]]))
        many = client.rank(["q", "r", "s"], titles)
        for query, row, scores in zip("qrs", titles, many, strict=True):
            np.testing.assert_array_equal(scores, expected([(query, title) for title in row]))
        long = [str(i) for i in range(11)]
        np.testing.assert_array_equal(client.rank("q", long), expected([("q", title) for title in long]))
        assert client.rank("q", []).shape == (0,)
        assert client.rank([], []) == []


def test_scores_of_titles_that_the_server_added_are_cut(server, make):
    server.padding = 5
    titles = [["a", "b", "c"], [], ["d"]]
    with make(server.address, "pair") as client:
        raw = client.predict({"query": ["q"], "titles": [["a", "b"]]}, signature="rank").outputs["scores"]
        assert raw.shape == (1, 7)
        assert (raw[0, 2:] == score("q", "a")).all()
        np.testing.assert_array_equal(client.rank("q", ["a", "b"]), expected([("q", "a"), ("q", "b")]))
        for query, row, scores in zip("qrs", titles, client.rank(["q", "r", "s"], titles), strict=True):
            np.testing.assert_array_equal(scores, expected([(query, title) for title in row]))


def test_an_answer_that_lost_its_end_is_no_score(server, make):
    """TensorFlow's own `make_ndarray` reads it as good scores: the last value, repeated."""
    with make(server.address, "pair") as client:
        for server.lost in (1, 2, 3):
            for call in (client.score, lambda rows: client.rank("q", [title for _, title in rows])):
                with pytest.raises(ServingError, match=r"gave an unusable answer: \d values for a tensor of shape"):
                    call(PAIRS)
        server.lost = 0
        np.testing.assert_array_equal(client.score(PAIRS), expected(PAIRS))


def test_embeds(server, make):
    with make(server.address, "pair") as client:
        assert client.embed(["a", "b"]).shape == (2, 4)


def test_predict_says_which_version_answered(server, make):
    with make(server.address, "text", version=2) as client:
        outputs, version = client.predict({"text": ["a", b"b"]}, outputs=["logit"])
        assert version == 2
        assert list(outputs) == ["logit"]
        assert list(client.signatures()) == ["serving_default"]
        assert client.versions() == {3: "AVAILABLE", 2: "END"}
        recorded = predict_pb2.PredictRequest(output_filter=["score"])
        recorded.model_spec.name = "another"
        recorded.inputs["text"].CopyFrom(tf.make_tensor_proto(["a"]))
        with pytest.raises(ValueError, match="no PredictRequest"):
            client.replay(b"\xff")
        outputs, version = client.replay(recorded.SerializeToString())
        np.testing.assert_array_equal(outputs["score"], expected(["a"]))
        assert version == 2
    with make(server.address, "text", label="stable") as client:
        assert client.predict({"text": ["a"]}).version == 3


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=60), st.integers(1, 16))
def test_chunks_come_back_in_order(texts, chunk_rows):
    server = _shared()
    server.slow_down = lambda call: 0.002 * (call % 3)  # so that later chunks overtake
    for client in _shared_clients():
        client.chunk_rows = chunk_rows
        np.testing.assert_array_equal(client.score(texts), expected(texts))


_kept = {}


def _shared():
    if "server" not in _kept:
        _kept["server"] = ScoringServer()
    return _kept["server"]


def _shared_clients():
    if "clients" not in _kept:
        _kept["clients"] = [kind(_shared().address, "text", timeout=30) for kind in (Client, Blocking)]
    return _kept["clients"]


@pytest.fixture(scope="module", autouse=True)
def _put_away():
    yield
    for item in [*_kept.get("clients", []), *([_kept["server"]] if _kept else [])]:
        item.__exit__()


def test_concurrency_is_bounded_and_used(server, make):
    server.slow_down = lambda call: 0.03
    with make(server.address, "text", chunk_rows=1, concurrency=3, timeout=20) as client:
        client.score([str(i) for i in range(12)])
    assert server.busiest == 3


def test_a_failed_chunk_fails_the_call_at_once(server, make):
    server.slow_down = lambda call: 0.05
    server.refusals = [grpc.StatusCode.INTERNAL]
    with make(server.address, "text", chunk_rows=1, concurrency=2, timeout=60) as client:
        with pytest.raises(ServingError, match="INTERNAL: as the test wants it") as caught:
            client.score([str(i) for i in range(200)])
        assert caught.value.code is grpc.StatusCode.INTERNAL
        assert server.calls < 20
        assert len(client.score(["still works"])) == 1


def test_requests_larger_than_the_servers_batch_need_smaller_chunks(server, make):
    rows = [str(i) for i in range(LIMIT + 1)]
    with make(server.address, "text") as client, pytest.raises(ServingError, match="larger than the maximum batch"):
        client.score(rows)
    with make(server.address, "text", chunk_rows=LIMIT) as client:
        np.testing.assert_array_equal(client.score(rows), expected(rows))


def test_large_texts_pass(server, make):
    with make(server.address, "text", timeout=30) as client:
        text = "x" * (8 << 20)  # twice gRPC's default limit
        np.testing.assert_array_equal(client.score([text]), expected([text]))


def test_unavailable_is_asked_again_and_nothing_else_is(server, make):
    with make(server.address, "text", backoff=Backoff(0.001, 0.01)) as client:
        server.refusals = [grpc.StatusCode.UNAVAILABLE] * 5
        np.testing.assert_array_equal(client.score(["a"]), expected(["a"]))
        assert server.calls == 6
        for code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.ABORTED):
            server.calls, server.refusals = 0, [code]
            with pytest.raises(ServingError, match=f"model 'text' at {server.address}: {code.name}"):
                client.score(["a"])
            assert server.calls == 1


def test_a_full_server_is_asked_again_where_the_caller_allows_it(make):
    with ScoringServer(most=2) as server:
        server.slow_down = lambda call: 0.05
        rows = [str(number) for number in range(24)]
        eager = {"chunk_rows": 1, "concurrency": 6, "timeout": 30, "backoff": Backoff(0.01, 0.05)}
        with make(server.address, "text", **eager) as client, pytest.raises(ServingError) as caught:
            client.score(rows)
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        with make(server.address, "text", **eager, retry_exhausted=True) as client:
            np.testing.assert_array_equal(client.score(rows), expected(rows))
        assert server.busiest == 2


def test_a_server_that_stays_full_is_left_at_the_deadline(server, make):
    with make(server.address, "text", backoff=Backoff(0.01, 0.05), retry_exhausted=True) as client:
        client.signatures()
        server.refusals = [grpc.StatusCode.RESOURCE_EXHAUSTED] * 1000
        began = time.monotonic()
        with pytest.raises(
            ServingError, match=r"RESOURCE_EXHAUSTED \(\d+ attempts in 0\.\d+ s\): as the test"
        ) as caught:
            client.score(["a"], timeout=0.5)
        assert 0.4 < time.monotonic() - began < 1.5
        assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert not isinstance(caught.value, ServerUnreachable)
        assert 5 < server.calls < 500  # with pauses


def test_a_message_that_is_too_large_is_not_sent_again(server, make):
    options = (("grpc.max_receive_message_length", 100),)
    with make(server.address, "text", options=options, retry_exhausted=True, timeout=30) as client:
        server.calls = 0
        began = time.monotonic()
        with pytest.raises(ServingError, match="larger than max"):
            client.predict({"text": ["a"] * 60})
        assert time.monotonic() - began < 5
        assert server.calls == 1


def test_deadline_covers_everything(server, make):
    with make(server.address, "text", chunk_rows=1, concurrency=1) as client:
        client.score(["warm"])
        server.slow_down = lambda call: 0.1
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"gave no answer within 0\.\d+ s"):
            client.score([str(i) for i in range(50)], timeout=0.35)
        assert 0.3 < time.monotonic() - began < 1.5
        with pytest.raises(TimeoutError):
            client.score(["a"], timeout=0.01)
        with pytest.raises(DeadlineExceeded):
            client.score(["a"], timeout=0)
        first = server.calls
        server.slow_down = lambda call: 0.0 if call == first else 1.0
        server.refusals = [grpc.StatusCode.UNAVAILABLE]  # then it is there, and slow
        with pytest.raises(DeadlineExceeded):
            client.score(["a"], timeout=0.6)


def test_nobody_there(make):
    with grpc_port() as port, make(f"127.0.0.1:{port}", "text", timeout=0.4) as client:
        began = time.monotonic()
        with pytest.raises(ServerUnreachable, match=rf"127.0.0.1:{port} is not reachable \(\d+ attempts?") as caught:
            client.score(["a"])
        assert time.monotonic() - began < 1.5
        assert isinstance(caught.value, ConnectionError)
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE


class grpc_port:
    """A port that is bound and does not listen, so that nobody else gets it."""

    def __enter__(self):
        import socket

        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        return self._socket.getsockname()[1]

    def __exit__(self, *_):
        self._socket.close()


def test_errors_name_what_is_wrong(server, make):
    with make(server.address, "pair") as client:
        with pytest.raises(ValueError, match="row 0 has 1 text; 'serving_default' takes 2: query, title"):
            client.score(["alone"])
        with pytest.raises(TypeError, match="rows is one str"):
            client.score("alone")
        with pytest.raises(TypeError, match="titles is one text"):
            client.rank("q", "title")
        with pytest.raises(TypeError, match="titles is one text"):
            client.rank(["q"], ["title"])
        with pytest.raises(ValueError, match="2 queries with 1 lists"):
            client.rank(["q", "r"], [["title"]])
        with pytest.raises(ValueError, match="no output 'probability'; it has logit, score"):
            client.score(PAIRS, output="probability")
    with make(server.address, "text") as client:
        with pytest.raises(ServingError, match="no signature 'rank'; it has serving_default"):
            client.rank("q", ["a"])
        with pytest.raises(ServingError, match="INVALID_ARGUMENT: input size does not match signature"):
            client.predict({"text": ["a"], "more": ["b"]})
    with make(server.address, "nope") as client, pytest.raises(ServingError, match="NOT_FOUND: Servable not found"):
        client.score(["a"])
    with make(server.address, "text", label="zz") as client, pytest.raises(ServingError, match="label 'zz' at"):
        client.score(["a"])
    with make(server.address, "ab") as client, pytest.raises(ValueError, match="does not say in which order"):
        client.score([("x", "y")])
    with make(server.address, "ab", fields=("a", "b")) as client:
        np.testing.assert_array_equal(client.score([("x", "y")]), expected([("x", "y")]))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"version": 1, "label": "a"}, "exclude each other"),
        ({"version": -1}, "neither can be below 0"),
        ({"hedge_after": -1}, "neither can be below 0"),
        ({"timeout": 0}, "timeout is 0"),
        ({"channels": 0}, "channels is 0"),
        ({"model": ""}, "name is empty"),
        ({"address": "nowhere"}, "takes host:port"),
    ],
)
def test_settings_that_cannot_be(arguments, word):
    with pytest.raises(ValueError, match=word):
        Client(**{"address": "localhost:8500", **arguments})


def test_a_changed_model_is_read_anew_after_a_refusal(server, make):
    with make(server.address, "text") as client:
        client.score(["a"])
        server.models["text"] = server.models["pair"]
        with pytest.raises(ServingError, match="INVALID_ARGUMENT"):
            client.score(["a"])
        np.testing.assert_array_equal(client.score(PAIRS), expected(PAIRS))


def test_channels_are_separate_connections(server, make):
    with make(server.address, "text", channels=3) as client:
        for _ in range(9):
            client.score(["a"])
    assert len(server.peers) == 3


def test_hedging_overtakes_a_slow_answer(server, make):
    server.slow_down = lambda call: 1.0 if call == 0 else 0.0
    with make(server.address, "text", hedge_after=0.05, channels=2, timeout=10) as client:
        began = time.monotonic()
        np.testing.assert_array_equal(client.score(["a"]), expected(["a"]))
        assert time.monotonic() - began < 0.8
        assert server.calls == 2
        server.slow_down = lambda call: 0.0
        client.score(["quick"])
        assert server.calls == 3


def test_hedging_waits_for_the_good_answer_and_reports_the_bad(server, make):
    server.slow_down = lambda call: 0.3 if call == 0 else 0.0
    with make(server.address, "text", hedge_after=0.05, backoff=Backoff(0.001, 0.001), timeout=10) as client:
        client.signatures()

        def refuse_second(call):
            if call == 1:
                server.refusals = [grpc.StatusCode.INTERNAL]
            return 0.3 if call == 0 else 0.0

        server.slow_down = refuse_second
        np.testing.assert_array_equal(client.score(["a"]), expected(["a"]))
        server.slow_down = lambda call: 0.0
        server.refusals = [grpc.StatusCode.INTERNAL]
        with pytest.raises(ServingError, match="INTERNAL"):
            client.score(["a"])


def test_hedging_is_off_by_default(server, make):
    server.slow_down = lambda call: 0.3
    with make(server.address, "text") as client:
        client.score(["a"])
    assert server.calls == 1


def test_unix_socket(tmp_path, make):
    with ScoringServer(f"unix:{tmp_path}/s.sock"):
        for address in (f"unix:{tmp_path}/s.sock", f"{tmp_path}/s.sock"):
            with make(address, "text") as client:
                np.testing.assert_array_equal(client.score(["a"]), expected(["a"]))


def test_tls_and_mutual_tls(certificates, make):
    def read(name):
        return (certificates / name).read_bytes()

    pair = [(read("server-key.pem"), read("server.pem"))]
    ca = certificates / "ca.pem"
    with ScoringServer(credentials=grpc.ssl_server_credentials(pair)) as server:
        with make(f"localhost:{server.port}", "text", tls=TLS(ca)) as client:
            np.testing.assert_array_equal(client.score(["a"]), expected(["a"]))
        with make(server.address, "text", tls=TLS(), timeout=0.5) as client, pytest.raises(ServerUnreachable):
            client.score(["a"])
        with make(server.address, "text", timeout=0.5) as client, pytest.raises(ServerUnreachable):
            client.score(["a"])
    mutual = grpc.ssl_server_credentials(pair, ca.read_bytes(), require_client_auth=True)
    with ScoringServer(credentials=mutual) as server:
        shown = TLS(ca, certificates / "client.pem", certificates / "client-key.pem", server_name="localhost")
        with make(server.address, "text", tls=shown) as client:
            np.testing.assert_array_equal(client.score(["a"]), expected(["a"]))
        with make(server.address, "text", tls=TLS(ca), timeout=0.5) as client, pytest.raises(ServerUnreachable):
            client.score(["a"])
    with pytest.raises(ValueError, match="go together"):
        TLS(ca, cert="client.pem")


def test_threads_share_a_client(server):
    with Client(server.address, "text", chunk_rows=2, timeout=30) as client:
        wrong = []

        def work(number):
            texts = [f"{number} {i}" for i in range(20)]
            wrong.extend(() if np.array_equal(client.score(texts), expected(texts)) else [number])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_a_closed_client_says_so(server, make):
    client = make(server.address, "text")
    with client:
        client.score(["a"])
        client.do(client.close()) if make is Blocking else client.close()
        with pytest.raises(ServingError, match="is closed"):
            client.score(["a"])


def test_closing_ends_calls_under_way(server, make):
    server.slow_down = lambda call: 0.1
    with make(server.address, "text", chunk_rows=1, concurrency=2, timeout=60) as client:
        threading.Timer(0.3, lambda: client.do(client.close()) if make is Blocking else client.close()).start()
        began = time.monotonic()
        with pytest.raises(ServingError, match=r"closed|CANCELLED"):
            client.score([str(i) for i in range(200)])
        assert time.monotonic() - began < 5


FORKED = """
import os, sys
from tfb2d.serving import Client, ServingError
client = Client(sys.argv[1], "text")
client.score(["a"])
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    client.score(["a"])
except ServingError as error:
    os.write(1, str(error).encode())
os._exit(0)
"""


def test_a_forked_child_is_told(server):
    done = subprocess.run([*python(FORKED), server.address], capture_output=True, text=True, timeout=60, check=True)
    assert "before this process forked" in done.stdout


def test_asyncio_calls_run_side_by_side_and_can_be_cancelled(server):
    server.slow_down = lambda call: 0.2

    async def main():
        async with AsyncClient(server.address, "text", timeout=20) as client:
            began = time.monotonic()
            await asyncio.gather(*(client.score([str(i)]) for i in range(10)))
            assert time.monotonic() - began < 1.2
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.score(["late"]), 0.05)
            assert len(await client.score(["still works"])) == 1

    asyncio.run(main())
