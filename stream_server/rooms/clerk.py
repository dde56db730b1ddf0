"""Who reads and writes the store for a door, so that its loop never waits for a disk.

Finals that come while others are being written are written together, next.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from stream_server.rooms.observer import RoomObserver
from stream_server.rooms.store import Caption, Store

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_WAITING = 10_000
"""Finals that wait for a store that takes nothing; beyond, they are lost to the room, not to their speakers."""

BATCH = 500
RETRY_S = 1.0
CLOSE_WITHIN_S = 5.0


class Left(NamedTuple):
    """A speaker has left, after all that was put in before."""

    speaker: int


class Clerk:
    """One thread writes, another reads."""

    def __init__(self, file: Path, most_captions: int, observer: RoomObserver,
                 on_written: Callable[[set[str]], None]) -> None:
        """`on_written` is told the public names of the rooms of which something was written by `put`.

        Raises SettingsError where the file cannot be used.
        """
        self._stores = Store(file), Store(file)
        self._writer = ThreadPoolExecutor(1, "rooms-writer")
        self._reader = ThreadPoolExecutor(1, "rooms-reader")
        self._most_captions = most_captions
        self._observer = observer
        self._on_written = on_written
        self._waiting: list[tuple[str, Caption | Left]] = []
        self._writing: asyncio.Task[None] | None = None

    async def read(self, job: Callable[[Store], T]) -> T:
        """What a job finds that only reads."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, job, self._stores[1])

    async def write(self, job: Callable[[Store], T]) -> T:
        """What comes of a job, once it is written. It is done even if nobody waits for it any more."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, job, self._stores[0])

    def put(self, room: str, item: Caption | Left) -> None:
        """To be written soon, in order; `room` is the public name."""
        if len(self._waiting) >= MOST_WAITING and isinstance(item, Caption):
            self._observer.captions_lost(1)
            return
        self._waiting.append((room, item))
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_all())

    async def flush(self) -> None:
        """Returns when what waits is written, or it takes too long."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=CLOSE_WITHIN_S)

    async def close(self) -> None:
        """Ends both threads when they are done; what waits still is lost."""
        if self._writing is not None:
            self._writing.cancel()
        if self._waiting:
            log.error("%d captions were not written", len(self._waiting))
            self._observer.captions_lost(len(self._waiting))
        for executor, store in zip((self._writer, self._reader), self._stores, strict=True):
            executor.submit(store.close)
            executor.shutdown(wait=False)

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:BATCH]
                if await self._write_batch([item for _, item in batch]):
                    del self._waiting[:len(batch)]
                    self._on_written({room for room, _ in batch})
                else:
                    await asyncio.sleep(RETRY_S)
        finally:
            self._writing = None

    async def _write_batch(self, items: Sequence[Caption | Left]) -> bool:
        """Whether it is done with: False where it is worth another try."""
        captions = [item for item in items if isinstance(item, Caption)]
        left = [item.speaker for item in items if isinstance(item, Left)]

        def job(store: Store) -> None:
            # One transaction: what is tried again must not have been written in part.
            store.add(captions, round(1000 * time.time()), most=self._most_captions, left=left)

        try:
            await self.write(job)
        except sqlite3.OperationalError as error:
            log.error("%d captions wait: the rooms' store cannot be written: %s", len(captions), error)
            return False
        except Exception:
            log.exception("%d captions are lost to their rooms", len(captions))
            self._observer.captions_lost(len(captions))
            return True
        self._observer.captions(len(captions))
        return True
