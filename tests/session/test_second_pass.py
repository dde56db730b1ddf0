"""Finals that wait for their second pass: whatever it does, each segment has one, in order and in time."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import Window
from stream_server.config import SessionLimits
from stream_server.errors import ClientError
from stream_server.session.closing import MOST_CLOSING
from stream_server.session.intake import MOST_FLUSHES
from stream_server.session.messages import Ended, Final, Flushed, Partial, Ready, Speech
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.recognition import Chunk, Hypothesis, SecondPass, Span
from tests.session.test_invariants import WINDOWS, Say, events, play
from tests.support.audio import mark, markers, silence, voice
from tests.support.conversation import Conversation, check_order, check_sums
from tests.support.scripted_engine import SECOND, ScriptedEngine, han, han_again

SENTENCE = np.concatenate([silence(0.5), mark(voice(1.6)), silence(1.2)])
PATIENCE_S = SessionLimits().final_deadline_ms / 1000


def spelt(samples: np.ndarray, again: bool = True) -> str:
    return "".join((han_again if again else han)(number) for _, number in markers(samples))


def number_of(character: str) -> int:
    code = ord(character) - ord(han(0))
    return code - SECOND if code >= SECOND else code


def talking(**options: object) -> Conversation:
    return Conversation(second_model=True, **options)


def test_the_final_has_the_second_passs_text_and_times() -> None:
    talk = talking().audio(SENTENCE, cut=3200)
    (final,) = talk.finals
    assert final.second_pass and final.text == spelt(SENTENCE)
    assert final.confidences == [0.9] * len(final.tokens)
    for (_, start, end), (index, _) in zip(final.tokens, markers(SENTENCE), strict=True):
        assert start <= index / 16 + 1 and index / 16 - 1 <= end and end - start <= 7
    assert all(not partial.text or partial.text[0] == han(0) for partial in talk.said(Partial))
    talk.stop()
    check_order(talk.messages), check_sums(talk.session)


def test_the_hotwords_of_a_final_are_those_of_its_text() -> None:
    again, first = spelt(SENTENCE)[2:4], spelt(SENTENCE, again=False)[2:4]
    talk = talking(hotwords=HotwordList.of([(again, 20.0), (first, 20.0)]))
    talk.audio(SENTENCE)
    talk.seconds_wait = True
    talk.audio(SENTENCE).stop().wait(PATIENCE_S + 0.1)
    assert [final.hotwords for final in talk.finals] == [[again], [first]]


@pytest.mark.parametrize(("has_model", "wish", "in_force"), [
    (True, None, True), (True, True, True), (True, False, False), (False, None, False), (False, True, False),
])
def test_what_is_in_force_is_told(has_model: bool, wish: bool | None, in_force: bool) -> None:
    talk = Conversation(second_model=has_model, second_pass=wish).audio(SENTENCE)
    (ready,), (final,) = talk.said(Ready), talk.finals
    assert ready.second_pass is final.second_pass is in_force
    assert final.text == spelt(SENTENCE, again=in_force)


def test_the_next_segment_is_recognised_while_a_final_waits() -> None:
    talk = talking()
    talk.seconds_wait = True
    talk.audio(np.concatenate([SENTENCE, SENTENCE[:-16_000]]), cut=3200)
    assert talk.finals == [] and {message.segment for message in talk.said(Partial)} == {0, 1}
    talk.seconds_wait = False
    talk.pump()
    assert [final.segment for final in talk.finals] == [0]
    talk.stop()
    assert [final.text for final in talk.finals] == [spelt(SENTENCE)] * 2
    check_order(talk.messages)


def test_a_flush_and_the_end_wait_for_the_finals_before_them() -> None:
    talk = talking()
    talk.seconds_wait = True
    talk.audio(SENTENCE[:24_000]).flush("f").audio(SENTENCE).stop()
    assert talk.said(Flushed) == talk.said(Ended) == [] and not talk.session.ended
    talk.session.receive_second_pass(talk.engine.second_passes.pop())
    talk.pump()
    assert talk.finals == [], "the second segment's came first"
    talk.seconds_wait = False
    talk.pump()
    assert [type(message) for message in talk.messages if not isinstance(message, Partial | Speech | Ready)] == [
        Final, Flushed, Final, Ended]
    check_order(talk.messages)


def test_a_final_that_waits_for_too_long_goes_out_as_it_is() -> None:
    talk = talking()
    talk.seconds_wait = True
    talk.audio(SENTENCE)
    assert talk.session.next_deadline(talk.now) == PATIENCE_S
    talk.wait(PATIENCE_S - 0.01)
    assert talk.finals == []
    talk.wait(0.02)
    (final,) = talk.finals
    assert final.text == spelt(SENTENCE, again=False) and not final.second_pass
    talk.seconds_wait = False
    talk.pump()
    assert talk.finals == [final] and talk.session.statistics.stale_second_passes == 1
    assert not talk.session.ended, "the client is not idle"


def test_the_end_does_not_wait_for_longer_either() -> None:
    talk = talking()
    talk.seconds_wait = True
    talk.audio(SENTENCE).stop().wait(PATIENCE_S + 0.01)
    assert talk.session.ended and not talk.finals[0].second_pass


@pytest.mark.parametrize("strange", [
    lambda good: dataclasses.replace(good, error="it failed"),
    lambda good: dataclasses.replace(good, spans=good.spans[:-1]),
    lambda good: dataclasses.replace(good, spans=good.spans[::-1]),
    lambda good: dataclasses.replace(good, spans=[Span(end, begin - 9) for begin, end in good.spans]),
], ids=["error", "a span is missing", "not in order", "ends before it begins"])
def test_without_a_sound_second_pass_the_first_one_stands(strange: Callable[[SecondPass], SecondPass]) -> None:
    talk = talking()
    talk.seconds_wait = True
    talk.audio(SENTENCE)
    talk.session.receive_second_pass(strange(talk.engine.second_passes.pop()))
    talk.pump()
    assert [(final.second_pass, final.text) for final in talk.finals] == [(False, spelt(SENTENCE, again=False))]


@pytest.mark.parametrize("key", [(0, 0), (1, 4), (-1, 9)])
def test_a_second_pass_that_nobody_waits_for_is_counted_and_dropped(key: tuple[int, int]) -> None:
    talk = talking()
    talk.seconds_wait = True
    talk.audio(SENTENCE)
    talk.session.receive_second_pass(SecondPass(*key, ["x"], [Span(0, 1)], [100]))
    talk.pump()
    assert talk.finals == [] and talk.session.statistics.stale_second_passes == 1


def test_when_the_engine_is_lost_the_first_pass_stands_at_once() -> None:
    talk = talking()
    talk.seconds_wait = True
    talk.audio(SENTENCE).engine_dies()
    assert [final.text for final in talk.finals] == [spelt(SENTENCE, again=False)]
    talk.seconds_wait = False
    talk.engine_returns().audio(SENTENCE).stop()
    assert [final.second_pass for final in talk.finals] == [False, True]
    check_order(talk.messages)


def test_a_chunk_that_failed_closes_its_segment_without_a_second_pass() -> None:
    talk = Conversation(ScriptedEngine(fail_on=lambda *key: key == (0, 2)), second_model=True).audio(SENTENCE).stop()
    assert (talk.finals[0].reason, talk.finals[0].second_pass) == ("error", False)
    assert all(final.second_pass for final in talk.finals[1:])
    check_order(talk.messages)


def test_a_word_under_a_cut_without_a_pause_is_said_once() -> None:
    speech = mark(voice(9.0), every=0.05)
    talk = talking(vad="none", max_segment_ms=2_000, windows=(Window(4, 4),)).audio(speech, cut=3200).stop()
    assert len(talk.finals) > 3 and all(final.second_pass for final in talk.finals)
    assert talk.text == spelt(speech)


def test_what_waits_is_bounded_by_taking_no_more_chunks() -> None:
    talk = talking(limits=SessionLimits(max_buffered_s=60))
    talk.seconds_wait = True
    talk.audio(np.concatenate([SENTENCE] * (MOST_CLOSING + 3)), cut=32_000)
    assert len(talk.engine.second_passes) == MOST_CLOSING
    talk.seconds_wait = False
    talk.pump()
    talk.stop()
    assert [final.text for final in talk.finals] == [spelt(SENTENCE)] * (MOST_CLOSING + 3)


class Moody(ScriptedEngine):
    """Its second passes fail, or come in any order."""

    def __init__(self, failing: set[int], order: random.Random) -> None:
        super().__init__()
        self._failing, self._order = failing, order

    def answer(self, chunk: Chunk) -> Hypothesis:
        hypothesis = super().answer(chunk)
        self.second_passes = [dataclasses.replace(each, error="scripted") if each.sequence in self._failing else each
                              for each in self.second_passes]
        self._order.shuffle(self.second_passes)
        return hypothesis


of_second_passes = st.sampled_from(["second passes wait", "second passes come", "time passes"])


@settings(max_examples=80, deadline=None)
@given(script=st.lists(st.one_of(events, of_second_passes), max_size=14), window=st.sampled_from(WINDOWS),
       failing=st.sets(st.integers(0, 9)), order=st.randoms(use_true_random=False))
def test_each_segment_has_one_final_and_each_marker_is_in_one(
        script: list, window: Window, failing: set[int], order: random.Random) -> None:
    """Second passes come in any order, fail, or come too late, and the engine comes and goes."""
    talk = talking(engine=Moody(failing, order), windows=(window,), vad="none", max_segment_ms=2_000,
                   limits=SessionLimits(max_buffered_s=60))
    audio = play(script, talk)
    assert talk.session.ended
    check_order(talk.messages), check_sums(talk.session)
    assert len(talk.said(Flushed)) == talk.session.statistics.flushes
    if talk.session.statistics.failures == 0:
        assert [number_of(character) for character in talk.text] == [number for _, number in markers(audio)]


@settings(max_examples=40, deadline=None)
@given(script=st.lists(st.one_of(events, of_second_passes), max_size=14), window=st.sampled_from(WINDOWS),
       order=st.randoms(use_true_random=False))
def test_with_detection_too_no_marker_of_clear_speech_is_lost_or_doubled(
        script: list, window: Window, order: random.Random) -> None:
    talk = talking(engine=Moody(set(), order), windows=(window,), end_silence_ms=400, max_segment_ms=2_500,
                   limits=SessionLimits(max_buffered_s=60))
    audio = play(script, talk)
    check_order(talk.messages), check_sums(talk.session)
    heard = [number_of(character) for character in talk.text]
    assert heard == sorted(set(heard))
    whole = all(event.seconds > 0.3 for event in script if isinstance(event, Say) and event.voiced)
    if whole and talk.session.statistics.failures == 0:
        assert heard == [number for _, number in markers(audio)]


def test_flushes_behind_a_waiting_final_are_bounded() -> None:
    talk = talking()
    talk.seconds_wait = True
    talk.audio(SENTENCE)
    with pytest.raises(ClientError) as refusal:
        for number in range(MOST_FLUSHES + 2):
            talk.flush(str(number))
    assert refusal.value.code == "bad_state" and not talk.said(Flushed)
    talk.seconds_wait = False
    talk.stop()
    assert len(talk.said(Flushed)) == MOST_FLUSHES and len(talk.finals) == 1
