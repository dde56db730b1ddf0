"""Second passes that begin on a guess: they hear what they would hear anyway, and finals are the same."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.windows import Window
from stream_server.config import SessionLimits
from stream_server.engine.finals import Finals
from stream_server.engine.passes import Turn
from stream_server.engine.statistics import Statistics
from stream_server.engine.stream import Stream
from stream_server.session.messages import Final
from stream_server.speech.recognition import Chunk, Guess, Hypothesis, SecondPass
from tests.session.test_invariants import WINDOWS, events, play
from tests.support.audio import mark, silence, voice
from tests.support.conversation import Conversation, check_order, check_sums
from tests.support.scripted_engine import ScriptedEngine
from tests.support.scripted_second import ScriptedSecond

KEY = (b"door", "s")
HALF = Window(4, 4)


class Hearing(ScriptedEngine):
    """Its second passes go through the engine's own lane: their text is the hash of all samples heard. `eager`: so many
    pieces of them run whenever the session says something."""

    def __init__(self, eager: int = 1_000_000, pieces: int = 3) -> None:
        super().__init__()
        self.statistics = Statistics()
        self.spans: list[tuple[int, int]] = []
        self._eager = eager
        self._finals = Finals(ScriptedSecond(pieces), self.statistics, lambda _, each: self.said.append(each),
                              patience_s=1e9, most_waiting=100, most_samples=1 << 30)
        self._open: Stream | None = None
        self.said: list[SecondPass] = []

    def answer(self, chunk: Chunk) -> Hypothesis:
        if chunk.first:
            self._open = Stream(KEY, chunk.generation, chunk.window)
        waiting = list(self.second_passes)
        hypothesis = super().answer(chunk)
        self.second_passes = waiting
        if chunk.hotwords is not None:
            self._open.hotwords = chunk.hotwords
        self._finals.keep(self._open, chunk.samples, chunk.keep_from)
        self._open.next_sequence += 1
        if chunk.closed is not None and hypothesis.error is None:
            self.spans.append(chunk.closed)
            self._finals.add(self._open, chunk.sequence, chunk.closed, 0.0, self._open.hotwords)
        self.work(self._eager)
        return hypothesis

    def guess(self, guess: Guess) -> None:
        super().guess(guess)
        if guess.span is None:
            self._finals.drop(KEY)
        elif self._open is not None and self._open.generation == guess.generation:
            self._finals.guess(self._open, guess.span, guess.samples, 0.0)
        self.work(self._eager)

    def work(self, pieces: int) -> None:
        """Runs so many pieces; what they say is there for the session."""
        for _ in range(pieces):
            work = self._finals.begin(0.0)
            if work is None:
                break
            self._finals.finish(work, _piece(work))
        self.second_passes += self.said
        self.said.clear()

    def forget_everything(self) -> None:
        super().forget_everything()
        self._finals.forget(KEY)
        self._open = None


def _piece(work: Turn):
    ticks = iter(range(1_000_000))
    return work.run(clock=lambda: next(ticks))


def talk_of(script: list, guesses: bool, eager: int, window: Window, end_silence: int) -> Conversation:
    talk = Conversation(Hearing(eager), second_model=True, windows=(window,), end_silence_ms=end_silence,
                        max_segment_ms=2_500, limits=SessionLimits(max_buffered_s=60))
    talk.guesses = guesses
    play([*script, "second passes come"], talk)
    while not talk.session.ended:
        talk.engine.work(1)
        talk.pump()
    return talk


@settings(max_examples=60, deadline=None)
@given(script=st.lists(events, max_size=14), window=st.sampled_from(WINDOWS), eager=st.sampled_from([0, 1, 2, 1 << 20]),
       end_silence=st.sampled_from([200, 400, 800]))
def test_with_and_without_guesses_finals_are_the_same_to_the_sample(
        script: list, window: Window, eager: int, end_silence: int) -> None:
    with_guesses, without = (talk_of(script, guesses, eager, window, end_silence) for guesses in (True, False))
    check_order(with_guesses.messages), check_sums(with_guesses.session)
    assert with_guesses.engine.spans == without.engine.spans
    pairs = list(zip(with_guesses.finals, without.finals, strict=True))
    if "engine dies" in script:
        # What was begun sooner may be heard before the engine dies; the other one's first pass stands then.
        assert all(early.second_pass for early, late in pairs if early != late and not late.second_pass)
        pairs = [pair for pair in pairs if pair[0].second_pass == pair[1].second_pass]
    assert all(early == late for early, late in pairs)
    numbers = with_guesses.engine.statistics
    assert numbers.guesses_begun == numbers.guesses_used + numbers.guesses_dropped
    assert without.engine.statistics.guesses_begun == 0
    if "engine dies" not in script:
        assert all(final.second_pass for final in without.finals if final.text)


def said(*parts: np.ndarray, eager: int = 1 << 20, **options: object) -> Conversation:
    talk = Conversation(Hearing(eager), second_model=True, windows=(HALF,), **options)
    return talk.audio(np.concatenate(parts), cut=640)


def test_a_segment_that_ends_in_silence_has_its_second_pass_by_then() -> None:
    talk = said(mark(voice(2.0)), silence(0.78))
    assert talk.finals == [] and talk.engine.statistics.guesses_begun == 1
    talk.engine._eager = 0
    talk.audio(silence(0.4), cut=640)
    assert [final.second_pass for final in talk.finals] == [True] and talk.engine.statistics.guesses_used == 1


def test_where_speech_goes_on_the_guess_is_dropped_and_a_later_one_used() -> None:
    talk = said(mark(voice(1.0)), silence(0.5), mark(voice(1.0), first=30), silence(1.0))
    numbers = talk.engine.statistics
    assert (numbers.guesses_begun, numbers.guesses_used, numbers.guesses_dropped) == (2, 1, 1)
    assert len(talk.finals) == 1 and numbers.second_passes == 1


def test_the_second_pass_hears_what_the_detector_hangs_on_for_and_the_final_ends_with_speech() -> None:
    for aggressiveness, (least, most) in enumerate([(140, 160), (140, 160), (100, 120), (100, 120)]):
        talk = said(mark(voice(2.0)), silence(1.0), vad_aggressiveness=aggressiveness)
        ((_, until),), (final,) = talk.engine.spans, talk.finals
        assert least <= until / 16 - 2_000 - 100 <= most
        assert 2_000 <= final.end_ms <= 2_060 and final.reason == "silence"


def test_push_to_talk_and_sessions_without_a_second_pass_guess_nothing() -> None:
    for options in ({"vad": "none"}, {"second_pass": False}):
        talk = said(mark(voice(1.0)), silence(1.0), **options)
        assert not talk.session.guesses and talk.session.take_guess() is None
        assert talk.engine.statistics.guesses_begun == 0


def test_a_guess_that_was_right_but_for_a_flush_is_used() -> None:
    talk = said(mark(voice(1.0)), silence(0.5))
    talk.flush()
    assert talk.engine.statistics.guesses_used == 1 and len(talk.said(Final)) == 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_hotwords_that_change_in_a_pause_are_the_finals(seed: int) -> None:
    from stream_server.speech.hotwords import HotwordList

    pause = random.Random(seed).choice([0.1, 0.4, 0.5, 0.7])
    runs = []
    for guesses in (True, False):
        talk = Conversation(Hearing(), second_model=True, windows=(HALF,))
        talk.guesses = guesses
        talk.audio(np.concatenate([mark(voice(1.3)), silence(pause)]), cut=640)
        talk.hotwords(HotwordList.of([("张三", 20.0)])).audio(silence(1.2 - pause), cut=640)
        runs.append(talk.stop().finals)
    assert runs[0] == runs[1] and len(runs[0]) == 1
