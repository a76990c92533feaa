"""Every import of the package is declared in setup.py: as a requirement, or in the extra of the room that imports it."""

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import setuptools

from tests.evaluation.tiny_model import REVIEWS, expected_logits, export
from tfb2d.serving.local import LocalServer

ROOT = Path(__file__).parents[1]
ROOMS = {  # what these may import beside the requirements
    "tfb2d/serving/server": "server",
    "tfb2d/serving": "client",
    "tfb2d/monitor": "client",  # PredictionLog records are protobuf
    "tfb2d/bench": "bench",
    "tfb2d/edge": "edge",
    "tfb2d/search": "search",
    "tfb2d/search/milvus_index.py": "milvus",
    "tfb2d/scale": "ray",
    "tfb2d/scale/near.py": "dedup",
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
            if f"{where}/".startswith(f"{room}/"):
                allowed |= names(declared["extras_require"][extra])
        if where.startswith("tfb2d/bench/"):  # it measures servers
            allowed |= names(declared["extras_require"]["client"])
        for module in sorted(imports(path) - OPTIONAL):
            owners = (
                {"protobuf"}
                if module == "google.protobuf"
                else {name.lower().replace("_", "-") for name in distributions.get(module, [module])}
            )
            if not owners & allowed:
                wrong.append(f"{where} imports {module} of {', '.join(sorted(owners))}")
    assert not wrong, "\n".join(wrong)


def test_requirements_are_few_and_the_projects_own_are_kept(declared: dict[str, Any]) -> None:
    required = names(declared["install_requires"])
    assert len(required) <= 22
    assert {"keras-nlp", "tensorflow-serving-api", "tensorflow-model-optimization", "absl-py"} <= required
    for extra in ("server", "client", "edge", "bench", "search", "milvus"):
        assert names(declared["extras_require"][extra]) <= names(declared["extras_require"]["dev"])


def test_the_command_and_the_version(declared: dict[str, Any]) -> None:
    import tfb2d

    assert declared["version"] == tfb2d.__version__
    assert declared["entry_points"] == {"console_scripts": ["tfb2d = tfb2d.cli:main"]}
    for page in ("*.html", "*.json", "*.js"):
        for path in (ROOT / "tfb2d").rglob(page):
            package = ".".join(path.relative_to(ROOT).parts[:-1])
            assert page in declared["package_data"].get(package, []), path


@pytest.mark.slow
def test_the_client_alone_asks_a_server(tmp_path: Path) -> None:
    # BUILD.md's way to install on a small device.
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    scripts = tmp_path / "venv/bin"
    pip = [scripts / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "tfb2d", source / "tfb2d", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([*pip, "--no-deps", source], check=True)
    subprocess.run([*pip, "grpcio", "protobuf", "numpy"], check=True)
    export(tmp_path / "reviews/1", REVIEWS)
    ask = "import sys, tfb2d; print(tfb2d.Client(sys.argv[1], 'reviews').score(['a good film'])[0])"
    command = ["--embedded", "--model_name=reviews", f"--model_base_path={tmp_path / 'reviews'}"]
    with LocalServer(command) as server:
        words = ["query", f"--address={server.address}", "--model=reviews", "--json", "a good film"]
        outputs = [
            subprocess.run(one, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
            for one in ([scripts / "python", "-c", ask, server.address], [scripts / "tfb2d", *words])
        ]
    expected = 1 / (1 + np.exp(-expected_logits(REVIEWS, [["a good film"]])[0]))
    assert float(outputs[0]) == pytest.approx(expected, abs=1e-5)
    assert json.loads(outputs[1])["score"] == pytest.approx(expected, abs=1e-5)
    missing = subprocess.run([scripts / "tfb2d", "serve", "--embedded"], capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert "pip install 'tfb2d[server]'" in missing.stderr
