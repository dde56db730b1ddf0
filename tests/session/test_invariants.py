"""What holds for every session, whatever is said in whatever order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import Window
from stream_server.config import SessionLimits
from stream_server.session.messages import Flushed
from tests.support.audio import mark, markers, silence, voice
from tests.support.conversation import Conversation, check_order, check_sums
from tests.support.scripted_engine import ScriptedEngine, half_words, han

WINDOWS = [Window(10, 5), Window(8, 4), Window(4, 4), Window(2, 2), Window(1, 6), Window(3, 0, encoder_look_back=0)]


@dataclass(frozen=True)
class Say:
    """`seconds` of voice or silence in messages of `cut` bytes."""

    seconds: float
    voiced: bool
    cut: int


events = st.one_of(
    st.builds(Say, st.sampled_from([0.003, 0.1, 0.31, 0.7, 1.6, 4.0]), st.booleans(), st.integers(300, 9_999)),
    st.sampled_from(["flush", "engine dies", "engine returns", "engine waits", "engine works"]),
)


def play(script: list[Say | str], talk: Conversation) -> np.ndarray:
    """Plays the script to its end; the audio that was said."""
    said, number, away = [], 0, False
    for event in script:
        if isinstance(event, Say):
            sound = mark(voice(event.seconds), every=0.09, first=number) if event.voiced else silence(event.seconds)
            number += len(markers(sound))
            said.append(sound)
            talk.audio(sound, cut=event.cut)
        elif event == "flush":
            talk.flush()
        elif event == "engine dies" and not away:
            away = True
            talk.engine_dies()
        elif event == "engine returns" and away:
            away = False
            talk.engine_returns()
        elif event in ("engine waits", "engine works"):
            talk.engine_waits = event == "engine waits"
            talk.pump()
        elif event in ("second passes wait", "second passes come"):
            talk.seconds_wait = event == "second passes wait"
            talk.pump()
        elif event == "time passes":
            talk.wait(0.6 * SessionLimits().final_deadline_ms / 1000)
    talk.engine_waits = talk.seconds_wait = False
    if away:
        talk.engine_returns()
    talk.stop()
    return np.concatenate([silence(0), *said])


def numbers_heard(talk: Conversation) -> list[int]:
    return [ord(character) - ord(han(0)) for final in talk.finals for character in final.text]


@settings(max_examples=60, deadline=None)
@given(script=st.lists(events, max_size=14), window=st.sampled_from(WINDOWS),
       max_segment=st.sampled_from([2_000, 3_700]))
def test_push_to_talk_hears_every_marker_once_and_in_order(script, window, max_segment):
    talk = Conversation(windows=(window,), vad="none", max_segment_ms=max_segment)
    audio = play(script, talk)
    check_order(talk.messages)
    check_sums(talk.session)
    if talk.session.statistics.failures == 0:
        assert numbers_heard(talk) == [number for _, number in markers(audio)]
        assert talk.session.statistics.recognised == len(audio)
    assert len(talk.said(Flushed)) == talk.session.statistics.flushes


@settings(max_examples=60, deadline=None)
@given(script=st.lists(events, max_size=14), window=st.sampled_from(WINDOWS), pre_roll=st.sampled_from([None, 0, 900]),
       end_silence=st.sampled_from([100, 400, 800]))
def test_with_detection_no_marker_is_doubled_and_none_of_clear_speech_is_lost(script, window, pre_roll, end_silence):
    talk = Conversation(windows=(window,), pre_roll_ms=pre_roll, end_silence_ms=end_silence, max_segment_ms=2_500)
    audio = play(script, talk)
    check_order(talk.messages)
    check_sums(talk.session)
    heard = numbers_heard(talk)
    assert heard == sorted(set(heard))
    whole = all(event.seconds > 0.3 for event in script if isinstance(event, Say) and event.voiced)
    if pre_roll != 0 and whole and talk.session.statistics.failures == 0:
        assert heard == [number for _, number in markers(audio)]


@settings(max_examples=40, deadline=None)
@given(script=st.lists(events, max_size=10), failing=st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6))))
def test_failures_lose_only_what_is_counted_as_dropped(script, failing):
    engine = ScriptedEngine(fail_on=lambda generation, sequence: (generation, sequence) in failing)
    talk = Conversation(engine, vad="none", max_segment_ms=2_000, windows=(Window(4, 4),))
    audio = play(script, talk)
    check_order(talk.messages)
    check_sums(talk.session)
    heard = numbers_heard(talk)
    assert heard == sorted(set(heard))
    statistics = talk.session.statistics
    assert statistics.received == len(audio) and statistics.silent == 0
    assert (statistics.dropped == 0) or statistics.failures > 0


@settings(max_examples=30, deadline=None)
@given(script=st.lists(events, max_size=10), window=st.sampled_from(WINDOWS))
def test_half_spelt_words_survive_flushes_of_the_engine_and_splits(script, window):
    """With words of two markers, all text is made of the spellings of markers, each used once."""
    script = [event for event in script if event != "flush"]
    talk = Conversation(ScriptedEngine(half_words), vad="none", windows=(window,), max_segment_ms=2_000)
    audio = play(script, talk)
    check_order(talk.messages)
    if talk.session.statistics.failures:
        return
    spelling = "".join(half_words(number).removesuffix("@@") for _, number in markers(audio))
    assert "".join(text for final in talk.finals for text, _, _ in final.tokens) == spelling


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 3_000), max_size=60), encoding=st.sampled_from(["pcm_s16le", "pcm_f32le", "mulaw"]),
       rate=st.sampled_from([8_000, 16_000, 22_050]), flush=st.booleans())
def test_cuts_anywhere_at_any_rate_give_the_same_messages(cuts, encoding, rate, flush):
    sound = np.concatenate([silence(0.3), voice(1.1), silence(0.9), voice(0.4)])
    data = {"pcm_s16le": sound.tobytes(), "pcm_f32le": (sound / 32_768).astype("<f4").tobytes(),
            "mulaw": np.where(sound > 500, 0x8F, 0xFF).astype(np.uint8).tobytes()}[encoding]
    runs = []
    for pieces in ([], cuts):
        talk = Conversation(encoding=encoding, sample_rate=rate)
        position = 0
        for piece in pieces:
            talk.audio(data[position : position + piece])
            position += piece
        talk.audio(data[position:])
        if flush:
            talk.flush("f").audio(data[:5_001])
        runs.append(talk.stop().messages)
    assert runs[0] == runs[1]
