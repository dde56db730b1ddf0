"""Logs: one line an event, `key=value`, to standard error. What people said is never in them."""

from __future__ import annotations

import logging
import sys
import time

NOISY = ("uvicorn", "uvicorn.error", "websockets", "asyncio", "aiortc", "aioice", "multipart")


class LineFormatter(logging.Formatter):
    """logfmt: every event is one line, tracebacks too."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def configure(process: str, level: str) -> None:
    """Sends this process's logs to standard error, from `level` up; libraries speak from warning up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(process))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))


def _quoted(text: str) -> str:
    if text and not any(character in ' "=\\' or not character.isprintable() for character in text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
