"""Imports go down only. The table is the house's plan; this test walks the imports and holds it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "stream_server"

FLOORS = {
    "stream_server.errors": 0, "stream_server.config": 0, "stream_server.units": 0, "stream_server.interpreter": 0,
    "stream_server.audio": 1, "stream_server.speech": 1,
    "stream_server.session": 2, "stream_server.dialects": 2,
    "stream_server.engine": 3,
    "stream_server.models": 4,
    "stream_server.doors": 5, "stream_server.rooms": 5,
    "stream_server.app": 6, "stream_server.supervisor": 6, "stream_server.cli": 6, "stream_server.metrics": 6,
    "stream_server.logs": 6, "stream_server.tls": 6, "stream_server.doctor": 6, "stream_server.__main__": 6,
    "stream_server.bench": 6,
}
MAY_IMPORT = {
    0: {0},
    1: {0, 1},
    2: {0, 1, 2},
    3: {0, 1, 3},
    4: {0, 1, 3, 4},
    5: {0, 1, 2, 3, 5},
    6: {0, 1, 2, 3, 4, 5, 6},
}
NEVER = {
    0: {"numpy", "torch", "asyncio"},
    1: {"asyncio", "threading", "time", "torch"},
    2: {"asyncio", "threading", "time", "torch", "zmq"},
    3: {"torch", "funasr"},
    4: {"asyncio"},
    5: {"torch", "torchaudio", "funasr"},
    6: set(),
}
LAZY_ONLY = {"torch", "torchaudio", "funasr", "aiortc", "ray", "modelscope", "transformers"}
"""Loaded where they are first used: at the top of a module only on the models' floor."""


def modules() -> list[str]:
    return [_name(path) for path in sorted(PACKAGE.rglob("*.py"))]


def floor(module: str) -> int:
    """The floor of a module; the package's own `__init__` belongs to the lowest, since everyone loads it."""
    if module == "stream_server":
        return 0
    home = ".".join(module.split(".")[:2])
    assert home in FLOORS, f"{module} has no floor: add it to the table"
    return FLOORS[home]


def imports(module: str, top_only: bool = False) -> Iterator[str]:
    """What a module imports by full name, inside functions too unless `top_only`; not what only types need."""
    tree = ast.parse(_path(module).read_text("utf-8"))
    for node in _reached(tree, top_only):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            if node.module == "stream_server":
                for alias in node.names:
                    submodule = f"stream_server.{alias.name}"
                    yield submodule if submodule in FLOORS else "stream_server.errors"
            else:
                yield node.module


def _reached(node: ast.AST, top_only: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if top_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from _reached(child, top_only)


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _path(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


MODULES = modules()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_floor_may(module: str) -> None:
    own = floor(module)
    for imported in imports(module):
        if not imported.startswith("stream_server."):
            assert imported.partition(".")[0] not in NEVER[own], f"{module} imports {imported}"
            continue
        assert floor(imported) in MAY_IMPORT[own], f"{module} (floor {own}) imports {imported}"


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_are_imported_at_the_top_on_the_models_floor_alone(module: str) -> None:
    if floor(module) == 4:
        return
    found = {name.partition(".")[0] for name in imports(module, top_only=True)}
    assert not found & LAZY_ONLY


@pytest.mark.parametrize(("group", "other"), [("stream_server.engine", "stream_server.session"),
                                              ("stream_server.engine", "stream_server.dialects"),
                                              ("stream_server.session", "stream_server.engine"),
                                              ("stream_server.dialects", "stream_server.engine")])
def test_conversation_and_engine_do_not_know_each_other(group: str, other: str) -> None:
    for module in MODULES:
        if module.startswith(group):
            assert not [name for name in imports(module) if name.startswith(other)], module
