"""Guesses: second passes that begin before it is known that the segment ends, and cost nothing that others need."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.engine.finals import Finals
from stream_server.engine.passes import Turn
from stream_server.engine.statistics import Statistics
from stream_server.engine.stepping import Begun
from stream_server.engine.stream import Stream
from stream_server.engine.wire import Expect, Malformed, Release, Step, pack, pack_guess, unpack_from_door
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.recognition import Guess, SecondPass, Span
from tests.engine.test_finals import DOOR, HOP, WINDOW, Bench, Clock, sound
from tests.support.scripted_runner import POISON
from tests.support.scripted_second import ScriptedSecond, expected


def guess(bench: Bench, session: str, samples: np.ndarray, span: Span, generation: int = 0) -> None:
    bench.engine.receive(DOOR, Expect(session, generation, span), bench.now, samples.tobytes())


def begun(bench: Bench, session: str = "a", rest: int = 300, pieces: int = 1) -> np.ndarray:
    """A stream of a hop, of which and `rest` samples more a guess is under way; all samples of a second hop too."""
    samples = sound(2 * HOP, ord(session))
    bench.chunk(session, samples[:HOP])
    while bench.numbers.chunks_waiting:
        bench.engine.step(bench.now)
    guess(bench, session, samples[HOP : HOP + rest], Span(10, HOP + rest))
    for _ in range(pieces):
        bench.engine.step(bench.now)
    return samples


@pytest.mark.parametrize("pieces", [0, 1, 2, 9])
def test_a_guess_that_was_right_is_the_segments_pass_however_far_it_is(pieces: int) -> None:
    bench = Bench(ScriptedSecond(pieces=3))
    samples = begun(bench, pieces=pieces)
    bench.chunk("a", samples[HOP : HOP + 700], 1, closed=Span(10, HOP + 300), keep_from=10)
    second = bench.heard()["a"]
    assert (second.sequence, second.pieces) == (1, [expected(samples[10 : HOP + 300])])
    assert second.spans[0].end == HOP + 300
    assert bench.second.batches == [[HOP + 290]]
    numbers = bench.numbers
    assert numbers.guesses_begun == numbers.guesses_used == min(pieces, 1)
    assert numbers.second_passes == 1 and numbers.guesses_dropped == 0


@pytest.mark.parametrize("closed", [Span(10, HOP + 299), Span(11, HOP + 300), Span(10, HOP + 700)])
def test_a_guess_of_another_span_is_not_taken_for_the_segments(closed: Span) -> None:
    bench = Bench(ScriptedSecond(pieces=3))
    samples = begun(bench)
    bench.chunk("a", samples[HOP : HOP + 700], 1, closed=closed, keep_from=10)
    assert bench.heard()["a"].pieces == [expected(samples[closed.begin : closed.end])]
    assert (bench.numbers.guesses_used, bench.numbers.guesses_dropped) == (0, 1)


def test_a_guess_with_other_sound_or_other_hotwords_is_not_taken_either() -> None:
    bench, names = Bench(sessions="ab"), HotwordList.of([("张三", 20.0)])
    sounds = {session: begun(bench, session) for session in "ab"}
    other = sounds["a"][HOP : HOP + 700].copy()
    other[0] += 1
    bench.chunk("a", other, 1, closed=Span(10, HOP + 300))
    step = Step("b", 0, 1, WINDOW, True, hotwords=names, keep_from=0, closed=Span(10, HOP + 300))
    bench.engine.receive(DOOR, step, bench.now, sounds["b"][HOP : HOP + 700].tobytes())
    heard = bench.heard()
    assert heard["a"].pieces == [expected(np.concatenate([sounds["a"][10:HOP], other[:300]]))]
    assert heard["b"].pieces == [expected(sounds["b"][10 : HOP + 300], names)]
    assert bench.numbers.guesses_used == 0


@pytest.mark.parametrize("end", [
    lambda bench: bench.engine.receive(DOOR, Expect("a", 0), bench.now),
    lambda bench: bench.engine.receive(DOOR, Release("a"), bench.now),
    lambda bench: bench.engine.forget_door(DOOR),
    lambda bench: bench.chunk("a", sound(HOP), generation=1),
], ids=["speech went on", "released", "door lost", "another stream"])
def test_a_guess_that_was_wrong_is_left_where_it_is(end) -> None:
    bench = Bench(ScriptedSecond(pieces=30))
    begun(bench)
    end(bench)
    assert bench.heard() == {} and not bench.engine.busy
    assert bench.numbers.guesses_dropped == 1 and bench.engine._finals._passes == []


def test_guesses_come_after_chunks_and_closed_segments() -> None:
    bench = Bench(ScriptedSecond(pieces=3), sessions="abc")
    begun(bench, "a", pieces=0)
    bench.speak("b", sound(HOP))
    bench.chunk("c", sound(HOP), keep_from=None)
    live, final = bench.engine.begin(bench.now), bench.engine.begin(bench.now)
    assert isinstance(live, Begun) and isinstance(final, Turn)
    assert [job.tenant[1] for job in final.work.jobs] == ["b"]
    bench.engine.finish(final, final.run(clock=Clock(0.1)))
    assert bench.heard()["b"].error is None and bench.numbers.guesses_begun == 1


def test_a_newer_guess_takes_the_place_of_the_one_before() -> None:
    bench = Bench(ScriptedSecond(pieces=3))
    samples = begun(bench)
    guess(bench, "a", samples[HOP : HOP + 800], Span(10, HOP + 800))
    bench.chunk("a", samples[HOP : HOP + 900], 1, closed=Span(10, HOP + 800), keep_from=10)
    assert bench.heard()["a"].pieces == [expected(samples[10 : HOP + 800])]


def test_what_makes_no_sense_is_no_guess() -> None:
    bench = Bench()
    samples = begun(bench, pieces=0)
    bench.engine.receive(DOOR, Expect("a", 0), bench.now)
    rest = samples[HOP : HOP + 300]
    for session, generation, span, said in (
            ("x", 0, Span(0, HOP), rest[:0]), ("a", 1, Span(0, HOP), rest[:0]), ("a", 0, Span(-1, HOP), rest[:0]),
            ("a", 0, Span(9, 9), rest[:0]), ("a", 0, Span(0, HOP + 5), rest[:4]), ("a", 0, Span(0, HOP), rest),
            ("a", 0, Span(0, 3 * HOP), sound(2 * HOP))):
        guess(bench, session, said, span, generation)
        assert not bench.engine.busy, (session, span)


def test_a_guess_that_fails_is_heard_again_once_its_segment_has_ended() -> None:
    bench = Bench()
    samples = np.full(HOP, 5, np.int16)
    bench.chunk("a", samples)
    bench.engine.step(bench.now)
    bench.second.memory = 0
    guess(bench, "a", samples[:0], Span(0, HOP))
    bench.engine.step(bench.now), bench.engine.step(bench.now)
    bench.second.memory = 9
    bench.chunk("a", samples[:100], 1, closed=Span(0, HOP))
    assert bench.heard()["a"].pieces == [expected(samples)] and bench.numbers.guesses_dropped == 1


def test_one_at_fault_among_guesses_and_segments_costs_its_own_only() -> None:
    bench = Bench(ScriptedSecond(pieces=3), sessions="ab")
    sounds = {}
    for session, first in (("a", POISON), ("b", 7)):
        sounds[session] = sound(HOP, ord(session))
        sounds[session][:2] = 1, first
        bench.chunk(session, sounds[session])
    while bench.numbers.chunks_waiting:
        bench.engine.step(bench.now)
    for session in "ab":
        guess(bench, session, sound(0), Span(1, HOP))
    bench.engine.step(bench.now)
    bench.chunk("b", sound(9), 1, closed=Span(1, HOP))
    heard = bench.heard()
    assert heard["b"].pieces == [expected(sounds["b"][1:])] and set(heard) == {"b"}


@settings(max_examples=60, deadline=None)
@given(script=st.lists(st.tuples(st.sampled_from(["guess", "drop", "close", "piece", "piece"]), st.integers(0, 4)),
                       max_size=60), running=st.integers(1, 3), seed=st.randoms())
def test_whatever_is_guessed_every_closed_segment_is_answered_once_and_right(script, running: int, seed) -> None:
    answers: list[tuple[str, SecondPass]] = []
    statistics, second = Statistics(), ScriptedSecond(pieces=3)
    finals = Finals(second, statistics, lambda key, each: answers.append((key[1], each)), patience_s=1e9,
                    most_waiting=99, most_samples=1 << 20, most_running=running)
    streams: dict[int, Stream] = {}
    closed: dict[tuple[str, int], int] = {}
    under_way: list[Turn] = []
    for what, who in script:
        stream = streams.get(who)
        if stream is None:
            generation = sum(1 for name, _ in closed if name == str(who))
            stream = streams[who] = Stream((DOOR, str(who)), generation, WINDOW)
            finals.keep(stream, sound(2_000 + who, generation), 0)
            stream.next_sequence = 1
        length = len(sound(2_000 + who, stream.generation))
        if what == "guess":
            end = length - seed.choice([0, 0, 5])
            finals.guess(stream, Span(0, end), sound(0), 0.0)
        elif what == "drop":
            finals.drop(stream.tenant)
        elif what == "close":
            finals.add(stream, 1, Span(0, length), 0.0)
            closed[str(who), stream.generation] = length
            del streams[who]
        elif len(under_way) < running and (work := finals.begin(0.0)) is not None:
            under_way.append(work)
        elif under_way:
            done = under_way.pop(seed.randrange(len(under_way)))
            finals.finish(done, done.run(clock=Clock(0.1)))
    for who in range(5):
        finals.drop((DOOR, str(who)))
    while under_way or finals.ready:
        if under_way:
            done = under_way.pop()
            finals.finish(done, done.run(clock=Clock(0.1)))
        elif (work := finals.begin(0.0)) is not None:
            under_way.append(work)
    assert sorted((name, each.generation) for name, each in answers) == sorted(closed)
    for name, each in answers:
        assert each.pieces == [expected(sound(closed[name, each.generation], each.generation))]
    assert finals.waiting == 0 and finals._passes == []
    assert statistics.guesses_begun == statistics.guesses_used + statistics.guesses_dropped


def test_a_guess_crosses_the_wire() -> None:
    samples = sound(40)
    message, audio = unpack_from_door(pack_guess("s", Guess(3, Span(5, 99), samples)))
    assert message == Expect("s", 3, Span(5, 99)) and audio == samples.tobytes()
    with pytest.raises(Malformed):
        unpack_from_door([pack(Expect("s", 3))])
