from __future__ import annotations

import logging
import shlex

from stream_server.logs import LineFormatter


def line(message: str, *arguments: object, exc_info: object = None) -> str:
    record = logging.LogRecord("some.module", logging.WARNING, "file.py", 1, message, arguments, exc_info)
    return LineFormatter("door-0").format(record)


def test_an_event_is_fields_on_one_line() -> None:
    fields = dict(part.split("=", 1) for part in shlex.split(line("two words of %s", "mine")))
    assert fields["level"] == "warning"
    assert fields["process"] == "door-0"
    assert fields["logger"] == "some.module"
    assert fields["message"] == "two words of mine"


def test_what_a_client_sent_cannot_forge_a_line() -> None:
    said = line("peer %s", 'x"\nlevel=error message=\x1b[2J"')
    assert "\n" not in said and "\x1b" not in said
    assert '\\"\\nlevel=error' in said


def test_a_traceback_stays_on_its_line() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError as error:
        said = line("failed", exc_info=(type(error), error, error.__traceback__))
    assert "\n" not in said
    assert "ValueError: broken\\nin two" in said
