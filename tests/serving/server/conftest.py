"""Models made once, and one server that most tests share."""

import pytest

from tests.serving.server.contract_cases import ask_everything, labelled_config
from tests.serving.server.embedded import Local, Server
from tests.serving.server.tiny_models import build_tree, save_marked


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """The folder of the demo models."""
    return build_tree(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def marked(tmp_path_factory):
    """Two versions that answer 1.0 and 2.0."""
    base = tmp_path_factory.mktemp("marked")
    for mark in (1, 2):
        save_marked(base / f"source-{mark}", mark)
    return base


@pytest.fixture(scope="session")
def shared(tree, tmp_path_factory):
    """A server with both versions of demo, labels, other, health and monitoring."""
    folder = tmp_path_factory.mktemp("shared")
    with Local(folder, *shared_flags(tree, folder)) as server:
        yield server


def shared_flags(tree, folder):
    """Writes the config files of the shared server; returns its flags."""
    (folder / "models.cfg").write_text(labelled_config(tree))
    (folder / "mon.cfg").write_text('prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }')
    flags = ["--model_config_file=models.cfg", "--allow_version_labels_for_unavailable_models=true"]
    return [*flags, "--monitoring_config_file=mon.cfg", "--enable_grpc_healthcheck_service=true"]


PUBLIC = "--accelerate=false"


@pytest.fixture(scope="session")
def public(tree, tmp_path_factory):
    """`shared` without what is private to grpcio and TensorFlow."""
    folder = tmp_path_factory.mktemp("public")
    with Local(folder, *shared_flags(tree, folder), PUBLIC) as server:
        yield server


@pytest.fixture(scope="session")
def contract_public(public, tree, tmp_path_factory):
    """Case -> answer of the server that uses public interfaces only."""
    Server.more = (PUBLIC,)
    try:
        return ask_everything(public, tree, tmp_path_factory.mktemp("contract_public"))
    finally:
        Server.more = ()


@pytest.fixture(scope="session")
def contract(shared, tree, tmp_path_factory):
    """Case -> answer, for all recorded cases, asked of the embedded server."""
    return ask_everything(shared, tree, tmp_path_factory.mktemp("contract"))
