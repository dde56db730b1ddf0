"""Sessions that wait for their clients, without sessions: who is ended where too many wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.doors.parking import Parking
from tests.doors.test_driver import Counter

MOST = 3


@dataclass
class Waiting:
    """A holder whose session is `over` or not; one that `finishes` stays until it is told twice, or has finished."""

    car_park: CarPark
    over: bool = False
    finishes: bool = False
    token: str = ""
    told: int = 0

    def expire(self) -> None:
        self.told += 1
        if self.told > self.finishes:
            self.go()

    def drain(self) -> None:
        self.go()

    def leave(self) -> None:
        self.go()

    def go(self) -> None:
        self.car_park.gone.append(self)
        self.car_park.parking.leave(self)


@dataclass
class CarPark:
    """A parking of few places; `gone` are those that left it, in order."""

    counter: Counter = field(default_factory=Counter)
    gone: list[Waiting] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parking = Parking("door-0", self.counter, resume_s=600, most=MOST)

    def take(self, **kind: bool) -> Waiting:
        holder = Waiting(self, **kind)
        holder.token = self.parking.enter(holder)
        self.parking.park(holder)
        return holder


@settings(max_examples=50)
@given(st.lists(st.booleans(), max_size=20))
def test_where_too_many_wait_those_go_first_that_are_over_then_who_has_waited_longest(kinds: list[bool]) -> None:
    async def check() -> None:
        parked, waiting, gone = CarPark(), [], []
        for over in kinds:
            if len(waiting) == MOST:
                gone.append(next((holder for holder in waiting if holder.over), waiting[0]))
                waiting.remove(gone[-1])
            waiting.append(parked.take(over=over))
            assert parked.gone == gone
            assert parked.counter.waiting == len(parked.parking) == len(waiting)
        assert parked.counter.errors == ["crowded"] * len(gone)
        parked.parking.end()

    asyncio.run(check())


async def test_who_is_finished_keeps_no_place_and_is_ended_where_too_many_are() -> None:
    parked = CarPark()
    holders = [parked.take(finishes=True) for _ in range(2 * MOST)]
    assert parked.gone == [] and len(parked.parking) == 2 * MOST
    last = parked.take(finishes=True)
    assert parked.gone == holders[:1] and len(parked.parking) == 2 * MOST
    assert [holder.told for holder in holders] == [2, 1, 1, 1, 0, 0]
    assert parked.counter.errors == ["crowded"] * (MOST + 1)
    holders[2].go()
    assert parked.parking.holder(holders[1].token) is holders[1]
    parked.parking.drain()
    assert parked.gone == [holders[0], holders[2], *holders[4:], last, holders[1], holders[3]]
    assert len(parked.parking) == 0


async def test_who_is_finished_may_still_be_taken_over() -> None:
    parked = CarPark()
    first, *_ = [parked.take(finishes=True) for _ in range(MOST + 1)]
    other = Waiting(parked, token=first.token)
    parked.parking.take_over(other, first.token)
    assert parked.parking.holder(first.token) is other and len(parked.parking) == MOST
    parked.parking.end()
    assert other not in parked.gone
