"""Finals as people read them: in order, each once, with the spoken form beside, and as spoken where that fails."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.config import SessionLimits
from stream_server.session.messages import Ended, Final, Flushed, Ready
from stream_server.speech.punctuated import Carry
from stream_server.speech.scribe import Scribe, Scribed
from tests.session.test_invariants import Say, events, play
from tests.support.audio import mark as numbered
from tests.support.audio import markers, silence, voice
from tests.support.conversation import Conversation, check_order, check_sums
from tests.support.scripted_engine import han
from tests.support.scripted_punctuator import ScriptedPunctuator

SENTENCE = np.concatenate([silence(0.5), numbered(voice(1.6)), silence(1.2)])
PATIENCE_S = SessionLimits().final_deadline_ms / 1000


def spelt(samples: np.ndarray) -> str:
    return "".join(han(number) for _, number in markers(samples))


def talking(**options: object) -> Conversation:
    return Conversation(scribe=Scribe(ScriptedPunctuator()), **options)


def bare(text: str) -> str:
    return text.replace("，", "").replace("。", "")


def test_a_final_has_marks_its_spoken_form_and_the_places_of_its_tokens() -> None:
    talk = talking().audio(SENTENCE)
    (ready,), (final,) = talk.said(Ready), talk.finals
    assert ready.punctuation and ready.itn
    assert final.spoken == spelt(SENTENCE) == bare(final.text) and final.text.endswith("。")
    assert [final.text[begin:end] for begin, end in final.places] == [token for token, _, _ in final.tokens]
    assert final.marks[-1] == "。" and final.marks[2] == "，"


def test_who_declines_gets_what_was_spoken() -> None:
    (final,) = talking(punctuation=False, itn=False).audio(SENTENCE).finals
    assert (final.text, final.spoken, final.places, final.marks) == (spelt(SENTENCE), "", [], [])


def test_a_server_without_a_scribe_says_so() -> None:
    talk = Conversation(punctuation=True, itn=True).audio(SENTENCE)
    assert not talk.said(Ready)[0].punctuation and not talk.said(Ready)[0].itn
    assert talk.text == spelt(SENTENCE)


def test_a_text_cut_by_its_length_goes_on_in_the_next_final() -> None:
    talk = talking(vad="none", max_segment_ms=2_000).audio(numbered(voice(5.0))).stop()
    first, *_, last = talk.finals
    assert first.reason == "length" and not first.text.endswith("。")
    assert last.reason == "stop" and last.text.endswith("。")
    marks = [mark for final in talk.finals for mark in final.marks]
    assert all(place % 3 == 2 for place, mark in enumerate(marks) if mark == "，"), "the words before count"


def test_finals_wait_for_their_turn_and_what_is_behind_them_too() -> None:
    talk = talking()
    talk.scribe_waits = True
    talk.audio(SENTENCE).flush("f").audio(SENTENCE)
    assert not talk.finals and not talk.said(Flushed)
    talk.scribe_waits = False
    talk.stop()
    assert [type(message) for message in talk.messages if isinstance(message, Final | Flushed | Ended)] == [
        Final, Flushed, Final, Ended]
    check_order(talk.messages), check_sums(talk.session)


def test_late_writing_is_not_waited_for() -> None:
    talk = talking()
    talk.scribe_waits = True
    talk.audio(SENTENCE)
    talk.wait(PATIENCE_S / 2)
    segment, _ = talk.session.take_text()
    assert not talk.finals
    talk.wait(PATIENCE_S)
    assert [final.text for final in talk.finals] == [spelt(SENTENCE)] and not talk.finals[0].spoken
    talk.session.receive_written(segment, Scribed("late", [], [], Carry()))
    assert talk.session.statistics.stale_writings == 1


@pytest.mark.parametrize("scribed", [None, Scribed("字", [(0, 1)], [""], Carry()), Scribed("", [], [], Carry())])
def test_what_does_not_fit_is_not_taken(scribed: Scribed | None) -> None:
    talk = talking()
    talk.scribe_waits = True
    talk.audio(SENTENCE)
    segment, _ = talk.session.take_text()
    talk.session.receive_written(segment + 1, scribed)
    assert talk.session.statistics.stale_writings == 1
    talk.session.receive_written(segment, scribed)
    talk.pump()
    assert talk.text == spelt(SENTENCE) and not talk.finals[0].places


def test_an_engine_that_is_lost_leaves_what_was_spoken() -> None:
    talk = talking()
    talk.scribe_waits = True
    talk.audio(SENTENCE)
    talk.session.take_text()
    talk.engine_dies()
    assert talk.text == spelt(SENTENCE)
    talk.scribe_waits = False
    talk.engine_returns().audio(SENTENCE).stop()
    assert talk.finals[1].text.endswith("。")


@settings(max_examples=60)
@given(script=st.lists(events, max_size=25), seed=st.integers(0, 1 << 16))
def test_whatever_happens_each_segment_has_one_final_and_no_word_is_lost(script: list[Say | str], seed: int) -> None:
    chance, talk = random.Random(seed), talking()
    step = talk._write

    def sometimes() -> bool:
        talk.scribe_waits = chance.random() < 0.3
        return step()

    talk._write = sometimes
    play(script, talk)
    talk._write, talk.scribe_waits = step, False
    talk.pump()
    talk.wait(PATIENCE_S + 1)
    check_order(talk.messages), check_sums(talk.session)
    for final in talk.finals:
        assert bare(final.text) == (final.spoken or final.text)
        assert len(final.places) in (0, len(final.tokens))
