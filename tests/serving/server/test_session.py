"""The C API's session behind TensorFlow's private wrapper: what a change of TensorFlow would break shows here."""

import numpy as np
import pytest

from tfb2d.serving.server.errors import Code, ServingError
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.predict import make_plan
from tfb2d.serving.server.session import Session


@pytest.fixture(scope="module")
def session(tree):
    one = Session(str(tree / "demo/1"), Options(), str(tree / "demo"))
    yield one
    one.close()


def run(session, signature, seconds=None, **inputs):
    plan = make_plan(session, signature)
    feeds = {plan.inputs[alias]: value for alias, value in inputs.items()}
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
        (np.ones((2, 5), np.float32), "Matrix size-incompatible: In[0]: [2,5], In[1]: [4,3]"),
    ],
)
def test_errors_are_the_runtimes_own(session, array, message, seconds):
    with pytest.raises(ServingError) as error:
        run(session, "serving_default", seconds, x=array)
    assert error.value.code == Code.INVALID_ARGUMENT
    assert error.value.message.startswith(message)


def test_a_long_run_ends_at_its_deadline(session):
    with pytest.raises(ServingError) as error:
        run(session, "slow", 0.2, n=np.int32(10**7))
    assert (error.value.code, error.value.message) == (Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")


def test_what_cannot_be_loaded(tree, tmp_path):
    (tmp_path / "1").mkdir()
    for content, code in ((None, Code.NOT_FOUND), (b"\xff\xff", Code.DATA_LOSS), (b"", Code.NOT_FOUND)):
        if content is not None:
            (tmp_path / "1/saved_model.pb").write_bytes(content)
        with pytest.raises(ServingError) as error:
            Session(str(tmp_path / "1"), Options(), str(tmp_path))
        assert error.value.code == code
    with pytest.raises(ServingError, match=r"matching supplied tags: . gpu"):
        Session(str(tree / "demo/1"), Options(saved_model_tags="gpu"), str(tree / "demo"))
