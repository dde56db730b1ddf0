"""What the commands print: text for people, or one JSON object a line for programs."""

from __future__ import annotations

import dataclasses
import json
from typing import Protocol, TextIO

from stream_client.errors import ServerError, StreamClientError
from stream_client.events import Event, Hotwords, Problem, Ready, to_fields
from stream_client.terminal import Terminal
from stream_client.timings import Timings


class Report(Protocol):
    """`source` is the file or microphone; `shown_as` its name where several are shown at once, else empty."""

    def heading(self, source: str) -> None:
        """What follows is about this source."""

    def event(self, event: Event, source: str, shown_as: str) -> None:
        """Something was recognised."""

    def timings(self, timings: Timings, source: str, shown_as: str) -> None:
        """How long it took."""

    def note(self, text: str) -> None:
        """Something that a person at the keyboard should know now."""

    def error(self, error: StreamClientError, source: str, shown_as: str) -> None:
        """Why the source was not recognised, or not to its end."""


class TextReport:
    """Speech goes to `out`, all else to `err`."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._terminal = Terminal(out)
        self._err = err

    def heading(self, source: str) -> None:
        self._terminal.line(f"{source}:")

    def event(self, event: Event, source: str, shown_as: str) -> None:
        if isinstance(event, Problem):
            self.note(f"the server says: {event.message}")
        elif isinstance(event, Ready) and event.room is not None:
            kept = "; its sound is kept" if event.room.get("recorded") else ""
            self.note(f"speaking in the meeting {event.room.get('name', '')}{kept}")
        elif isinstance(event, Hotwords) and event.unspelt:
            self.note(f"the model cannot write: {', '.join(event.unspelt)}")
        else:
            self._terminal.show(event, shown_as)

    def timings(self, timings: Timings, source: str, shown_as: str) -> None:
        self.note(f"{shown_as}: {timings}" if shown_as else str(timings))

    def note(self, text: str) -> None:
        self._terminal.clear()
        print(text, file=self._err, flush=True)

    def error(self, error: StreamClientError, source: str, shown_as: str) -> None:
        about = f"{shown_as}: " if shown_as and shown_as not in str(error) else ""
        self.note(f"stream-client: {about}{error}")


class JsonReport:
    """Everything goes to `out`; each object has `type` and `source`. Notes for people are left out."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def heading(self, source: str) -> None:
        pass

    def event(self, event: Event, source: str, shown_as: str) -> None:
        self._print(source, to_fields(event))

    def timings(self, timings: Timings, source: str, shown_as: str) -> None:
        self._print(source, {"type": "timings", **dataclasses.asdict(timings)})

    def note(self, text: str) -> None:
        pass

    def error(self, error: StreamClientError, source: str, shown_as: str) -> None:
        fields: dict[str, object] = {"type": "error", "code": "client", "message": str(error)}
        if isinstance(error, ServerError):
            fields |= {"code": error.code, "message": error.message, "field": error.field, "value": error.value,
                       "allowed": error.allowed, "retry_after_s": error.retry_after_s}
        self._print(source, fields)

    def _print(self, source: str, fields: dict[str, object]) -> None:
        print(json.dumps({**fields, "source": source}, ensure_ascii=False), file=self._out, flush=True)
