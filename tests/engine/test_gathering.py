"""Chunks that wait to be in one step, while segments that have ended wait for workers."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.engine.passes import Turn
from stream_server.engine.scheduler import PATIENCE
from stream_server.engine.stepping import Begun
from stream_server.engine.stream import Stream
from stream_server.engine.wire import Write
from stream_server.engine.writing import Texts
from stream_server.speech.recognition import Span
from stream_server.speech.scribe import Scribe
from stream_server.units import SAMPLE_RATE
from tests.engine.test_finals import DOOR, HOP, WINDOW, Bench, Clock, sound
from tests.engine.test_guesses import begun as guess_begun
from tests.engine.test_writing import spoken
from tests.support.scripted_punctuator import ScriptedPunctuator
from tests.support.scripted_second import ScriptedSecond

FULL = 4
"""Chunks of a batch."""


def busy(closed: str = "ab", *, workers: int = 2, scribe: Scribe | None = None) -> tuple[Bench, Begun]:
    """An engine where segments of the sessions `closed` have ended, and a step of z's first chunk is under way."""
    bench = Bench(ScriptedSecond(pieces=9), sessions="abcdefghz", workers=workers, capacity=9, max_batch=FULL,
                  scribe=scribe)
    for number, session in enumerate(closed):
        # Of lengths so unlike that each is a pass of its own.
        bench.speak(session, sound(300 * 3**number))
    bench.chunk("z", sound(HOP))
    stepping = bench.engine.begin(bench.now)
    assert isinstance(stepping, Begun)
    return bench, stepping


def chunks(bench: Bench, sessions: str) -> None:
    for session in sessions:
        bench.chunk(session, sound(HOP))


def sessions_of(begun: Begun) -> str:
    return "".join(stream.tenant[1] for stream in begun.streams)


def end(bench: Bench, begun: Begun) -> None:
    bench.engine.finish(begun, begun.run(bench.engine._runner))


def test_chunks_leave_a_worker_to_segments_and_go_together_with_the_next_that_steps() -> None:
    bench, stepping = busy()
    chunks(bench, "c")
    turn = bench.engine.begin(bench.now)
    assert isinstance(turn, Turn) and not bench.engine.wants(turn, bench.now)
    chunks(bench, "de")
    assert not bench.engine.wants(turn, bench.now)
    end(bench, stepping)
    assert bench.engine.wants(turn, bench.now), "nobody steps any more"
    together = bench.engine.begin(bench.now)
    assert isinstance(together, Begun) and sessions_of(together) == "cde"


def test_a_full_batch_takes_another_worker() -> None:
    bench, _ = busy()
    chunks(bench, "cde")
    turn = bench.engine.begin(bench.now)
    assert isinstance(turn, Turn) and not bench.engine.wants(turn, bench.now)
    chunks(bench, "f")
    assert bench.engine.wants(turn, bench.now)
    full = bench.engine.begin(bench.now)
    assert isinstance(full, Begun) and len(full.rows) == FULL


@pytest.mark.parametrize(("closed", "workers"), [("", 2), ("a", 2), ("abc", 4)])
def test_where_few_segments_wait_a_chunk_has_any_worker(closed: str, workers: int) -> None:
    bench, _ = busy(closed, workers=workers)
    chunks(bench, "d")
    assert isinstance(bench.engine.begin(bench.now), Begun)


@pytest.mark.parametrize(("workers", "steps"), [(1, 0), (2, 1), (3, 2), (4, 2), (8, 4), (16, 8)])
def test_half_of_the_workers_may_step(workers: int, steps: int) -> None:
    bench = Bench(ScriptedSecond(pieces=99), sessions="ijklmnopq", workers=workers, slots=9, capacity=9, max_batch=FULL)
    close(bench, "abcdefghijklmnop"[:workers])
    for session in "ijklmnop"[:steps]:
        chunks(bench, session)
        assert isinstance(bench.engine.begin(bench.now), Begun)
    chunks(bench, "q")
    assert isinstance(bench.engine.begin(bench.now), Turn if workers > 1 else Begun)


def close(bench: Bench, sessions: str) -> None:
    """Segments that have ended, all of one length, without chunks."""
    for session in sessions:
        stream = Stream((DOOR, session), 9, WINDOW)
        bench.engine._finals.keep(stream, sound(HOP, ord(session)), 0)
        bench.engine._finals.add(stream, 0, Span(0, HOP), bench.now)


def test_chunks_do_not_wait_for_guesses() -> None:
    bench, _ = busy("", workers=4)
    for session in "gh":
        guess_begun(bench, session, pieces=0)
    chunks(bench, "c")
    assert isinstance(bench.engine.begin(bench.now), Begun)
    guess = bench.engine.begin(bench.now)
    assert isinstance(guess, Turn) and guess.work.guess and len(guess.work.jobs) == 1
    # What is left hears all segments together: two step, one hears them, one guesses.
    bench.engine._finals._most_running = 2
    close(bench, "abcd")
    segments = bench.engine.begin(bench.now)
    assert isinstance(segments, Turn) and len(segments.work.jobs) == 4
    bench.engine._finals._most_running = 4
    chunks(bench, "d")
    assert bench.engine.wants(guess, bench.now) and not bench.engine.wants(segments, bench.now)
    assert isinstance(bench.engine.begin(bench.now), Begun), "no segment has use for the worker"


def test_a_guess_does_not_make_chunks_gather() -> None:
    bench, _ = busy("a")
    guess_begun(bench, "h", pieces=0)
    assert bench.numbers.second_passes_waiting == 1
    chunks(bench, "c")
    assert isinstance(bench.engine.begin(bench.now), Begun)


def test_guesses_leave_for_texts_too() -> None:
    bench = Bench(ScriptedSecond(pieces=9), sessions="gh", scribe=Scribe(ScriptedPunctuator()))
    guess_begun(bench, "h", pieces=0)
    guess = bench.engine.begin(bench.now)
    assert not bench.engine.wants(guess, bench.now)
    bench.engine.receive(DOOR, Write("g", 0, spoken("一")), bench.now)
    assert bench.engine.wants(guess, bench.now)


def test_no_more_workers_leave_segments_than_may_step_and_one_takes_all() -> None:
    bench = Bench(ScriptedSecond(pieces=99), sessions="abcdefgh", workers=2, capacity=8, max_batch=FULL)
    for number, session in enumerate("ab"):
        bench.speak(session, sound(300 * 3**number))
    turns = [bench.engine.begin(bench.now, 2 - taken) for taken in range(2)]
    assert all(isinstance(turn, Turn) for turn in turns)
    chunks(bench, "cd")
    assert bench.engine.wants(turns[0], bench.now) and not bench.engine.wants(turns[1], bench.now, leaving=1)
    together = bench.engine.begin(bench.now, sharers=2)
    assert isinstance(together, Begun) and sessions_of(together) == "cd"


def test_a_chunk_does_not_wait_for_more_than_a_part_of_its_hop() -> None:
    bench, _ = busy()
    chunks(bench, "c")
    turn = bench.engine.begin(bench.now)
    patience = PATIENCE * WINDOW.hop_samples / SAMPLE_RATE
    assert isinstance(turn, Turn) and not bench.engine.wants(turn, bench.now + 0.9 * patience)
    assert bench.engine.wants(turn, bench.now + 1.1 * patience)
    assert isinstance(bench.engine.begin(bench.now + 1.1 * patience), Begun)


def test_where_no_segment_has_use_for_a_worker_a_chunk_does_not_wait() -> None:
    bench, _ = busy()
    turns = [bench.engine.begin(bench.now), bench.engine.begin(bench.now)]
    assert all(isinstance(turn, Turn) for turn in turns)
    chunks(bench, "c")
    assert isinstance(bench.engine.begin(bench.now), Begun), "two turns at once are the most"


def test_texts_do_not_wait_for_segments_meanwhile() -> None:
    bench, _ = busy(scribe=Scribe(ScriptedPunctuator()))
    bench.engine.receive(DOOR, Write("g", 0, spoken("一")), bench.now)
    chunks(bench, "c")
    assert isinstance(bench.engine.begin(bench.now), Texts)


@settings(max_examples=80, deadline=None)
@given(closed=st.integers(0, 6), live=st.integers(0, 8), workers=st.integers(1, 4), order=st.randoms())
def test_all_is_answered_once_whatever_gathers(closed: int, live: int, workers: int, order: Random) -> None:
    bench = Bench(ScriptedSecond(pieces=5), sessions="abcdefijklmnop", workers=workers, capacity=14, max_batch=FULL)
    segments, others = "abcdef"[:closed], "ijklmnop"[:live]
    for number, session in enumerate(segments):
        bench.speak(session, sound(300 + 40 * number))
    to_come, under_way, answered = list(others), [], []
    while to_come or under_way or bench.engine.busy:
        while len(under_way) < workers and (
                work := bench.engine.begin(bench.now, workers - len(under_way))) is not None:
            under_way.append(work)
        assert len(under_way) == workers or not bench.numbers.chunks_waiting, "a worker is free, and a chunk waits"
        for _ in range(min(len(to_come), order.randrange(3))):
            chunks(bench, to_come.pop())
        if under_way:
            work = under_way.pop(order.randrange(len(under_way)))
            bench.engine.finish(work, work.run(bench.engine._runner, Clock(0.1)))
            answered += bench.answers()
    assert sorted(answered) == list(segments)
    assert bench.numbers.chunks_waiting == bench.numbers.second_passes_waiting == 0
    assert bench.numbers.rows == closed + live
