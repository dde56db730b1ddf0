from __future__ import annotations

from collections.abc import AsyncIterator

from stream_client.events import Final, Partial
from stream_client.timings import Stopwatch, Timings

SILENCE, SPEECH = bytes(1920), b"\x00\x20" * 960


async def test_times_are_counted_from_the_first_sound_and_the_last_sample() -> None:
    now = 50.0

    async def blocks() -> AsyncIterator[bytes]:
        nonlocal now
        for block in (SILENCE, SPEECH, SPEECH, SILENCE):
            now += 0.06
            yield block

    stopwatch = Stopwatch(clock=lambda: now)
    async for _ in stopwatch.watch_sent(blocks()):
        pass
    for seconds, event in ((0.1, Partial(segment=0, text="")), (0.3, Partial(segment=0, text="今")),
                           (0.2, Final(segment=0, text="今天")), (0.1, Partial(segment=1, text="好"))):
        now += seconds
        stopwatch.received(event)
    assert stopwatch.timings() == Timings(first_partial_ms=520, final_ms=600, audio_s=0.24, elapsed_s=0.94)


def test_what_did_not_happen_is_never() -> None:
    assert str(Stopwatch(clock=lambda: 0.0).timings()) == (
        "first partial never after the first sound, last final never after the last sample; "
        "0.0 s of audio in 0.0 s"
    )
