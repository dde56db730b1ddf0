"""The protocol of sherpa-onnx's online WebSocket servers, in C++ (`sherpa-onnx-online-websocket-server`) and Python.

Audio goes out as 32-bit floats, the text `Done` ends it. The text of a segment comes whole each time, as a JSON object
with `text` and `segment`. The C++ server says `is_final` of a segment's last message and ends with the text `Done!`;
the Python one only counts `segment` on, and ends by closing the connection.
"""

from __future__ import annotations

import json

from stream_client.errors import ServerError
from stream_client.events import Ended, Event, Final, Partial, Ready
from stream_client.wishes import Wishes


class SherpaDialect:
    """One connection; see `stream_client.dialects.Dialect`. There is no first message, and nothing to wish for."""

    path = "/"
    subprotocols: tuple[str, ...] = ()
    patience_s = None

    def __init__(self, wishes: Wishes) -> None:
        for name in Wishes.__dataclass_fields__:
            if getattr(wishes, name) not in (None, "", ()):
                raise ValueError(f"{name} cannot be said in sherpa-onnx's protocol: its server decides")
        self.ended = False
        self._segment = 0
        self._servers_segment: object = None
        self._text = ""
        self._revision = 0

    def open(self) -> tuple[str, list[Event]]:
        return "", [Ready(encoding="pcm_f32le")]

    def flush(self, id: str) -> str:
        raise ValueError("sherpa-onnx's protocol cannot end a segment without ending the speech")

    def close(self) -> str:
        return "Done"

    def sent(self, audio: bytes) -> None:
        pass

    def receive(self, text: str) -> list[Event]:
        if text == "Done!":
            return [*self._end_segment(), self.give_up()]
        try:
            fields = json.loads(text)
            said, segment = fields["text"], fields.get("segment")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ServerError("bad_answer", f"the server sent something that is not of sherpa-onnx's protocol: "
                              f"{text[:80]!r}") from None
        events: list[Event] = []
        if segment != self._servers_segment:
            events += self._end_segment()
            self._servers_segment = segment
        if said and said != self._text:
            self._text = said
            self._revision += 1
            events.append(Partial(segment=self._segment, text=said, revision=self._revision))
        if fields.get("is_final"):
            events += self._end_segment()
        return events

    def give_up(self) -> Ended:
        self.ended = True
        return Ended(segments=self._segment)

    def closed(self) -> list[Event]:
        """The server closed the connection after the end of the audio: that, too, is an end."""
        return [*self._end_segment(), self.give_up()]

    def _end_segment(self) -> list[Event]:
        if not self._text:
            return []
        final = Final(segment=self._segment, text=self._text, revision=self._revision + 1)
        self._segment += 1
        self._text, self._revision = "", 0
        return [final]
