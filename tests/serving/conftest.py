"""Certificates made by the operators' own script, and a scoring server that a test may bend to its will."""

import subprocess
from pathlib import Path

import pytest

SERVING = Path(__file__).parents[2] / "serving"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """The folder that serving/make_tls.sh made for localhost and 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls") / "certificates"
    subprocess.run([SERVING / "make_tls.sh", folder, "localhost", "127.0.0.1"], check=True, capture_output=True)
    return folder


@pytest.fixture
def server():
    from tests.serving.scoring_server import ScoringServer

    with ScoringServer() as running:
        yield running
