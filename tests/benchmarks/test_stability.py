"""What `python -m benchmarks stability` counts, of made-up events and of a real server's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.stability import Character, Said, Waits, Watch, stable_taken_back
from stream_client import Event, Final, Partial, Wishes, transcribe_file
from tests.support.server import Server

NAME = Path(__file__).parents[2] / "samples" / "name.wav"


def partial(text: str, stable: int, segment: int = 0) -> Partial:
    return Partial(segment=segment, text=text, stable=stable)


@pytest.mark.parametrize(("events", "taken_back", "provisional", "changed"), [
    ([partial("今天", 2), partial("今天好", 3), Final(segment=0, text="今天好吗")], 0, 0, 0),
    ([partial("今天好", 1), partial("今年好", 3), Final(segment=0, text="今年好")], 0, 2, 1),
    ([partial("今天", 2), partial("今年好", 1)], 1, 2, 0),
    ([partial("今天好", 3), Final(segment=0, text="今")], 2, 0, 0),
    ([partial("今天好", 1), Final(segment=0, text="今")], 0, 2, 2),
    ([partial("今天好", 3), Final(segment=0, text="明天", second_pass=True)], 0, 0, 0),
    ([partial("三点", 2), Final(segment=0, text="3:00。", spoken="三点")], 0, 0, 0),
    ([partial("今", 1), partial("好", 1, 1), Final(segment=0, text="今"), Final(segment=1, text="好")], 0, 0, 0),
])
def test_what_is_taken_back_and_what_only_changes(events: list[Event], taken_back: int, provisional: int,
                                                  changed: int) -> None:
    watch = Watch()
    for event in events:
        watch.receive(event)
    assert (watch.taken_back, watch.provisional, watch.changed) == (taken_back, provisional, changed)
    assert stable_taken_back(events) == taken_back


def test_only_a_second_pass_that_says_otherwise_rewrites() -> None:
    watch = Watch()
    for text in ("今天好", "明天好"):
        watch.receive(partial("今天好", 2))
        watch.receive(Final(segment=0, text=text, second_pass=True))
    assert (watch.second_passes, watch.rewritten) == (2, 1)


def test_characters_wait_from_their_sound_until_they_are_shown_and_then_stable() -> None:
    watch, waits = Watch(), Waits()
    watch.receive(partial("今天", 1), 900)
    watch.receive(partial("今天火", 2), 1_500)
    watch.receive(Final(segment=0, text="今天好"), 2_100)
    assert watch.segments[0].characters == [Character(900, 900), Character(900, 1_500), Character(2_100, 2_100)]
    waits.add(Said(b"", "在今天好", [100, 300, 600, 1_000], [], []), watch)
    assert waits.shown_after == [600, 300, 1_100]
    assert waits.stable_after_shown == [0, 600, 0]
    assert waits.stable_after == [600, 900, 1_100]


@given(steps=st.lists(st.tuples(st.text("今天好", max_size=3), st.text("火马", max_size=3)), max_size=6))
def test_text_that_only_grows_behind_what_is_stable_takes_nothing_back(steps: list[tuple[str, str]]) -> None:
    certain, events = "", []
    for more, undecided in steps:
        certain += more
        events.append(partial(certain + undecided, len(certain)))
    assert stable_taken_back([*events, Final(segment=0, text=certain)]) == 0


async def test_a_real_server_takes_nothing_back(server: Server) -> None:
    watch = Watch()
    async for event in transcribe_file(NAME, url=server.url, wishes=Wishes(hotwords=("章玮", "张为民"))):
        watch.receive(event)
    assert watch.provisional and not watch.taken_back
