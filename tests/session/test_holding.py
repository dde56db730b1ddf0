"""Audio that is held for a while changes nothing: neither what is said nor when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import Window
from stream_server.config import SessionLimits
from stream_server.doors.hold import Hold, PlainHold
from stream_server.errors import ClientError
from stream_server.session.held import Held
from stream_server.session.messages import Hotwords, Resume
from stream_server.speech.hotwords import HotwordList
from tests.session.test_invariants import WINDOWS, Say, events, play
from tests.support.audio import silence, voice
from tests.support.conversation import Conversation
from tests.support.scripted_engine import ScriptedEngine

HOLDS = sorted({Held, PlainHold, Hold}, key=lambda kind: kind.__module__ + kind.__name__)
"""The compiled one among them, where it was built."""


class Watched(Conversation):
    """Keeps how much had been said after each event; with `at_once` the session holds nothing."""

    def __init__(self, *, at_once: bool, fail_on=None, **named) -> None:
        self.said_by: list[int] = []
        super().__init__(ScriptedEngine(fail_on=fail_on) if fail_on else None, **named)
        if at_once:
            self.session._holdable = lambda: 0

    def pump(self) -> None:
        super().pump()
        self.said_by.append(len(self.messages))


def both(play_it, new_held=Held, **named) -> tuple[Watched, Watched]:
    held, at_once = Watched(at_once=False, new_held=new_held, **named), Watched(at_once=True, **named)
    play_it(held)
    play_it(at_once)
    return held, at_once


def check_same(held: Watched, at_once: Watched) -> None:
    assert held.messages == at_once.messages
    assert held.said_by == at_once.said_by
    assert held.session.statistics == at_once.session.statistics


@settings(max_examples=80, deadline=None)
@given(script=st.lists(events, max_size=14), window=st.sampled_from(WINDOWS), vad=st.sampled_from(["webrtc", "none"]),
       end_silence=st.sampled_from([100, 400, 800]), min_speech=st.sampled_from([20, 100, 500]),
       max_segment=st.sampled_from([2_000, 3_700]), failing=st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6))),
       kind=st.sampled_from(HOLDS))
def test_the_same_is_said_at_the_same_time(script, window, vad, end_silence, min_speech, max_segment, failing, kind):
    check_same(*both(lambda talk: play(script, talk), kind, windows=(window,), vad=vad, end_silence_ms=end_silence,
                     min_speech_ms=min_speech, max_segment_ms=max_segment,
                     fail_on=lambda generation, sequence: (generation, sequence) in failing))


@settings(max_examples=10, deadline=None)
@given(script=st.lists(st.builds(Say, st.sampled_from([0.1, 0.7, 1.6]), st.booleans(), st.integers(1, 3_333)),
                       max_size=6), encoding=st.sampled_from(["pcm_f32le", "mulaw", "alaw"]))
def test_in_every_encoding(script, encoding):
    check_same(*both(lambda talk: play(script, talk), encoding=encoding))


def test_most_messages_of_speech_are_held():
    talk = Conversation(vad="none", windows=(Window(10, 5),))
    talk.audio(voice(1.2))
    held = [talk.session.held.take(voice(0.06).tobytes()) or talk.audio(voice(0.06)) for _ in range(100)].count(True)
    assert 85 <= held <= 90


@pytest.mark.parametrize("message", [b"", bytes(640)])
def test_nothing_is_held_before_the_first_audio_and_after_the_stop(message):
    talk = Conversation()
    assert not talk.session.held.take(message)
    talk.audio(silence(0.1)).stop()
    assert not talk.session.held.take(message)


def test_however_small_messages_are_few_are_held():
    talk = Conversation(vad="none").audio(voice(0.2))
    assert sum(talk.session.held.take(b"x") for _ in range(100_000)) <= 2 * 9_600
    assert not talk.session.held.take(b"")


def test_new_lists_do_not_let_it_be_held_for_longer():
    talk = Conversation(vad="none").audio(voice(0.2))
    heard = talk.session.intake.ring.end
    for number in range(400):
        if not talk.session.held.take(voice(0.06).tobytes()):
            talk.audio(voice(0.06))
        if number % 8 == 7:
            talk.session.receive_hotwords(Hotwords(hotwords=HotwordList.of([(f"词{number}", 20)])))
            talk.pump()
    talk.session.receive_stop()
    assert talk.session.intake.ring.end - heard == 400 * 960
    assert talk.engine.chunks > 30


def test_a_flush_before_a_seam_is_reached_hears_nothing_twice():
    talk = Conversation(vad="none").audio(voice(2.0))
    talk.session.receive_resume(Resume(token="", overlap_ms=1000))
    talk.audio(voice(2.0)[16_000:22_400]).flush("a").audio(voice(3.0)[22_400:]).stop()
    assert talk.session.statistics.received == talk.session.intake.position == 3 * 16_000


def test_a_client_that_comes_back_need_not_send_again_what_is_held():
    talk = Conversation(vad="none").audio(voice(0.2))
    assert talk.session.held.take(voice(0.06).tobytes())
    talk.session.receive_resume(Resume(token="", encoding="mulaw"))
    assert talk.session.intake.position == talk.session.intake.ring.end == 0.26 * 16_000
    assert not talk.session.held.take(bytes(100))
    talk.audio(bytes(800)).stop()
    assert talk.session.statistics.received == 0.31 * 16_000


def test_what_is_held_counts_when_the_client_goes():
    talk = Conversation(vad="none").audio(voice(0.2))
    assert talk.session.held.take(voice(0.06).tobytes())
    talk.session.receive_disconnect()
    assert talk.session.statistics.received == 0.26 * 16_000


@pytest.mark.parametrize("length", [0.3, 0.5, 3.0])
def test_a_client_that_heeds_nothing_is_refused_at_the_same_message(length):
    def flood(talk: Watched) -> None:
        talk.engine_waits = True
        for _ in range(2_000):
            try:
                talk.audio(voice(length))
            except ClientError as error:
                talk.refused = len(talk.said_by), error.code
                return

    held, at_once = both(flood, vad="none", limits=SessionLimits(max_buffered_s=1.0))
    assert held.refused == at_once.refused
    assert held.refused[1] == "too_large"
    check_same(held, at_once)
    assert held.session.wants_audio == at_once.session.wants_audio is False
    assert np.array_equal(*(talk.session.take_chunk().samples for talk in (held, at_once)))


@pytest.mark.parametrize("kind", HOLDS)
def test_a_former_connection_has_no_room_in_what_the_next_one_is_held_in(kind):
    talk = Conversation(vad="none", new_held=kind).audio(voice(0.2))
    former = talk.session.held
    assert former.take(voice(0.06).tobytes())
    talk.session.receive_resume(Resume(token=""))
    talk.audio(voice(0.06))
    assert talk.session.held.take(voice(0.06).tobytes()) and not former.take(b"ab")
    talk.stop()
    assert talk.session.statistics.received == 0.38 * 16_000
