"""When a busy door rests, and what it does before and instead."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.doors.gathering import BUSY_PER_S, WINDOW_S, Gathering, Traffic

LONGER_THAN_ANY_TEST_S = 1000.0
HUNG_AFTER_S = 10.0


def asked(traffic: Traffic, times: list[float], before: int = 0) -> list[bool]:
    return [traffic.is_busy(before + number, now) for number, now in enumerate(times, 1)]


@given(gaps=st.lists(st.floats(1.01 / BUSY_PER_S, 1.0), max_size=200))
def test_slow_messages_are_never_many(gaps: list[float]) -> None:
    times = [1000 + sum(gaps[:count]) for count in range(len(gaps))]
    assert not any(asked(Traffic(), times))


@given(rate=st.floats(2.5 * BUSY_PER_S, 100_000), start=st.floats(0, 1e6))
def test_quick_messages_are_many_from_the_second_window_on(rate: float, start: float) -> None:
    times = [start + number / rate for number in range(int(2.5 * WINDOW_S * rate))]
    answers = asked(Traffic(), times)
    assert not answers[0] and answers[-1]
    assert answers == sorted(answers)


@given(pause=st.floats(2 * WINDOW_S, 1e4), rate=st.floats(2.5 * BUSY_PER_S, 10_000))
def test_after_a_pause_messages_are_not_many_at_first(pause: float, rate: float) -> None:
    traffic, times = Traffic(), [number / rate for number in range(int(2.5 * WINDOW_S * rate))]
    assert asked(traffic, times)[-1]
    assert not traffic.is_busy(len(times) + 1, times[-1] + pause)


@pytest.fixture
def woken() -> Iterator[None]:
    """Interrupts a rest that nothing ends, which no task of its loop could, and fails the test."""
    hung: list[int] = []

    def wake(signal_number: int, frame: object) -> None:
        hung.append(signal_number)
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, wake)
    signal.setitimer(signal.ITIMER_REAL, HUNG_AFTER_S, HUNG_AFTER_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    assert not hung, "a rest went on though a descriptor could be read"


@pytest.fixture
def readable() -> Iterator[int]:
    """A descriptor that can be read."""
    descriptor, other = os.pipe()
    os.write(other, b"x")
    yield descriptor
    os.close(descriptor)
    os.close(other)


async def messages_come(gathering: Gathering) -> None:
    """Many, and time goes by."""
    for _ in range(50):
        gathering.heard()
    await asyncio.sleep(0.005)


@pytest.mark.usefixtures("woken")
async def test_a_rest_ends_when_an_engine_has_something_to_say(readable: int) -> None:
    looks = []
    gathering = Gathering(LONGER_THAN_ANY_TEST_S, lambda: looks.append(1) or [readable])
    while len(looks) < 5:
        await messages_come(gathering)


@pytest.mark.usefixtures("woken")
async def test_what_a_turn_has_to_send_goes_before_the_rest(readable: int) -> None:
    order: list[str] = []
    gathering = Gathering(LONGER_THAN_ANY_TEST_S, lambda: order.append("rest") or [readable])
    while "rest" not in order:
        await messages_come(gathering)
        order.clear()
        gathering.heard()
        asyncio.get_running_loop().call_soon(order.append, "sent")
        for _ in range(3):
            await asyncio.sleep(0)
    assert order == ["sent", "rest"]


async def test_few_messages_cause_no_rest() -> None:
    rests: list[int] = []
    gathering = Gathering(LONGER_THAN_ANY_TEST_S, lambda: rests.append(1) or [])
    for _ in range(5):
        gathering.heard()
        await asyncio.sleep(0.03)
    assert not rests


async def test_without_a_longest_rest_there_is_none() -> None:
    rests: list[int] = []
    gathering = Gathering(0.0, lambda: rests.append(1) or [])
    for _ in range(60):
        await messages_come(gathering)
    assert not rests
