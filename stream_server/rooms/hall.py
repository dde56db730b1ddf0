"""The audiences of a door: who reads is brought together here with what the store and the other doors have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from stream_server.errors import Overloaded
from stream_server.rooms import events
from stream_server.rooms.audience import Audience, Sink, Viewer
from stream_server.rooms.clerk import Clerk
from stream_server.rooms.observer import RoomObserver
from stream_server.rooms.store import Room

log = logging.getLogger(__name__)

FLUSH_S = 0.05
"""At most so often is something sent to viewers: what comes meanwhile goes together."""

TICK_S = 0.25
LOOK_EVERY = 8
"""Ticks after which the store is looked at without a hint: one may have been lost."""

HEARTBEAT_EVERY = 60
"""Ticks; 15 s."""


class Limits(NamedTuple):
    """What viewers may take of a door."""

    viewers: int
    captions: int
    patience_s: float


class _Showing:
    """A room that is read at this door."""

    def __init__(self, room: Room, audience: Audience) -> None:
        self.room = room
        self.audience = audience
        self.looking: asyncio.Task[None] | None = None
        self.look_again = False
        self.flush: asyncio.TimerHandle | None = None
        self.flushed_at = 0.0
        self.cut = 0


class Place(NamedTuple):
    """A viewer in its room."""

    showing: _Showing
    viewer: Viewer


class Hall:
    """All rooms that are read at this door. `subscribe` and `unsubscribe` are told which."""

    def __init__(self, clerk: Clerk, limits: Limits, observer: RoomObserver, subscribe: Callable[[str], None],
                 unsubscribe: Callable[[str], None]) -> None:
        self._clerk = clerk
        self._limits = limits
        self._observer = observer
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._showings: dict[str, _Showing] = {}
        self._opening: dict[str, asyncio.Task[_Showing | None]] = {}
        self._loop = asyncio.get_running_loop()
        self._ticking = asyncio.create_task(self._tick())

    async def enter(self, room: Room, sink: Sink, after: int, on_over: Callable[[], None]) -> Place | None:
        """Another viewer, who has the finals up to the id `after`; None where the room is no more.

        Raises Overloaded where there are too many viewers.
        """
        while True:
            showing = await self._showing(room)
            if showing is None:
                return None
            if self._showings.get(room.public) is showing:
                break
            # It was closed meanwhile, as nobody was in it yet.
        if len(showing.audience.viewers) >= self._limits.viewers:
            raise Overloaded(f"{self._limits.viewers} viewers read in this room already", retry_after_s=30)
        viewer = showing.audience.enter(sink, after, self._loop.time(), on_over)
        self._observer.viewers(1)
        return Place(showing, viewer)

    def leave(self, place: Place) -> None:
        """The viewer is gone."""
        self._observer.viewers(-1)
        audience = place.showing.audience
        audience.leave(place.viewer)
        if not audience.viewers:
            self._close(place.showing)

    def changed(self, room: str) -> None:
        """The store has news of a room."""
        showing = self._showings.get(room)
        if showing is not None:
            self._look(showing)

    def partial(self, room: str, speaker: int, segment: int, event: bytes) -> None:
        """A speaker is saying something."""
        showing = self._showings.get(room)
        if showing is not None:
            showing.audience.partial(speaker, segment, event)
            self._flush_soon(showing)

    async def close(self) -> None:
        """All viewers get what is in the store, and are told to come back later."""
        self._ticking.cancel()
        for opening in self._opening.values():
            opening.cancel()
        showings = list(self._showings.values())
        await asyncio.gather(*(self._look(showing) for showing in showings), return_exceptions=True)
        for showing in showings:
            showing.audience.end(events.closing_event())
            showing.audience.tick(self._loop.time())
            self._close(showing)

    # ---- inside

    async def _showing(self, room: Room) -> _Showing | None:
        showing = self._showings.get(room.public)
        if showing is not None:
            return showing
        opening = self._opening.get(room.public)
        if opening is None:
            opening = self._opening[room.public] = asyncio.create_task(self._open(room))
            opening.add_done_callback(lambda _: self._opening.pop(room.public, None))
        # Others may wait for the same.
        return await asyncio.shield(opening)

    async def _open(self, room: Room) -> _Showing | None:
        # Before the store is read, so that nothing falls between.
        self._subscribe(room.public)
        try:
            scene = await self._clerk.read(lambda store: store.scene(room.read))
        except BaseException:
            self._unsubscribe(room.public)
            raise
        if scene is None:
            self._unsubscribe(room.public)
            return None
        audience = Audience(scene, most_finals=self._limits.captions, patience_s=self._limits.patience_s)
        showing = self._showings[room.public] = _Showing(room, audience)
        return showing

    def _close(self, showing: _Showing) -> None:
        if self._showings.get(showing.room.public) is not showing:
            # It was closed already, by its last viewer or by the end of all; another may be in its place.
            return
        del self._showings[showing.room.public]
        self._unsubscribe(showing.room.public)
        if showing.flush is not None:
            showing.flush.cancel()

    def _look(self, showing: _Showing) -> asyncio.Task[None]:
        """Reads the store, once more where it is being read already."""
        if showing.looking is None:
            showing.looking = asyncio.create_task(self._look_at_store(showing))
        else:
            showing.look_again = True
        return showing.looking

    async def _look_at_store(self, showing: _Showing) -> None:
        audience = showing.audience
        try:
            while not audience.over:
                showing.look_again = False
                last = audience.last
                scene = await self._clerk.read(lambda store: store.scene(showing.room.read, last))  # noqa: B023
                if scene is None:
                    audience.end(events.ended_event(None, "expired"))
                else:
                    audience.show(scene)
                self._flush_soon(showing)
                if not showing.look_again:
                    return
        except Exception:
            log.exception("the rooms' store could not be read")
        finally:
            showing.looking = None

    def _flush_soon(self, showing: _Showing) -> None:
        if showing.flush is None and (showing.audience.waits or showing.audience.over):
            due = max(self._loop.time(), showing.flushed_at + FLUSH_S)
            showing.flush = self._loop.call_at(due, self._flush, showing)

    def _flush(self, showing: _Showing) -> None:
        showing.flush = None
        showing.flushed_at = self._loop.time()
        showing.audience.flush(showing.flushed_at)

    async def _tick(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(TICK_S)
            count += 1
            for showing in list(self._showings.values()):
                try:
                    self._tend(showing, count)
                except Exception:
                    log.exception("a room's viewers could not be served")

    def _tend(self, showing: _Showing, count: int) -> None:
        audience = showing.audience
        audience.tick(self._loop.time(), heartbeat=count % HEARTBEAT_EVERY == 0)
        for _ in range(audience.cut - showing.cut):
            self._observer.viewer_cut()
        showing.cut = audience.cut
        if not audience.viewers:
            # Whoever asked for it has gone before it was there.
            self._close(showing)
        elif count % LOOK_EVERY == 0:
            self._look(showing)
