"""What holds for every session, whatever is said in whatever order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import Window
from stream_server.config import SessionLimits
from stream_server.session.messages import Ended, Final, Flushed, Speech
from tests.support import recordings
from tests.support.audio import mark, markers, silence, voice
from tests.support.conversation import Conversation, check_order, check_sums
from tests.support.detectors import loudness, real
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
        elif event in ("jury waits", "jury works"):
            talk.jury_waits = event == "jury waits"
            talk.pump()
        elif event in ("second passes wait", "second passes come"):
            talk.seconds_wait = event == "second passes wait"
            talk.pump()
        elif event == "time passes":
            talk.wait(0.6 * SessionLimits().final_deadline_ms / 1000)
    talk.engine_waits = talk.jury_waits = talk.seconds_wait = False
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


late_events = st.one_of(events, st.sampled_from(["jury waits", "jury works"]))


@settings(max_examples=50, deadline=None)
@given(script=st.lists(late_events, max_size=14), window=st.sampled_from(WINDOWS),
       pre_roll=st.sampled_from([None, 0, 900]), end_silence=st.sampled_from([100, 400, 800]))
def test_a_detector_that_is_judged_late_loses_and_doubles_nothing(script, window, pre_roll, end_silence):
    talk = Conversation(windows=(window,), detectors=loudness(), vad="fsmn", pre_roll_ms=pre_roll,
                        end_silence_ms=end_silence, max_segment_ms=2_500)
    audio = play(script, talk)
    check_order(talk.messages)
    check_sums(talk.session)
    assert talk.session.ended and talk.session.unjudged is None
    heard = numbers_heard(talk)
    assert heard == sorted(set(heard))
    whole = all(event.seconds > 0.3 for event in script if isinstance(event, Say) and event.voiced)
    if pre_roll != 0 and whole and "flush" not in script and talk.session.statistics.failures == 0:
        assert heard == [number for _, number in markers(audio)]


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 30_000), max_size=30), flush=st.integers(0, 5), patience=st.integers(1, 9))
def test_when_a_detector_is_judged_changes_no_final(cuts, flush, patience):
    """Judged after each message or only after some of them, with a flush amid speech, in a pause or at a border."""
    sound = np.concatenate([silence(0.3), mark(voice(1.1)), silence(0.9), mark(voice(0.4), first=50), silence(0.2)])
    data = sound.tobytes()
    at = (2, 9_600, 9_620, 30_000, 46_000, len(data))[flush]
    runs = []
    for pieces, wait in (([], 1), (cuts, patience)):
        talk = Conversation(detectors=loudness(), vad="fsmn")
        places = sorted({0, at, len(data), *(place for place in np.cumsum(pieces) if place < len(data))})
        for number, (start, end) in enumerate(zip(places, places[1:], strict=False)):
            talk.jury_waits = number % wait != 0
            talk.audio(data[start:end])
            if end == at:
                talk.flush("f")
        talk.jury_waits = False
        runs.append(talk.stop())
    assert runs[0].finals == runs[1].finals and runs[0].finals
    assert [message for message in runs[0].messages if isinstance(message, Speech | Final | Flushed | Ended)] == \
        [message for message in runs[1].messages if isinstance(message, Speech | Final | Flushed | Ended)]


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 3_000), max_size=60), flush=st.booleans())
def test_cuts_anywhere_give_the_same_messages_with_a_net(cuts, flush):
    sound = np.concatenate([silence(0.3), mark(voice(1.1)), silence(0.9), mark(voice(0.4), first=50)])
    runs = []
    for pieces in ([], cuts):
        talk = Conversation(detectors=loudness(), vad="fsmn")
        data, position = sound.tobytes(), 0
        for piece in pieces:
            talk.audio(data[position : position + piece])
            position += piece
        talk.audio(data[position:])
        if flush:
            talk.flush("f").audio(data[:5_001])
        runs.append(talk.stop().messages)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("kind", ["fsmn", "silero"])
@pytest.mark.parametrize("cut", [333, 9_601])
def test_real_nets_give_the_same_segments_however_speech_is_cut(kind, cut):
    detectors = real(kind)
    speech = recordings.samples("clips", "sample_6s.wav") if recordings.present() else voice(6)
    runs = [Conversation(detectors=detectors, vad=kind, end_silence_ms=300).audio(speech, cut=size).flush("f").audio(
        speech, cut=size).stop() for size in (cut, len(speech) * 2)]
    for talk in runs:
        check_order(talk.messages)
        check_sums(talk.session)
    assert [(final.start_ms, final.end_ms, final.reason) for final in runs[0].finals] == \
        [(final.start_ms, final.end_ms, final.reason) for final in runs[1].finals]
    assert runs[0].messages == runs[1].messages
