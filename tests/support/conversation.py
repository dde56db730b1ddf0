"""A session and a scripted engine in one room, and what they said to each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream_server.audio.windows import DEFAULT_WINDOWS, Window
from stream_server.config import SessionDefaults, SessionLimits
from stream_server.session.held import Held
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
from stream_server.speech.scribe import Scribe
from tests.support.scripted_engine import ScriptedEngine


class Conversation:
    """Each thing said is followed by as many steps of the engine as there is work, unless `engine_waits`.

    With a `second_model`, second passes come as soon as they can, unless `seconds_wait`, and the engine is told
    `guesses`. A detector that needs its net is judged before, unless `jury_waits`.
    """

    def __init__(self, engine: ScriptedEngine | None = None, *, limits: SessionLimits | None = None,
                 windows: tuple[Window, ...] = DEFAULT_WINDOWS, detectors: Detectors = Detectors(),  # noqa: B008
                 server_hotwords: HotwordList = EMPTY, second_model: bool = False,
                 scribe: Scribe | None = None, new_held: Callable[[], Held] = Held, **start: object) -> None:
        self.engine = engine or ScriptedEngine()
        self.session = Session("s", model="scripted", windows=windows, defaults=SessionDefaults(),
                               limits=limits or SessionLimits(), detectors=detectors, hotwords=server_hotwords,
                               second_model=second_model, punctuation=scribe is not None, itn=scribe is not None,
                               new_held=new_held)
        self.scribe = scribe
        self.messages: list[ServerMessage] = []
        self.engine_waits = False
        self.jury_waits = False
        self.seconds_wait = False
        self.guesses = True
        self.scribe_waits = False
        self.now = 0.0
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

    def wait(self, seconds: float) -> Conversation:
        """Time passes."""
        self.now += seconds
        self.session.receive_time(self.now)
        self.pump()
        return self

    def pump(self) -> None:
        while not self.jury_waits and (vad := self.session.unjudged) is not None:
            vad.net.judge([vad])
            self.session.receive_scores()
            self._work()
        self._work()
        if self.engine.second_passes or self.scribe is not None:
            # What holds the session asks for the next deadline whenever something has moved.
            self.session.next_deadline(self.now)
        self.messages += self.session.take_messages()

    def _work(self) -> None:
        if not self.engine_waits:
            self._guess()
        while not self.engine_waits and (self._step() or self._hear_again() or self._write()):
            pass

    def _step(self) -> bool:
        chunk = self.session.take_chunk()
        if chunk is None:
            return False
        assert self.session.take_chunk() is None, "one chunk in flight"
        hypothesis = self.engine.answer(chunk)
        self._guess()
        self.session.receive_hypothesis(hypothesis)
        return True

    def _guess(self) -> None:
        if self.guesses and self.session.guesses and (guess := self.session.take_guess()) is not None:
            self.engine.guess(guess)

    def _hear_again(self) -> bool:
        if self.seconds_wait or not self.engine.second_passes:
            return False
        self.session.receive_second_pass(self.engine.second_passes.pop(0))
        return True

    def _write(self) -> bool:
        if self.scribe_waits or (text := self.session.take_text()) is None:
            return False
        segment, spoken = text
        assert self.session.take_text() is None, "one final at a time"
        (scribed,) = self.scribe.write([spoken])
        self.session.receive_written(segment, scribed)
        return True

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
    """Segments in order, each opened once and closed once, also where one opens before the final of another; revisions
    rise; stable text stays, but where the second pass wrote another; nothing after the end."""
    opened: dict[int, tuple[int, str]] = {}
    begun = closed = 0
    latest_end = 0
    for place, message in enumerate(messages):
        if isinstance(message, Speech):
            assert message.segment == begun and message.start_ms >= latest_end
            opened[begun] = (0, "")
            begun += 1
        elif isinstance(message, Partial | Final):
            assert message.segment in opened, "after its final, or before its beginning"
            revision, stable = opened[message.segment]
            assert message.revision > revision
            _check_times(message)
            if isinstance(message, Partial):
                assert message.segment == begun - 1, "text of a segment that is no longer open"
                assert message.text.startswith(stable), "stable text was taken back"
                stable = message.text[: message.stable]
                assert len(stable) == message.stable
                opened[message.segment] = (message.revision, stable)
            else:
                assert message.segment == closed, "finals in order"
                assert message.second_pass or _spoken(message).startswith(stable), "stable text was taken back"
                closed, latest_end = closed + 1, message.end_ms
                del opened[message.segment]
        elif isinstance(message, Flushed):
            assert not opened or message.at_ms >= latest_end
        elif isinstance(message, Ended):
            assert place == len(messages) - 1 and not opened and message.segments == begun


def _spoken(message: Partial | Final) -> str:
    return message.text if isinstance(message, Partial) else message.spoken or message.text


def _check_times(message: Partial | Final) -> None:
    times = [time for _, start, end in message.tokens for time in (start, end)]
    assert times == sorted(times)
    assert not times or message.start_ms <= times[0] and times[-1] <= message.end_ms
    assert _spoken(message).replace(" ", "") == "".join(text for text, _, _ in message.tokens)
    assert len(message.confidences) == len(message.tokens)
    assert all(0 <= confidence <= 1 for confidence in message.confidences)


def check_sums(session: Session) -> None:
    """Every sample was recognised, silent or dropped."""
    ledger = session.statistics
    assert ledger.received == ledger.recognised + ledger.silent + ledger.dropped, ledger
