"""Packets out of order, late, twice, lost, and senders that count anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_server.audio.jitter import FURTHEST, MOST_WAITING, WAIT_S, JitterBuffer, Packet

SPACING_S = 0.02


def packet(number: int, first: int = 65_500) -> Packet:
    """The packet of a number; sequence numbers wrap soon."""
    return Packet((first + number) & 0xFFFF, number * 960, b"%d" % number)


def delivered(arrivals: list[tuple[float, int]]) -> list[int]:
    """The numbers that come out, of packets that arrive at these times."""
    buffer, out = JitterBuffer(), []
    for now, number in arrivals:
        out += buffer.receive(packet(number), now)
    out += buffer.take_all()
    return [int(each.payload) for each in out]


def test_nothing_is_held_back_while_nothing_is_missing() -> None:
    buffer = JitterBuffer()
    assert [len(buffer.receive(packet(number), 0.0)) for number in range(100)] == [1] * 100


@given(delays=st.lists(st.floats(0, WAIT_S * 0.9), min_size=1, max_size=60), lost=st.sets(st.integers(1, 59)))
def test_whatever_comes_in_time_comes_out_in_order_and_once(delays: list[float], lost: set[int]) -> None:
    arrivals = sorted((number * SPACING_S + delay, number) for number, delay in enumerate(delays) if number not in lost)
    first = arrivals[0][1]
    out = delivered(arrivals)
    # What is before the first to arrive has no place any more.
    assert out == [number for number in range(len(delays)) if number >= first and number not in lost]


@given(arrivals=st.lists(st.tuples(st.floats(0, 100), st.integers(0, 300)), max_size=100))
def test_whatever_comes_is_in_order_and_never_twice(arrivals: list[tuple[float, int]]) -> None:
    out = delivered(sorted(arrivals))
    assert out == sorted(set(out))
    assert set(out) <= {number for _, number in arrivals}


def test_a_missing_packet_is_waited_for_so_long_and_no_longer() -> None:
    buffer = JitterBuffer()
    buffer.receive(packet(0), 0.0)
    assert buffer.receive(packet(2), 1.0) == []
    assert buffer.take(1.0 + WAIT_S / 2) == []
    assert buffer.take(1.0 + WAIT_S) == [packet(2)]
    assert buffer.lost == 1
    assert buffer.receive(packet(1), 1.2) == []
    assert buffer.late == 1


def test_what_waits_is_bounded() -> None:
    buffer = JitterBuffer()
    buffer.receive(packet(0), 0.0)
    held = [len(buffer.receive(packet(number), 0.0)) for number in range(2, MOST_WAITING + 3)]
    assert held == [0] * MOST_WAITING + [MOST_WAITING + 1]


def test_a_sender_that_counts_anew_is_followed() -> None:
    buffer = JitterBuffer()
    buffer.receive(packet(0), 0.0)
    assert buffer.receive(packet(2), 0.0) == []
    far = Packet((packet(2).sequence + FURTHEST + 10) & 0xFFFF, 7, b"new")
    assert buffer.receive(far, 0.0) == [packet(2), far]
