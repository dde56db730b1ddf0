"""A whole source of audio, sent and recognised."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from stream_client.connection import DEFAULT_URL, connect
from stream_client.events import Event
from stream_client.media import read_blocks
from stream_client.pace import real_time
from stream_client.wishes import Wishes

LONGEST_NAME = 255


async def transcribe(
    blocks: AsyncIterable[bytes],
    *,
    url: str = DEFAULT_URL,
    dialect: str = "native",
    wishes: Wishes | None = None,
    insecure: bool = False,
    cafile: str | Path | None = None,
) -> AsyncIterator[Event]:
    """A session for blocks of 16 kHz mono 16 bit audio, from Ready to Ended."""
    async with (
        connect(url, dialect=dialect, wishes=wishes, insecure=insecure, cafile=cafile) as stream,
        aclosing(stream.transcribe(blocks)) as events,
    ):
        async for event in events:
            yield event


async def transcribe_file(
    path: str | Path,
    *,
    url: str = DEFAULT_URL,
    fast: bool = True,
    dialect: str = "native",
    wishes: Wishes | None = None,
    insecure: bool = False,
    cafile: str | Path | None = None,
) -> AsyncIterator[Event]:
    """A session for an audio or video file: as fast as the server takes it, or else at the pace of speech.

    Raises MediaError before a session is opened where nothing of the file can be read.
    """
    blocks = await begin(read_blocks(path))
    named = called(wishes or Wishes(), path)
    paced = blocks if fast else real_time(blocks)
    async with aclosing(
        transcribe(paced, url=url, dialect=dialect, wishes=named, insecure=insecure, cafile=cafile)
    ) as events:
        async for event in events:
            yield event


def called(wishes: Wishes, path: str | Path) -> Wishes:
    """The same wishes for a session that, unless it has a name, is called as the file."""
    return wishes if wishes.name else replace(wishes, name=Path(path).name[:LONGEST_NAME])


async def begin(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same blocks, the first already taken: what fails at the start fails here."""
    first = await anext(blocks, None)

    async def all_blocks() -> AsyncIterator[bytes]:
        if first is not None:
            yield first
        async for block in blocks:
            yield block

    return all_blocks()
