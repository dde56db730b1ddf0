from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from stream_server.doors.outbox import FULL, Goodbye, Outbox, Rest
from stream_server.session.messages import Final, Partial, ServerMessage, Speech


def partial(segment: int, revision: int) -> Partial:
    return Partial(segment=segment, revision=revision, text="", stable=0, start_ms=0, end_ms=0)


def final(segment: int) -> Final:
    return Final(segment=segment, revision=9, text="", start_ms=0, end_ms=0, reason="silence")


def speech(segment: int) -> Speech:
    return Speech(segment=segment, start_ms=0)


async def emptied(outbox: Outbox) -> list[ServerMessage]:
    outbox.close(1000, "")
    messages = []
    while (message := await outbox.take()) is not None:
        messages.append(message)
    return messages


async def test_a_newer_partial_takes_the_place_of_an_unsent_one() -> None:
    outbox = Outbox()
    for message in (speech(0), partial(0, 1), partial(0, 2), partial(0, 3)):
        outbox.put(message)
    assert await emptied(outbox) == [speech(0), partial(0, 3)]


async def test_a_final_makes_its_partial_needless_and_no_other() -> None:
    outbox = Outbox()
    for message in (partial(0, 1), final(0), partial(1, 1), final(2)):
        outbox.put(message)
    assert await emptied(outbox) == [final(0), partial(1, 1), final(2)]


async def test_whoever_waits_is_woken_by_a_message_and_by_the_end() -> None:
    outbox = Outbox()
    taken = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.put(final(0))
    assert await taken == final(0)
    taken = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.close(1000, "")
    assert await taken is None


async def test_the_first_goodbye_counts_and_what_is_there_still_goes_out() -> None:
    outbox = Outbox()
    outbox.put(final(0))
    outbox.close(1008, "first")
    outbox.close(1001, "second")
    assert outbox.goodbye == Goodbye(1008, "first")
    assert await emptied(outbox) == [final(0)]


async def test_at_the_finish_nothing_more_goes_out() -> None:
    outbox = Outbox()
    outbox.put(final(0))
    outbox.finish(1000, "")
    assert await outbox.take() is None


async def test_it_is_full_before_it_is_large() -> None:
    outbox = Outbox()
    for segment in range(FULL):
        assert not outbox.full
        outbox.put(final(segment))
    assert outbox.full


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans())))
async def test_finals_are_all_there_in_order_and_partials_at_most_one_a_segment(puts: list[tuple[int, bool]]) -> None:
    outbox = Outbox()
    for revision, (segment, is_final) in enumerate(puts):
        outbox.put(final(segment) if is_final else partial(segment, revision))
    messages = await emptied(outbox)
    assert [m.segment for m in messages if isinstance(m, Final)] == [segment for segment, is_final in puts if is_final]
    partials = [m for m in messages if isinstance(m, Partial)]
    assert len({m.segment for m in partials}) == len(partials)
    for message in partials:
        latest = max(i for i, (segment, _) in enumerate(puts) if segment == message.segment)
        assert message.revision == latest


async def test_the_rest_of_a_message_goes_before_all_others() -> None:
    outbox = Outbox()
    outbox.put(speech(1))
    outbox.put_rest(Rest(final(0), ["the second half"]))
    assert await emptied(outbox) == [Rest(final(0), ["the second half"]), speech(1)]


async def test_nothing_goes_past_what_waits_or_behind_the_goodbye() -> None:
    outbox = Outbox()
    assert not outbox.awaited
    writer = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert outbox.awaited
    outbox.put(speech(0))
    assert not outbox.awaited
    assert await writer == speech(0)
    writer = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.close(1000, "")
    assert not outbox.awaited and await writer is None
