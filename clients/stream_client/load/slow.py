"""The slow run: how rulers are made. Each message waits until everything due to the one before has surely come."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from stream_client.errors import ServerError
from stream_client.load.client import REFUSALS, Client, tls
from stream_client.load.ruler import Ruler, earlier
from stream_client.load.tokens import Transcript
from stream_client.load.wire import Target

SHORTEST_QUIET_S = 0.1
QUIET_FACTOR = 3.0
LATEST_ANSWERS = 100
ENOUGH_ANSWERS = 10
UNKNOWN_QUIET_S = 1.0
"""Where the greeting had no text, and so told nothing of how long answers take."""

PATIENCE_WITH_REFUSALS_S = 5.0
AGAIN_AFTER_S = 0.5


class Quiet:
    """How long no text must come until all is taken to have come.

    Three times what nine in ten of the latest answers have taken, and never less than 100 ms. Before there are enough
    answers: what the server took for three seconds of speech at once, which is more steps than one message can cause.
    """

    def __init__(self, greeting_s: float | None) -> None:
        self.seconds = max(SHORTEST_QUIET_S, UNKNOWN_QUIET_S if greeting_s is None else greeting_s)
        self._delays: deque[float] = deque(maxlen=LATEST_ANSWERS)

    def answered(self, delay_s: float) -> None:
        self._delays.append(delay_s)
        if len(self._delays) >= ENOUGH_ANSWERS:
            usual = sorted(self._delays)[len(self._delays) * 9 // 10]
            self.seconds = max(SHORTEST_QUIET_S, QUIET_FACTOR * usual)


@dataclass(frozen=True)
class SlowRun:
    """What came out of it: a ruler for each content, and how."""

    rulers: tuple[Ruler, ...]
    quiet_s: float
    """What a message waited for in the end."""
    fickle: int
    """Contents whose text was not the same twice, although the server was idle."""


async def make_rulers(target: Target, contents: Sequence[Sequence[bytes]], greeting: Sequence[bytes],
                      patience_s: float) -> SlowRun:
    """A ruler for each content (its frames); raises what kept one from being made.

    The greeting, a few seconds of speech, goes first, unpaced and twice: the first time warms the server up, the
    second tells how long it takes. Then all contents go at the same time, each on two connections: an answer that was
    held up longer than the quiet is taken for that of a later message, so the earlier of the two is right.
    """
    context = tls(target)
    await _greet(target, context, greeting, patience_s)
    quiet = Quiet(await _greet(target, context, greeting, patience_s))
    twice = [frames for frames in contents for _ in range(2)]
    room = _Room()
    tasks = [asyncio.create_task(room.attempt(partial(_make_ruler, target, context, frames, quiet, patience_s)))
             for frames in twice]
    try:
        made = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    pairs = list(zip(made[::2], made[1::2], strict=True))
    return SlowRun(tuple(earlier(*pair) for pair in pairs), quiet.seconds,
                   sum(one.tokens != other.tokens for one, other in pairs))


class _Room:
    """Lets those that a small server refuses wait for those that it serves."""

    def __init__(self) -> None:
        self._under_way = 0

    async def attempt(self, make: Callable[[], Awaitable[Ruler]]) -> Ruler:
        give_up_at = time.monotonic() + PATIENCE_WITH_REFUSALS_S
        while True:
            self._under_way += 1
            try:
                return await make()
            except ServerError as error:
                alone = self._under_way == 1
                if error.code not in REFUSALS or (alone and time.monotonic() > give_up_at):
                    raise
            finally:
                self._under_way -= 1
            await asyncio.sleep(AGAIN_AFTER_S)


async def _greet(target: Target, context: ssl.SSLContext | None, frames: Sequence[bytes],
                 patience_s: float) -> float | None:
    """Seconds from the first message to the last text; None where there was none."""
    client, listener = await _begin(target, context, Transcript(time.monotonic))
    try:
        start = time.monotonic()
        for frame in frames:
            await _write(client, frame)
        await _finish(client, listener, patience_s)
        return client.text_at - start if client.text_at is not None else None
    finally:
        listener.cancel()
        client.abort()


async def _make_ruler(target: Target, context: ssl.SSLContext | None, frames: Sequence[bytes], quiet: Quiet,
                      patience_s: float) -> Ruler:
    sent = 0
    sent_at = 0.0
    transcript = Transcript(lambda: sent)
    client, listener = await _begin(target, context, transcript)
    client.on_text = lambda: quiet.answered(client.text_at - sent_at)
    try:
        for frame in frames:
            sent_at = time.monotonic()
            await _write(client, frame)
            sent += 1
            await _until_quiet(client, sent_at, quiet)
        sent += 1
        sent_at = time.monotonic()
        await _finish(client, listener, patience_s)
        return Ruler(len(frames), tuple(transcript.tokens), tuple(transcript.moments))
    finally:
        listener.cancel()
        client.abort()


async def _begin(target: Target, context: ssl.SSLContext | None,
                 transcript: Transcript) -> tuple[Client, asyncio.Task[None]]:
    client = Client(target, transcript)
    await client.open(context)
    if client.error is not None:
        raise client.error
    return client, asyncio.create_task(client.listen())


async def _until_quiet(client: Client, sent_at: float, quiet: Quiet) -> None:
    while not client.finished:
        heard_at = max(sent_at, client.text_at or 0.0)
        remaining = heard_at + quiet.seconds - time.monotonic()
        if remaining <= 0:
            return
        await asyncio.sleep(remaining)


async def _write(client: Client, frame: bytes) -> None:
    while not client.finished and not client.write(frame):
        await asyncio.sleep(0.001)


async def _finish(client: Client, listener: asyncio.Task[None], patience_s: float) -> None:
    if not client.finished:
        client.stop(patience_s)
    await listener
    if client.error is not None:
        raise client.error
    await client.close()
