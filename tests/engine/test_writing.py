"""Finals that are written: in batches between live steps, each answered once, a session's at fault harming no other."""

from __future__ import annotations

import numpy as np

from stream_server.audio.windows import Window
from stream_server.engine.engine import Engine
from stream_server.engine.wire import Admit, EngineMessage, Recognised, Release, Step, Write, Wrote
from stream_server.engine.writing import MOST_CHARACTERS, MOST_TEXTS
from stream_server.speech.scribe import Scribe, Spoken
from tests.support.scripted_punctuator import POISON, ScriptedPunctuator
from tests.support.scripted_runner import ScriptedRunner

WINDOW = Window(4, 4)
DOOR = b"door"


def engine(sessions: str, scribe: Scribe | None) -> Engine:
    made = Engine(ScriptedRunner(32, [WINDOW]), scribe=scribe)
    for session in sessions:
        made.receive(DOOR, Admit(session), 0.0)
    made.take_messages()
    return made


def spoken(text: str) -> Spoken:
    return Spoken(text, list(text))


def all_said(made: Engine) -> list[EngineMessage]:
    while made.step(0.0):
        pass
    return [message for _, message in made.take_messages()]


def test_texts_of_many_sessions_are_written_together() -> None:
    punctuator = ScriptedPunctuator()
    made = engine("abc", Scribe(punctuator))
    for number, session in enumerate("abc"):
        made.receive(DOOR, Write(session, number, spoken("一二三四")), 0.0)
    assert made.busy
    written = all_said(made)
    assert punctuator.batches == [3] and not made.busy
    assert [(message.session, message.segment, message.scribed.text) for message in written] == [
        ("a", 0, "一二三，四。"), ("b", 1, "一二三，四。"), ("c", 2, "一二三，四。")]
    assert made.statistics.finals_written == 3


def test_a_batch_is_bounded_and_the_oldest_come_first() -> None:
    punctuator = ScriptedPunctuator()
    names = "".join(map(chr, range(ord("A"), ord("A") + MOST_TEXTS + 2)))
    made = engine(names, Scribe(punctuator))
    for name in names:
        made.receive(DOOR, Write(name, 0, spoken("一")), 0.0)
    assert [message.session for message in all_said(made)] == list(names)
    assert punctuator.batches == [MOST_TEXTS, 2]


def test_long_texts_are_written_by_themselves_and_live_work_goes_between() -> None:
    punctuator = ScriptedPunctuator()
    made = engine("abcde", Scribe(punctuator))
    for name, length in (("a", 90), ("b", 40), ("c", MOST_CHARACTERS + 1), ("d", 60)):
        made.receive(DOOR, Write(name, 0, spoken("一" * length)), 0.0)
    made.step(0.0)
    made.receive(DOOR, Step("e", 0, 0, WINDOW), 0.0, np.zeros(WINDOW.hop_samples, np.int16).tobytes())
    assert [message.session for message in all_said(made)] == ["a", "e", "b", "c", "d"]
    assert punctuator.batches == [1, 1, 1, 1]


def test_live_work_goes_first() -> None:
    made = engine("ab", Scribe(ScriptedPunctuator()))
    made.receive(DOOR, Write("a", 0, spoken("一")), 0.0)
    made.receive(DOOR, Step("b", 0, 0, WINDOW), 0.0, np.zeros(WINDOW.hop_samples, np.int16).tobytes())
    assert [type(message) for message in all_said(made)] == [Recognised, Wrote]


def test_a_text_that_raises_comes_without_marks_and_its_neighbours_with_theirs() -> None:
    made = engine("ab", Scribe(ScriptedPunctuator()))
    made.receive(DOOR, Write("a", 0, spoken(f"一{POISON}")), 0.0)
    made.receive(DOOR, Write("b", 0, spoken("一二")), 0.0)
    a, b = (message.scribed for message in all_said(made))
    assert (a.text, b.text) == (f"一{POISON}", "一二。") and a.error is not None and b.error is None
    assert (made.statistics.finals_written, made.statistics.finals_not_written) == (1, 1)


class Broken(Scribe):
    def write(self, finals):
        raise MemoryError


def test_a_scribe_that_fails_is_answered_for() -> None:
    made = engine("a", Broken())
    made.receive(DOOR, Write("a", 7, spoken("一")), 0.0)
    assert all_said(made) == [Wrote("a", 7, None)]


def test_without_a_scribe_or_a_session_nothing_is_written_and_that_is_said() -> None:
    without, with_one = engine("a", None), engine("a", Scribe(ScriptedPunctuator()))
    without.receive(DOOR, Write("a", 0, spoken("一")), 0.0)
    with_one.receive(DOOR, Write("x", 0, spoken("一")), 0.0)
    assert all_said(without) == [Wrote("a", 0, None)] and all_said(with_one) == [Wrote("x", 0, None)]


def test_a_second_text_of_a_session_takes_the_place_of_the_first() -> None:
    made = engine("a", Scribe(ScriptedPunctuator()))
    for segment in (0, 1):
        made.receive(DOOR, Write("a", segment, spoken("一")), 0.0)
    first, second = all_said(made)
    assert first == Wrote("a", 0, None) and (second.segment, second.scribed.text) == (1, "一。")


def test_nobody_is_told_of_a_text_whose_session_went_away() -> None:
    made = engine("ab", Scribe(ScriptedPunctuator()))
    for session in "ab":
        made.receive(DOOR, Write(session, 0, spoken("一")), 0.0)
    made.receive(DOOR, Release("a"), 0.0)
    begun = made.begin(0.0)
    made.receive(DOOR, Release("b"), 0.0)
    made.finish(begun, begun.run())
    assert all_said(made) == [] and made.statistics.stale_results == 1
