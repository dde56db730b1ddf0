from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stream_client.pace import real_time

BLOCK = bytes(1920)
BLOCK_S = 0.06


class Clock:
    """Time that passes only in sleep, a little longer than asked each time."""

    def __init__(self, oversleep: float = 0.0) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self._oversleep = oversleep

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self._oversleep


async def blocks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield BLOCK


async def test_a_block_goes_out_when_its_end_is_heard() -> None:
    clock = Clock()
    moments = [clock.now - 100 async for _ in real_time(blocks(5), clock=clock, sleep=clock.sleep)]
    assert moments == pytest.approx([BLOCK_S * n for n in range(1, 6)])


async def test_an_hour_does_not_drift() -> None:
    clock = Clock(oversleep=0.002)
    async for _ in real_time(blocks(60_000), clock=clock, sleep=clock.sleep):
        pass
    assert clock.now - 100 == pytest.approx(3_600, abs=0.003)


async def test_after_a_delay_the_pace_is_caught_up() -> None:
    clock = Clock()
    moments = []
    async for _ in real_time(blocks(6), clock=clock, sleep=clock.sleep):
        moments.append(clock.now - 100)
        if len(moments) == 2:
            clock.now += 0.15
    assert moments == pytest.approx([0.06, 0.12, 0.27, 0.27, 0.30, 0.36])
