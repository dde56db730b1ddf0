"""A session and a scripted engine in one room, and what they said to each other."""

from __future__ import annotations

import numpy as np

from stream_server.audio.windows import DEFAULT_WINDOWS, Window
from stream_server.config import SessionDefaults, SessionLimits
from stream_server.session.messages import (
    Ended,
    Final,
    Flush,
    Flushed,
    Hotwords,
    Partial,
    ServerMessage,
    Speech,
    Start,
)
from stream_server.session.session import Session
from stream_server.speech.detectors import Detectors
from stream_server.speech.hotwords import EMPTY, HotwordList
from tests.support.scripted_engine import ScriptedEngine


class Conversation:
    """Each thing said is followed by as many steps of the engine as there is work, unless `engine_waits`.

    A detector that needs its net is judged before, unless `jury_waits`.
    """

    def __init__(self, engine: ScriptedEngine | None = None, *, limits: SessionLimits | None = None,
                 windows: tuple[Window, ...] = DEFAULT_WINDOWS, detectors: Detectors = Detectors(),  # noqa: B008
                 server_hotwords: HotwordList = EMPTY, **start: object) -> None:
        self.engine = engine or ScriptedEngine()
        self.session = Session("s", model="scripted", windows=windows, defaults=SessionDefaults(),
                               limits=limits or SessionLimits(), detectors=detectors, hotwords=server_hotwords)
        self.messages: list[ServerMessage] = []
        self.engine_waits = False
        self.jury_waits = False
        self.session.receive_start(Start(**start))
        self.pump()

    def audio(self, data: np.ndarray | bytes, cut: int | None = None) -> Conversation:
        """Sends it whole, or cut into messages of so many bytes."""
        data = data if isinstance(data, bytes) else data.tobytes()
        for offset in range(0, len(data), cut or len(data) or 1):
            self.session.receive_audio(data[offset : offset + (cut or len(data))])
            self.pump()
        return self

    def flush(self, id: str = "") -> Conversation:
        self.session.receive_flush(Flush(id=id))
        self.pump()
        return self

    def hotwords(self, hotwords: HotwordList) -> Conversation:
        self.session.receive_hotwords(Hotwords(hotwords=hotwords))
        self.pump()
        return self

    def stop(self) -> Conversation:
        self.session.receive_stop()
        self.pump()
        return self

    def engine_dies(self) -> Conversation:
        """Whatever it was at is lost."""
        self.session.take_chunk()
        self.engine.forget_everything()
        self.session.receive_engine_lost()
        self.pump()
        return self

    def engine_returns(self) -> Conversation:
        self.session.receive_engine_back()
        self.pump()
        return self

    def pump(self) -> None:
        while not self.jury_waits and (vad := self.session.unjudged) is not None:
            vad.net.judge([vad])
            self.session.receive_scores()
            self._work()
        self._work()
        self.messages += self.session.take_messages()

    def _work(self) -> None:
        while not self.engine_waits and (chunk := self.session.take_chunk()) is not None:
            assert self.session.take_chunk() is None, "one chunk in flight"
            self.session.receive_hypothesis(self.engine.answer(chunk))

    def said(self, kind: type) -> list:
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def finals(self) -> list[Final]:
        return self.said(Final)

    @property
    def text(self) -> str:
        """The finals' texts one after the other."""
        return "".join(final.text for final in self.finals)

    @property
    def ended(self) -> Ended:
        assert self.session.ended
        (ended,) = self.said(Ended)
        return ended


def check_order(messages: list[ServerMessage]) -> None:
    """Segments in order, each opened once and closed once; revisions rise; stable text stays; nothing after the end."""
    open_segment, next_segment, revision, stable, latest_end = None, 0, 0, "", 0
    for place, message in enumerate(messages):
        if isinstance(message, Speech):
            assert open_segment is None and message.segment == next_segment
            assert message.start_ms >= latest_end
            open_segment, next_segment, revision, stable = message.segment, next_segment + 1, 0, ""
        elif isinstance(message, Partial | Final):
            assert message.segment == open_segment
            assert message.revision > revision
            assert message.text.startswith(stable), "stable text was taken back"
            revision = message.revision
            _check_times(message)
            if isinstance(message, Partial):
                stable = message.text[: message.stable]
                assert len(stable) == message.stable
            else:
                open_segment, latest_end = None, message.end_ms
        elif isinstance(message, Flushed):
            assert open_segment is None or message.at_ms >= latest_end
        elif isinstance(message, Ended):
            assert place == len(messages) - 1 and open_segment is None and message.segments == next_segment


def _check_times(message: Partial | Final) -> None:
    times = [time for _, start, end in message.tokens for time in (start, end)]
    assert times == sorted(times)
    assert not times or message.start_ms <= times[0] and times[-1] <= message.end_ms
    assert message.text.replace(" ", "") == "".join(text for text, _, _ in message.tokens)
    assert len(message.confidences) == len(message.tokens)
    assert all(0 <= confidence <= 1 for confidence in message.confidences)


def check_sums(session: Session) -> None:
    """Every sample was recognised, silent or dropped."""
    ledger = session.statistics
    assert ledger.received == ledger.recognised + ledger.silent + ledger.dropped, ledger
