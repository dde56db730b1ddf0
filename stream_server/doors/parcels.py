"""What doors hand each other over their sockets: bytes of a kind, one after another."""

from __future__ import annotations

import asyncio
import struct

_HEAD = struct.Struct("!cI")

MOST_UNSENT_BYTES = 64 << 10
"""Bytes that may wait to be taken by the other door; then the sender waits."""

TEXT, AUDIO, GOODBYE, LEFT = b"t", b"a", b"g", b"l"


def write(writer: asyncio.StreamWriter, kind: bytes, data: bytes = b"") -> None:
    """Puts a parcel on its way; `await writer.drain()` waits while too much is."""
    writer.write(_HEAD.pack(kind, len(data)) + data)


async def read(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    """The next parcel; None where no whole one comes any more."""
    try:
        kind, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return kind, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, OSError):
        return None
