"""When audio is sent: as a microphone would, or as fast as the server takes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

from stream_client.wishes import SAMPLE_BYTES, SAMPLE_RATE


async def real_time(
    blocks: AsyncIterable[bytes],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[bytes]:
    """The blocks, each at the moment at which a microphone would have heard the whole of it.

    Moments are counted from the first block, not from the one before: a late block makes none after it late.
    """
    start = clock()
    heard = 0
    async for block in blocks:
        heard += len(block)
        remaining = start + heard / (SAMPLE_BYTES * SAMPLE_RATE) - clock()
        if remaining > 0:
            await sleep(remaining)
        yield block
