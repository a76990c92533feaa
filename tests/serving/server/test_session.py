"""Sessions, by the public interface alone and with the fast one: what a change of TensorFlow would break shows here."""

import logging

import numpy as np
import pytest
from tensorflow.python.client import pywrap_tf_session

from tfb2d.model_folder import ABOUT
from tfb2d.processor import multiplies_bfloat16
from tfb2d.serving.server import fast_session
from tfb2d.serving.server.errors import Code, StatusError
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.servable import make_plan
from tfb2d.serving.server.session import Session


@pytest.fixture(scope="module", params=[True, False], ids=["fast", "public"])
def accelerate(request):
    return request.param


@pytest.fixture(scope="module")
def session(tree, accelerate):
    opened = Session(str(tree / "demo/1"), Options(accelerate=accelerate), str(tree / "demo"))
    yield opened
    opened.close()


def run(session, signature, seconds=None, **inputs):
    plan = make_plan(session, signature)
    feeds = {session.signatures[signature].inputs[alias].name: value for alias, value in inputs.items()}
    return dict(zip(plan.aliases, session.run(feeds, plan.fetches, seconds), strict=True))


def test_values(session):
    assert run(session, "serving_default", x=np.ones((2, 4), np.float32))["y"].tolist() == [[18, 22, 26]] * 2
    texts = run(session, "text", t=np.array([b"a\0b", "é".encode()], object))
    assert (texts["n"].tolist(), texts["u"].tolist()) == ([3, 2], [b"A\0B", "é".encode()])


@pytest.mark.parametrize("seconds", [None, 5.0])
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 4)), "Expects arg[0] to be float but double is provided"),
        (np.array([b"a"], object), "Expects arg[0] to be float but string is provided"),
    ],
)
def test_wrong_types(session, array, message, seconds):
    with pytest.raises(StatusError) as error:
        run(session, "serving_default", seconds, x=array)
    assert error.value.code == Code.INVALID_ARGUMENT
    assert error.value.message.startswith(message)


def test_wrong_shapes(session, accelerate):
    """The fast way has the op's own words, the public one those of Session.run."""
    with pytest.raises(StatusError) as error:
        run(session, "serving_default", 5.0, x=np.ones((2, 5), np.float32))
    assert error.value.code == Code.INVALID_ARGUMENT
    start = (
        "Matrix size-incompatible: In[0]: [2,5], In[1]: [4,3]" if accelerate else "Cannot feed value of shape (2, 5)"
    )
    assert error.value.message.startswith(start)


def test_scalars(session, accelerate):
    """Serving looks at no shapes: the op decides. The public way refuses what the signature does not have."""
    if accelerate:
        assert run(session, "text", t=np.array(b"ab", object))["u"] == b"AB"
    else:
        with pytest.raises(StatusError, match="Cannot feed value of shape"):
            run(session, "text", t=np.array(b"ab", object))
    assert run(session, "slow", n=np.int32(0))["r"] == 40_000


def test_errors_of_ops(session):
    """Without the stack traces that Session.run adds."""
    with pytest.raises(StatusError) as error:
        run(session, "regress", inputs=np.array([b""], object))
    assert error.value.code == Code.INVALID_ARGUMENT
    assert error.value.message.startswith("Name: <unknown>, Feature: x (data type: float) is required but could not be")
    assert "trace" not in error.value.message


def test_a_signature_without_outputs(session):
    with pytest.raises(StatusError) as error:
        run(session, "__saved_model_init_op")
    text = "Node 'NoOp' (type: 'NoOp', num of outputs: 0) does not have output 0"
    assert (error.value.code, error.value.message) == (Code.OUT_OF_RANGE, text)


def test_a_long_run_ends_at_its_deadline(session):
    with pytest.raises(StatusError) as error:
        run(session, "slow", 0.2, n=np.int32(10**7))
    assert (error.value.code, error.value.message) == (Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")


def test_a_graph_without_loops(marked, accelerate):
    """It runs in the caller's thread, unless its inputs are large."""
    opened = Session(str(marked / "source-2"), Options(accelerate=accelerate), str(marked))
    try:
        texts = np.array([b"a", b"b"], object)
        assert run(opened, "serving_default", 5.0, text=texts)["score"].tolist() == [2.0, 2.0]
        for seconds in (None, 5.0):
            with pytest.raises(StatusError, match=r"Expects arg\[0\] to be string but float is provided"):
                run(opened, "serving_default", seconds, text=np.ones(2, np.float32))
        large = np.array([b"a" * 100] * 20_000, object)
        assert set(run(opened, "serving_default", 5.0, text=large)["score"].tolist()) == {2.0}
    finally:
        opened.close()


def test_what_the_fast_way_needs_is_tried_and_may_be_missing(marked, monkeypatch, caplog):
    """A TensorFlow whose private functions have changed costs speed, not service, and one line says so."""
    assert fast_session.problem() == ""
    monkeypatch.delattr(pywrap_tf_session, "TF_SessionRunCallable")
    fast_session.problem.cache_clear()
    try:
        for _ in range(2):
            opened = Session(str(marked / "source-1"), Options(), str(marked))
            assert run(opened, "serving_default", text=np.array([b"a"], object))["score"].tolist() == [1.0]
            opened.close()
        assert caplog.text.count("models run by TensorFlow's public session, which is slower: AttributeError") == 1
    finally:
        fast_session.problem.cache_clear()


def test_loading_is_silent_and_changes_no_logger(marked, caplog):
    before = logging.getLogger("tensorflow").level
    with caplog.at_level("INFO", "tensorflow"):
        Session(str(marked / "source-1"), Options(), str(marked)).close()
    assert caplog.text == ""
    assert logging.getLogger("tensorflow").level == before
    assert not logging.getLogger("tensorflow").filters


def test_large_runs_of_a_graph_with_branches_do_not_wait_for_each_other(tmp_path, accelerate):
    """Many at once, more than a session has threads: each branch is waited for, and all come to an end."""
    from concurrent.futures import ThreadPoolExecutor

    import tensorflow as tf

    class Branching(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def score(self, text):
            some = tf.reduce_any(tf.equal(text, "b"))
            texts = tf.cond(
                some, lambda: tf.strings.upper(text), lambda: tf.cond(some, lambda: text, lambda: text + "a")
            )
            return {"n": tf.strings.length(texts)}

    module = Branching()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": module.score})
    (tmp_path / "1" / ABOUT).parent.mkdir(exist_ok=True)
    (tmp_path / "1" / ABOUT).write_text("{}")  # as a student's
    opened = Session(str(tmp_path / "1"), Options(accelerate=accelerate), str(tmp_path))
    texts = np.array([b"a"] * 20_000, object)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: run(opened, "serving_default", 60.0, text=texts)["n"].sum(), range(32)))
    opened.close()
    assert answers == [40_000] * 32


def test_matrix_products_in_bfloat16(tmp_path, accelerate):
    """Where the processor has bfloat16, products are rounded to its 8 digits; elsewhere the flag changes nothing."""
    import tensorflow as tf

    module, matrix = tf.Module(), np.linspace(-1, 1, 512 * 64, dtype=np.float32).reshape(512, 64)
    module.product = tf.function(lambda x: {"y": x @ matrix}, input_signature=[tf.TensorSpec([None, 512])])
    tf.saved_model.save(module, str(tmp_path / "1"), module.product.get_concrete_function())
    rows = np.cos(np.arange(3 * 512, dtype=np.float32)).reshape(3, 512)
    answers = []
    for precision in ("", "bfloat16"):
        opened = Session(str(tmp_path / "1"), Options(accelerate=accelerate, mixed_precision=precision), str(tmp_path))
        answers.append(run(opened, "serving_default", x=rows)["y"])
        opened.close()
    np.testing.assert_allclose(answers[0], rows @ matrix, atol=1e-4)
    assert answers[1].dtype == np.float32
    np.testing.assert_allclose(answers[1], answers[0], atol=0.5)
    assert (answers[0] != answers[1]).any() == multiplies_bfloat16()


def test_a_model_of_tensorflow_1_is_served(tmp_path, accelerate):
    """Its variables are references and its branches are switches."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as old:
        x = v1.placeholder(tf.float32, [None], name="x")
        weight = v1.Variable(3.0, use_resource=False)
        data, pred = v1.raw_ops.Switch(data=x * weight, pred=tf.constant(True))
        merged = v1.raw_ops.Merge(inputs=[data, pred])[0]
        old.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(old, str(tmp_path / "1"), {"x": x}, {"y": merged})
    opened = Session(str(tmp_path / "1"), Options(accelerate=accelerate), str(tmp_path))
    try:
        for seconds in (None, 5.0):
            assert run(opened, "serving_default", seconds, x=np.ones(2, np.float32))["y"].tolist() == [3.0, 3.0]
    finally:
        opened.close()


def test_what_cannot_be_loaded(tree, tmp_path):
    (tmp_path / "1").mkdir()
    for content, code in ((None, Code.NOT_FOUND), (b"\xff\xff", Code.DATA_LOSS), (b"", Code.NOT_FOUND)):
        if content is not None:
            (tmp_path / "1/saved_model.pb").write_bytes(content)
        with pytest.raises(StatusError) as error:
            Session(str(tmp_path / "1"), Options(), str(tmp_path))
        assert error.value.code == code
    with pytest.raises(StatusError, match=r"matching supplied tags: . gpu"):
        Session(str(tree / "demo/1"), Options(saved_model_tags="gpu"), str(tree / "demo"))
