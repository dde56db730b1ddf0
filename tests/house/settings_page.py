"""Writes docs/settings.md from config.py: python -m tests.house.settings_page"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from stream_server.cli import Option, options

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"

HEAD = """# Settings

What `stream-server serve` (and `./run_stream.sh`) takes. Each setting is a flag and an environment variable; the flag
wins. Settings that begin with `--session-` are what holds for a session that does not say otherwise; those that begin
with `--limits-` are what a session may take of the server.

This page is written from `stream_server/config.py` by `python -m tests.house.settings_page`; a test compares the two.

| flag | environment | default | allowed | meaning |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """The page as it ought to be."""
    return HEAD + "".join(_row(option) for option in options())


def _row(option: Option) -> str:
    default = option.field.default
    if isinstance(default, tuple):
        default = " ".join(default)
    shown = "" if default is None else f"`{default}`"
    cells = (f"`{option.flag}`", f"`{option.variable}`", shown, _allowed(option), option.field.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _allowed(option: Option) -> str:
    words = [f"`{word}`" for word in get_args(option.field.annotation) if isinstance(word, str)]
    if words:
        return ", ".join(words)
    bounds = []
    for constraint in option.field.metadata:
        for name, said in (("ge", "from {}"), ("gt", "more than {}"), ("le", "to {}"), ("lt", "less than {}"),
                           ("min_length", "at least {}"), ("max_length", "at most {}")):
            if getattr(constraint, name, None) is not None:
                bounds.append(said.format(getattr(constraint, name)))
        if getattr(constraint, "pattern", None):
            bounds.append(f"`{constraint.pattern}`")
    return " ".join(bounds)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
