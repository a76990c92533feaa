"""The rules of the tests themselves, read from their source: what they share is a harness, and they use what is public."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# What no test can have for real is stood in for. All else of the package runs as it is.
STAND_INS = {
    "tfb2d.scale.ray_actors.run_on_actors",  # machines that do not share a disk
    "tfb2d.teachers.models.precision",  # a processor that computes in bfloat16
    "tfb2d.serving.server.fast_transport.FastTransport.*",  # another release of grpcio
    "*.loss_of",  # a kill at a step that the test names
}


def is_test(module: str) -> bool:
    """Says whether a module of the tests is one of tests or fixtures, and none that others may use."""
    name = module.rpartition(".")[2]
    return module.startswith("tests.") and (name.startswith("test_") or name == "conftest")


def origins(tree: ast.AST) -> dict[str, str]:
    """Returns what each imported name stands for, wherever it is imported."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def replaced(call: ast.Call, names: dict[str, str]) -> str:
    """Returns the dotted name that `monkeypatch.setattr` or `delattr` replaces, "*" for what is not known; else ""."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr in ("setattr", "delattr") and call.args):
        return ""
    target, *others = call.args
    if isinstance(target, ast.Constant):
        return str(target.value)
    root, _, rest = ast.unparse(target).partition(".")
    attribute = others[0].value if others and isinstance(others[0], ast.Constant) else "*"
    return ".".join(part for part in (names.get(root, "*"), rest, str(attribute)) if part)


def is_stand_in(name: str) -> bool:
    """Says whether a name may be replaced."""
    return bool({name, f"{name.rpartition('.')[0]}.*", f"*.{name.rpartition('.')[2]}"} & STAND_INS)


def faults(source: str) -> Iterator[str]:
    """Yields what a file of tests does against the rules."""
    tree = ast.parse(source)
    names = origins(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imported = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in imported:
            if is_test(name):
                yield f"{node.lineno}: imports {name}, which is no harness"
            if name.startswith("tfb2d") and any(
                part.startswith("_") and part != "__main__" for part in name.split(".")
            ):
                yield f"{node.lineno}: imports the private {name}"
        if isinstance(node, ast.Attribute):
            whose = ast.unparse(node.value)
            own = whose in ("self", "cls", "os")
            if node.attr.startswith("_") and not node.attr.startswith("__") and not own:
                yield f"{node.lineno}: reaches for {whose}.{node.attr}"
            if names.get(whose) == "sys" and node.attr == "path":
                yield f"{node.lineno}: uses sys.path"
        if isinstance(node, ast.Call):
            name = replaced(node, names)
            last = name.rpartition(".")[2]
            in_package = name.startswith(("tfb2d.", "*."))
            if in_package and not last.isupper() and not is_stand_in(name):  # a limit may be lowered
                yield f"{node.lineno}: replaces {name}"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("from tests.data.test_join import write", "1: imports tests.data.test_join, which is no harness"),
        ("from tests.data import test_join", "1: imports tests.data.test_join, which is no harness"),
        ("from tests.search.conftest import shop", "1: imports tests.search.conftest, which is no harness"),
        ("import tests.data.test_join as other", "1: imports tests.data.test_join, which is no harness"),
        ("from tfb2d.cli import _main", "1: imports the private tfb2d.cli._main"),
        ("item = searcher._ranker.client", "1: reaches for searcher._ranker"),
        ("import sys\nsys.path.append('x')", "2: uses sys.path"),
        ("patch.setattr('tfb2d.atomic.sync', None)", "1: replaces tfb2d.atomic.sync"),
        ("from tfb2d.data import keys as k\npatch.setattr(k, 'look_up', None)", "2: replaces tfb2d.data.keys.look_up"),
        ("def test(item, patch):\n    patch.delattr(item, 'score')", "2: replaces *.score"),
    ],
)
def test_a_fault_is_seen(source: str, fault: str) -> None:
    assert fault in list(faults(source))


@pytest.mark.parametrize(
    "source",
    [
        "from tests.data.harness import write",
        "from tfb2d.evaluation.test_logits import row_hash",
        "class Site:\n    def stop(self):\n        self._thread.join()",
        "from tfb2d.search.__main__ import main",
        "import os\nos._exit(0)",
        "from tfb2d.evaluation import bootstrap as b\npatch.setattr(b, 'CELLS', 700)",
        "import uvicorn\npatch.setattr(uvicorn, 'Server', None)",
        "patch.setattr('tfb2d.teachers.models.precision', None)",
    ],
)
def test_what_is_allowed_is_no_fault(source: str) -> None:
    assert list(faults(source)) == []


def test_tests_share_harnesses_and_use_what_is_public() -> None:
    files = sorted(TESTS.rglob("*.py"))
    assert len(files) > 200
    found = [f"{path.relative_to(TESTS)}:{fault}" for path in files for fault in faults(path.read_text("utf-8"))]
    assert found == []
    packages = {path.parent for path in files}
    assert [
        folder for folder in packages if not (folder / "__init__.py").exists()
    ] == []  # each is imported by its name
