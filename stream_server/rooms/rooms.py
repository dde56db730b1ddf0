"""The rooms of a server, as one of its doors has them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from stream_server.config import RoomSettings
from stream_server.doors.seats import ALONE, Alone
from stream_server.rooms.audience import Sink
from stream_server.rooms.bus import Bus, PartialNews
from stream_server.rooms.clerk import Clerk
from stream_server.rooms.files import store_file
from stream_server.rooms.hall import Hall, Limits, Place
from stream_server.rooms.observer import RoomObserver
from stream_server.rooms.recording import Recorder
from stream_server.rooms.seat import Seat
from stream_server.rooms.store import NewRoom, Room, Scene, Speaker, Store, Transcript
from stream_server.session.messages import Start

log = logging.getLogger(__name__)

SWEEP_S = 60.0

LOOK_S = 2.0
"""So often is looked whether a room whose sound is kept was ended, which any door may have done."""


class Rooms:
    """Made within a running loop; `close` ends it."""

    def __init__(self, settings: RoomSettings, runtime: Path, door: str, doors: tuple[str, ...], *,
                 patience_s: float, observer: RoomObserver) -> None:
        """`runtime`: the server's private directory; a viewer that takes nothing for `patience_s` is cut off.

        Raises SettingsError where the store cannot be used.
        """
        self._settings = settings
        self._door = door
        self._doors = doors
        self._forgotten = False
        """Nobody is in the store any more who spoke at this door before it began."""
        self._observer = observer
        self._clerk = Clerk(store_file(settings, runtime), settings.captions, observer, self._written)
        self._bus = Bus(runtime, door, doors, self._hear)
        self._hall = Hall(self._clerk, Limits(settings.viewers, settings.captions, patience_s), observer,
                          self._bus.subscribe, self._bus.unsubscribe)
        self._recorder = None
        if settings.recording_folder is not None:
            self._recorder = Recorder(settings.recording_folder, settings.recording_hours)
        self._tasks = [asyncio.create_task(self._sweep())]
        if self._recorder is not None:
            self._tasks.append(asyncio.create_task(self._end_recordings(self._recorder)))

    # ---- of rooms

    async def create(self, name: str, recorded: bool) -> NewRoom:
        """`recorded`: whether its sound shall be kept, which needs a folder of the operator's. Raises Overloaded where
        there are too many."""
        recorded = recorded and self._recorder is not None
        made = await self._clerk.write(lambda store: store.create(name, recorded, _now(), most=self._settings.most))
        await self._count()
        return made

    async def find(self, token: str) -> Room | None:
        """The room of a token, whether that speaks or reads."""
        return await self._clerk.read(lambda store: store.find(token))

    async def scene(self, token: str) -> Scene | None:
        """The room of a token, and who is in it."""
        return await self._clerk.read(lambda store: store.scene(token, after=_NOTHING))

    async def transcript(self, token: str) -> Transcript | None:
        """What was said in the room of a token."""
        return await self._clerk.read(lambda store: store.transcript(token))

    async def end(self, speak: str) -> bool:
        """Ends the room of a speaker token, for all; False where there is none."""
        room = await self._clerk.write(lambda store: store.end(speak, _now()))
        if room is not None:
            self._changed(room.public)
        return room is not None

    # ---- of speakers

    async def take(self, start: Start) -> Seat | Alone:
        """As doors/seats.py has it."""
        if start.room is None:
            return ALONE
        speak, name = start.room, start.name

        def join(store: Store) -> tuple[Room, Speaker]:
            self._forget(store)
            return store.join(speak, name, self._door, most=self._settings.speakers)

        joining = asyncio.ensure_future(self._clerk.write(join))
        try:
            room, speaker = await asyncio.shield(joining)
        except asyncio.CancelledError:
            joining.add_done_callback(self._leave_again)
            raise
        self._changed(room.public)
        track = self._recorder.track(room, speaker) if room.recorded and self._recorder is not None else None
        return Seat(room, speaker, self._clerk.put, self._partial, time.time, track)

    def _leave_again(self, joining: asyncio.Future) -> None:
        if not joining.cancelled() and joining.exception() is None:
            room, speaker = joining.result()
            Seat(room, speaker, self._clerk.put, self._partial, time.time).leave()

    # ---- of viewers

    async def enter(self, room: Room, sink: Sink, after: int, on_over: Callable[[], None]) -> Place | None:
        """As Hall.enter."""
        return await self._hall.enter(room, sink, after, on_over)

    def leave(self, place: Place) -> None:
        self._hall.leave(place)

    async def close(self) -> None:
        """Writes what waits, and sends viewers away until the server is back."""
        for task in self._tasks:
            task.cancel()
        await self._clerk.flush()
        await self._hall.close()
        await self._clerk.close()
        await self._bus.close()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)

    # ---- inside

    def _partial(self, room: str, speaker: int, segment: int, event: bytes) -> None:
        self._hall.partial(room, speaker, segment, event)
        self._bus.partial(room, speaker, segment, event)

    def _written(self, rooms: set[str]) -> None:
        for room in rooms:
            self._changed(room)

    def _changed(self, room: str) -> None:
        self._hall.changed(room)
        self._bus.changed(room)

    def _hear(self, room: str, news: PartialNews) -> None:
        if news.event:
            self._hall.partial(room, news.speaker, news.segment, news.event)
        else:
            self._hall.changed(room)

    def _forget(self, store: Store) -> None:
        """In the writer's thread, before anybody joins by this door: later it would take the living for gone."""
        if not self._forgotten:
            store.forget_door(self._door, self._doors)
            self._forgotten = True

    async def _sweep(self) -> None:
        kept_ms = round(self._settings.kept_hours * 3_600_000)

        def sweep(store: Store) -> list[str]:
            self._forget(store)
            return store.sweep(_now(), kept_ms)

        while True:
            try:
                for room in await self._clerk.write(sweep):
                    self._changed(room)
                await self._count()
            except Exception:
                log.exception("rooms could not be swept")
            await asyncio.sleep(min(SWEEP_S, kept_ms / 10_000))

    async def _end_recordings(self, recorder: Recorder) -> None:
        """Who speaks on after the end speaks for himself, and has not agreed to be kept."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                recorded = recorder.recorded()
                if recorded:
                    recorder.end(await self._clerk.read(lambda store: _ended(store, recorded)))  # noqa: B023
            except Exception:
                log.exception("it could not be read whether rooms that are recorded have ended")

    async def _count(self) -> None:
        self._observer.rooms(await self._clerk.read(lambda store: store.count()))


_NOTHING = 1 << 62
"""Above every caption's id."""


def _ended(store: Store, rooms: set[str]) -> set[str]:
    """Those of these viewer tokens whose rooms have ended, or are no more."""
    found = {read: store.find(read) for read in rooms}
    return {read for read, room in found.items() if room is None or room.ended_ms is not None}


def _now() -> int:
    return round(1000 * time.time())
