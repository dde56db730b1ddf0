"""Lists of hotwords become graphs between steps: whom that keeps waiting, and whom not."""

from __future__ import annotations

from itertools import count

from stream_server.audio.windows import Window
from stream_server.engine.lists import Lists
from stream_server.engine.stream import Stream
from stream_server.engine.wire import Abort, Release
from stream_server.speech.context_graph import ContextGraph, GraphCache
from stream_server.speech.hotwords import MOST_WORDS, HotwordList, from_native
from stream_server.speech.spelling import Speller
from tests.engine.test_engine import DOOR, Bench, hop

VOCABULARY = [chr(0x4E00 + number) for number in range(1_000)]
LONG = from_native([chr(0x4E00 + number) + VOCABULARY[number - 7] * 4 for number in range(MOST_WORDS)])
SHORT_LIST = from_native(["".join(VOCABULARY[:3])])


class Desk:
    """Lists whose clock moves a millisecond whenever it is looked at, and who was given what, in order."""

    def __init__(self) -> None:
        self.given: list[tuple[Stream, ContextGraph]] = []
        ticks = count()
        self.lists = Lists(GraphCache(Speller(VOCABULARY)), lambda *given: self.given.append(given),
                           lambda: next(ticks) / 1_000)

    def ask(self, hotwords: HotwordList) -> Stream:
        stream = Stream((DOOR, "s"), 0, Window(4, 4))
        self.lists.ask(stream, hotwords)
        return stream

    def turns(self) -> int:
        """Works until nothing waits."""
        for turn in count():
            if not self.lists.ready:
                return turn
            self.lists.work()


def test_a_long_list_takes_many_turns_and_keeps_no_short_one_waiting() -> None:
    desk = Desk()
    long, short = desk.ask(LONG), desk.ask(SHORT_LIST)
    assert desk.given == [] and len(desk.lists) == 2
    assert desk.turns() > 20
    assert [stream for stream, _ in desk.given] == [short, long]
    cache = GraphCache(Speller(VOCABULARY))
    for (_, graph), hotwords in zip(desk.given, (SHORT_LIST, LONG), strict=True):
        wanted = cache.get(hotwords)
        assert graph.words == wanted.words and (graph.automaton.keys == wanted.automaton.keys).all()
        assert (graph.automaton.pending == wanted.automaton.pending).all()


def test_a_turn_takes_a_tenth_of_a_step() -> None:
    quick, slow = Desk(), Desk()
    slow.lists.step_s = 0.4
    for desk in (quick, slow):
        desk.ask(LONG)
    assert quick.turns() > 10 * slow.turns()


def test_a_list_is_built_once_for_all_who_have_it_and_then_known() -> None:
    desk = Desk()
    streams = [desk.ask(LONG) for _ in range(3)]
    turns = desk.turns()
    assert [stream for stream, _ in desk.given] == streams
    assert len({id(graph) for _, graph in desk.given}) == 1
    alone = Desk()
    alone.ask(LONG)
    assert alone.turns() == turns
    later = desk.ask(LONG)
    assert desk.given[-1] == (later, desk.given[0][1]) and not desk.lists.ready


def test_who_is_gone_is_given_nothing_and_what_only_they_wanted_is_not_built() -> None:
    desk = Desk()
    gone, going, there = desk.ask(LONG), desk.ask(SHORT_LIST), desk.ask(SHORT_LIST)
    for stream in (gone, going):
        desk.lists.forget(stream)
    assert desk.turns() < 10
    assert [stream for stream, _ in desk.given] == [there]


def test_steps_go_on_while_a_list_is_built() -> None:
    ticks = count()
    bench = Bench(clock=lambda: next(ticks) / 1_000)
    bench.admit("listed", "plain")
    bench.chunk("listed", hop(1), hotwords=LONG)
    steps = 0
    while "listed" not in (answers := bench.step() if steps else {}):
        bench.chunk("plain", hop(2), sequence=steps)
        steps += 1
    assert steps > 20 and answers["listed"].error is None and set(answers) == {"listed", "plain"}
    assert len(answers["listed"].unspelt) == len(LONG.words)
    assert not bench.engine.busy


def test_a_session_that_ends_while_its_list_is_built_leaves_nothing() -> None:
    for message in (Abort("a", 0), Release("a")):
        bench = Bench(slots=1)
        bench.admit("a")
        bench.chunk("a", hop(), hotwords=LONG)
        assert bench.engine.busy and bench.numbers.chunks_waiting == 1
        bench.engine.receive(DOOR, message, bench.now)
        assert not bench.engine.busy and bench.numbers.chunks_waiting == bench.numbers.slots_in_use == 0
        assert bench.step() == {}
