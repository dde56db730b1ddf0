"""House rules that a machine can see: ruff is silent, files and functions stay within their budgets."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
FOLDERS = ("stream_server", "clients", "recipes", "benchmarks")


def test_ruff_finds_nothing() -> None:
    found = subprocess.run([sys.executable, "-m", "ruff", "check", "--output-format", "concise", TOP],
                           capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_files_and_functions_stay_within_their_budgets() -> None:
    sources = [path for folder in FOLDERS for path in (TOP / folder).rglob("*.py")]
    assert len(sources) > 50
    assert [excess for path in sources for excess in _excesses(path)] == []


def _excesses(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(TOP)
    lines = text.count("\n")
    found = [f"{name}: {lines} lines"] if lines > LONGEST_FILE else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            if length > LONGEST_FUNCTION:
                found.append(f"{name}:{node.lineno}: {node.name} has {length} lines")
    return found
