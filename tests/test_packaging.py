"""Every import of the package is declared in setup.py: as a requirement, or in the extra of the room that imports it."""

import ast
import re
import runpy
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import setuptools

ROOT = Path(__file__).parents[1]
ROOMS = {  # what these may import beside the requirements
    "tfb2d/serving/server": "server",
    "tfb2d/serving": "client",
    "tfb2d/monitor": "client",  # PredictionLog records are protobuf
    "tfb2d/bench": "bench",
    "tfb2d/edge": "edge",
    "tfb2d/teachers": "torch",
}
OPTIONAL = {"tflite_runtime"}  # LiteRT's older name, which some devices still have


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    """The arguments of setup()."""
    kept: dict[str, Any] = {}
    original = setuptools.setup
    setuptools.setup = lambda **arguments: kept.update(arguments)
    try:
        runpy.run_path(str(ROOT / "setup.py"))
    finally:
        setuptools.setup = original
    return kept


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~;\[ ]", one)[0].lower().replace("_", "-") for one in requirements}


def imports(path: Path) -> set[str]:
    """Top-level modules that a file imports, of `google` with what is below it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            found.add(".".join(parts[:2]) if parts[0] == "google" else parts[0])
    return found - set(sys.stdlib_module_names) - {"tfb2d"}


def test_imports_are_declared(declared: dict[str, Any]) -> None:
    distributions = packages_distributions()
    wrong = []
    for path in sorted((ROOT / "tfb2d").rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        allowed = names(declared["install_requires"])
        for room, extra in ROOMS.items():
            if where.startswith(f"{room}/"):
                allowed |= names(declared["extras_require"][extra])
        if where.startswith("tfb2d/bench/"):  # it measures servers
            allowed |= names(declared["extras_require"]["client"])
        for module in sorted(imports(path) - OPTIONAL):
            owners = (
                {"protobuf"}
                if module == "google.protobuf"
                else {one.lower().replace("_", "-") for one in distributions.get(module, [module])}
            )
            if not owners & allowed:
                wrong.append(f"{where} imports {module} of {', '.join(sorted(owners))}")
    assert not wrong, "\n".join(wrong)


def test_requirements_are_few_and_the_projects_own_are_kept(declared: dict[str, Any]) -> None:
    required = names(declared["install_requires"])
    assert len(required) < 22
    assert {"keras-nlp", "tensorflow-serving-api", "tensorflow-model-optimization", "absl-py"} <= required
    for extra in ("server", "client", "edge", "bench"):
        assert names(declared["extras_require"][extra]) <= names(declared["extras_require"]["dev"])


def test_the_command_and_the_version(declared: dict[str, Any]) -> None:
    import tfb2d

    assert declared["version"] == tfb2d.__version__
    assert declared["entry_points"] == {"console_scripts": ["tfb2d = tfb2d.cli:main"]}
    for page in ("*.html", "*.json"):
        for path in (ROOT / "tfb2d").rglob(page):
            package = ".".join(path.relative_to(ROOT).parts[:-1])
            assert page in declared["package_data"].get(package, []), path
