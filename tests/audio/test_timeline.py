"""Sound at its time by the sender's clock: gaps, pauses, wraps, and clocks that jump."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_server.audio.timeline import DRIFT, LONGEST_QUIET_S, QUIET_S, SLACK_S, Place, Timeline

RATE = 48_000
FRAME = 960


def put(timeline: Timeline, timestamp: int, now: float, samples: int = FRAME) -> Place:
    place = timeline.place(timestamp & 0xFFFFFFFF, now)
    timeline.advance(place.silence + max(samples - place.overlap, 0))
    return place


@given(first=st.integers(0, 2**32 - 1), present=st.sets(st.integers(0, 200), min_size=1))
def test_every_packet_is_where_its_time_says_whatever_is_lost_between(first: int, present: set[int]) -> None:
    timeline, begin = Timeline(RATE), min(present)
    for number in sorted(present):
        put(timeline, first + number * FRAME, number * 0.02)
        assert timeline.written == (number - begin + 1) * FRAME


def test_arrival_moves_nothing() -> None:
    timeline = Timeline(RATE)
    for number, late in enumerate([0, 0.3, 0, 1.5, 0.1]):
        assert put(timeline, number * FRAME, number * 0.02 + late) == (0, 0)


def test_silence_that_was_never_sent_is_put_in_exactly() -> None:
    timeline = Timeline(RATE)
    put(timeline, 0, 0.0)
    assert put(timeline, FRAME + 3 * RATE, 3.02) == (3 * RATE, 0)


def test_sound_that_is_there_already_is_not_put_twice() -> None:
    timeline = Timeline(RATE)
    put(timeline, 0, 0.0)
    assert put(timeline, FRAME // 2, 0.02) == (0, FRAME // 2)
    assert timeline.written == FRAME * 3 // 2


def test_while_nothing_comes_silence_is_put_in_and_counts_when_packets_come_again() -> None:
    timeline = Timeline(RATE)
    put(timeline, 0, 0.0)
    assert timeline.fill(QUIET_S - 0.1) == 0
    first, second = timeline.fill(QUIET_S), timeline.fill(QUIET_S + 0.5)
    assert (first, second) == (QUIET_S / 2 * RATE, 0.5 * RATE)
    put(timeline, 4 * RATE, 4.0)
    assert timeline.written == 4 * RATE + FRAME


def test_no_silence_is_put_in_for_ever() -> None:
    timeline = Timeline(RATE)
    put(timeline, 0, 0.0)
    timeline.fill(LONGEST_QUIET_S)
    assert timeline.fill(1000.0) == 0
    assert timeline.written == FRAME + round((LONGEST_QUIET_S - QUIET_S / 2) * RATE)


def test_nothing_is_put_in_before_the_first_packet() -> None:
    assert Timeline(RATE).fill(1000.0) == 0


def test_packets_that_come_after_silence_was_put_in_for_them_are_not_lost() -> None:
    timeline = Timeline(RATE)
    put(timeline, 0, 0.0)
    silence = timeline.fill(3.0)
    for number in range(1, 100):
        assert put(timeline, number * FRAME, 3.0) == (0, 0)
    assert timeline.written == silence + 100 * FRAME


def test_a_clock_that_is_set_anew_is_followed_and_puts_in_nothing() -> None:
    timeline = Timeline(RATE)
    put(timeline, 0, 0.0)
    assert put(timeline, round((SLACK_S + 1) * RATE), 0.1) == (0, 0)
    assert put(timeline, round((SLACK_S + 1) * RATE) + FRAME, 0.12) == (0, 0)
    assert put(timeline, -round(2 * SLACK_S * RATE), 0.14) == (0, 0)


@given(events=st.lists(st.tuples(st.floats(0, 60), st.integers(0, 2**32 - 1)), max_size=50))
def test_no_sender_can_make_more_sound_than_time_has_passed(events: list[tuple[float, int]]) -> None:
    timeline, now = Timeline(RATE), 0.0
    for pause, timestamp in events:
        now += pause
        timeline.fill(now)
        put(timeline, timestamp, now)
    # The slack is given once, not to each packet.
    assert timeline.written <= (now * (1 + DRIFT) + SLACK_S + len(events) * 0.02) * RATE + len(events) + 1


def test_many_packets_each_a_little_ahead_buy_no_more_silence_than_one() -> None:
    timeline = Timeline(RATE)
    for number in range(100):
        put(timeline, round(number * (SLACK_S - 0.1) * RATE), number * 0.02)
    assert timeline.written <= (2 + SLACK_S + 100 * 0.02) * RATE


def test_a_clock_a_little_too_fast_keeps_its_gaps_for_ever() -> None:
    timeline, second = Timeline(RATE), 1 - DRIFT / 2
    for number in range(50_000):
        put(timeline, 2 * number * RATE, 2 * number * second, RATE)
    assert timeline.written == (2 * 50_000 - 1) * RATE
