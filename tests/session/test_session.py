"""Time, and a day of it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from stream_server.audio.windows import DEFAULT_WINDOWS
from stream_server.config import SessionDefaults, SessionLimits
from stream_server.errors import ClientError
from stream_server.session.messages import Error, Final, Start
from stream_server.session.session import Session
from tests.support.audio import mark, silence, voice
from tests.support.conversation import Conversation, check_sums
from tests.support.scripted_engine import ScriptedEngine

LIMITS = SessionLimits(start_timeout_s=10, idle_timeout_s=60)


def new_session() -> Session:
    return Session("s", model="m", windows=DEFAULT_WINDOWS, defaults=SessionDefaults(), limits=LIMITS)


class TestTime:
    def test_a_client_that_never_starts_is_sent_away(self):
        session = new_session()
        assert session.next_deadline(100.0) == 110.0
        session.receive_time(109.9)
        assert not session.ended
        session.receive_time(110.0)
        assert session.ended
        (error,) = session.take_messages()
        assert (error.code, error.fatal) == ("start_timeout", True)

    def test_an_idle_session_is_stopped_with_its_text(self):
        talk = Conversation(limits=LIMITS, vad="none").audio(mark(voice(1.0)))
        assert talk.session.next_deadline(5.0) == 65.0
        talk.session.receive_time(65.0)
        talk.pump()
        assert talk.session.ended
        assert [error.code for error in talk.said(Error)] == ["idle_timeout"]
        (final,) = talk.said(Final)
        assert len(final.text) == 5 and final.reason == "stop"

    def test_whatever_a_client_says_puts_the_deadline_off(self):
        talk = Conversation(limits=LIMITS)
        for now, say in enumerate([lambda: talk.audio(b""), talk.flush, lambda: talk.audio(silence(0.1))]):
            say()
            assert talk.session.next_deadline(50.0 * now) == 50.0 * now + 60

    def test_a_client_that_waits_for_the_engine_is_not_idle(self):
        talk = Conversation(limits=LIMITS, vad="none").audio(voice(1.0))
        talk.session.next_deadline(0.0)
        talk.engine_dies()
        assert talk.session.next_deadline(1_000.0) == 1_060.0
        talk.engine_returns()
        talk.session.receive_time(1_060.0)
        talk.pump()
        assert talk.session.ended

    def test_nothing_is_due_once_the_client_has_stopped(self):
        talk = Conversation(limits=LIMITS)
        talk.engine_waits = True
        assert talk.stop().session.next_deadline(0.0) is None


def test_before_the_start_there_is_nothing_but_a_start():
    session = new_session()
    for message in (lambda: session.receive_audio(b"\0\0"), session.receive_stop):
        with pytest.raises(ClientError, match="new"):
            message()
    assert session.options is None and session.wants_audio and session.take_chunk() is None
    with pytest.raises(ClientError):
        session.receive_start(Start(sample_rate=1))
    session.receive_start(Start())
    assert session.options.sample_rate == 16_000


@pytest.mark.parametrize(("vad", "part", "hours"), [
    ("none", voice(3.0), 6.0),
    ("webrtc", np.concatenate([voice(2.0), silence(2.0)]), 0.5),
])
def test_hours_take_no_more_memory_or_time_than_minutes(vad, part, hours):
    talk = Conversation(ScriptedEngine(), vad=vad, partials=False)
    intake = talk.session._segments.intake
    blocks, laps = 0, []
    times = round(hours * 3_600 * 16_000 / len(part))
    began = time.process_time()
    for turn in range(times):
        talk.audio(part)
        talk.messages.clear()
        blocks = max(blocks, intake.ring.blocks)
        if (turn + 1) % (times // 4) == 0:
            laps.append(time.process_time() - began)
            began = time.process_time()
    assert blocks <= 3 + (35 if vad == "none" else 5)
    assert len(intake.decisions) <= 2
    assert laps[-1] < 3 * laps[0] + 0.5
    talk.stop()
    check_sums(talk.session)
    assert talk.session.statistics.received == times * len(part)
