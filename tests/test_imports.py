"""The arrows of the design: what imports what, read from the source; nothing is imported here."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = {"tfb2d", "tfb2d.train", "tfb2d.cli", "tfb2d.__main__"}  # who may import the pipeline
Graph = Mapping[str, set[str]]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> Iterator[str]:
    """Names of modules, and of what is taken from them, wherever they are imported; not what only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imported(node)


SOURCES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tfb2d").rglob("*.py")}
IMPORTS = {name: set(imported(tree)) for name, tree in SOURCES.items()}


def own(name: str) -> str:
    """The package's module that an imported name belongs to; "" where it is somebody else's."""
    if name in SOURCES:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in SOURCES else ""


MODULES: Graph = {name: {own(other) for other in others} - {"", name} for name, others in IMPORTS.items()}


def room(name: str) -> str:
    """A module's package below tfb2d, or the module itself where it stands alone."""
    return ".".join(name.split(".")[:2])


def rooms() -> Graph:
    graph: dict[str, set[str]] = {}
    for name, others in MODULES.items():
        graph.setdefault(room(name), set()).update(room(other) for other in others if room(other) != room(name))
    return graph


def circle(graph: Graph) -> list[str]:
    """Some modules that import each other in a circle; [] where none do."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for other in sorted(graph.get(name, ())):
                if actual := visit(other, [*path, name]):
                    return actual
            done.add(name)
        return []

    return next((actual for name in sorted(graph) if (actual := visit(name, []))), [])


def packages(prefix: str) -> set[str]:
    """First parts of all that the modules of a room import."""
    inside = (others for name, others in IMPORTS.items() if name == prefix or name.startswith(f"{prefix}."))
    return {name.split(".")[0] for others in inside for name in others}


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    tree = ast.parse("if TYPE_CHECKING:\n    import a\ndef f():\n    from b.c import d")
    assert list(imported(tree)) == ["b.c.d"]


def test_no_circles_among_modules_and_among_rooms() -> None:
    assert len(MODULES) > 100
    assert "tfb2d.teachers.stage" in MODULES["tfb2d.stages"]
    assert circle(MODULES) == []
    assert circle(rooms()) == []


def test_commands_alone_import_the_pipeline() -> None:
    assert {name for name, others in MODULES.items() if "tfb2d.pipeline" in others} <= COMMANDS


def test_what_a_run_folder_is_made_of_stands_below_all_rooms() -> None:
    below = {"tfb2d.atomic", "tfb2d.errors", "tfb2d.outcomes", "tfb2d.resume"}
    below |= {name for name in MODULES if room(name) == "tfb2d.config"}
    for name in (*below, "tfb2d.runs"):
        assert MODULES[name] <= below, name


def test_teachers_and_students_know_nothing_of_each_other() -> None:
    graph = rooms()
    assert "tfb2d.students" not in graph["tfb2d.teachers"]
    assert "tfb2d.teachers" not in graph["tfb2d.students"]


def test_each_keras_stays_where_it_belongs() -> None:
    assert {"keras", "keras_hub"} <= packages("tfb2d.teachers")
    assert "tf_keras" not in packages("tfb2d.teachers")
    assert "tf_keras" in packages("tfb2d.students")
    for name in ("tfb2d.students", "tfb2d.compress"):
        assert not {"keras", "keras_hub"} & packages(name), name
    assert {"keras", "keras_hub"} <= packages("tfb2d.twin")
    assert "tf_keras" not in packages("tfb2d.twin")


def test_twins_take_of_students_what_is_tensorflow_alone() -> None:
    taken = {
        other
        for name, others in MODULES.items()
        if room(name) == "tfb2d.twin"
        for other in others
        if room(other) == "tfb2d.students"
    }
    assert {"tfb2d.students.text", "tfb2d.students.text_spec"} <= taken
    assert taken <= {f"tfb2d.students.{name}" for name in ("text", "text_spec", "optimizer", "int8_table")}
    for name in taken:
        assert not {"keras", "tf_keras"} & {other.split(".")[0] for other in IMPORTS[name]}, name
