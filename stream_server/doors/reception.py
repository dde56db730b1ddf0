"""All connections of one door: gives each a driver, and passes the engine's answers to the right one."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from functools import partial

from stream_server.config import SessionDefaults, SessionLimits
from stream_server.dialects import Dialect
from stream_server.doors.carrying import CARRY, Carriage, CarriedLink
from stream_server.doors.driver import Driver
from stream_server.doors.engine_link import Engine
from stream_server.doors.jury import Jury
from stream_server.doors.link import Link
from stream_server.doors.neighbours import Neighbours, Service
from stream_server.doors.observer import Observer
from stream_server.doors.parking import Parking
from stream_server.doors.resuming import ResumingDriver
from stream_server.doors.seats import NoRooms, Seats
from stream_server.speech.detectors import Detectors
from stream_server.speech.hotwords import EMPTY, HotwordList
from stream_server.speech.recognition import Hypothesis, SecondPass
from stream_server.speech.scribe import Scribed

log = logging.getLogger(__name__)

Dialects = Mapping[str, tuple[str, Callable[[], Dialect]]]
"""By path: the dialect's name and what makes one."""


class Reception:
    """`engine` is set before the first connection is served."""

    engine: Engine
    neighbours: Neighbours | None = None
    """The other doors, where there are any; set likewise."""

    def __init__(self, dialects: Dialects, observer: Observer, defaults: SessionDefaults,
                 limits: SessionLimits, detectors: Detectors = Detectors(),  # noqa: B008 - frozen
                 hotwords: HotwordList = EMPTY, parking: Parking | None = None,
                 seats: Seats = NoRooms()) -> None:  # noqa: B008 - without state
        """`hotwords`: the server's; `parking`: where sessions wait whose connection was lost, else they end; `seats`:
        where they speak."""
        self._dialects = dialects
        self._observer = observer
        self._defaults = defaults
        self._limits = limits
        self._jury = Jury(detectors)
        self._hotwords = hotwords
        self._parking = Parking("", observer, resume_s=0, most=1) if parking is None else parking
        self._parking.forget = self._forget
        self._seats = seats
        self._drivers: set[Driver] = set()
        self._by_session: dict[str, Driver] = {}

    async def serve(self, path: str, link: Link) -> None:
        """Serves one connection until it ends."""
        name, make_dialect = self._dialects[path]
        driver = ResumingDriver(link, make_dialect(), self.engine, self._observer, defaults=self._defaults,
                                limits=self._limits, jury=self._jury, hotwords=self._hotwords, seats=self._seats,
                                new_session_id=lambda: self._new_session(driver), parking=self._parking,
                                moved=self._by_session.__setitem__, carry=partial(self._carry, path))
        self._drivers.add(driver)
        self._observer.connected(name)
        log.debug("%s connected, dialect %s", link.peer, name)
        try:
            await driver.run()
        finally:
            self._drivers.discard(driver)
            if not driver.parked:
                self._forget(driver)
            self._observer.disconnected(name)

    @property
    def services(self) -> dict[str, Service]:
        """What other doors may ask for."""
        return {CARRY: self._serve_carried}

    async def _serve_carried(self, about: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Another door hands on a connection whose session is here. `about`: path and peer."""
        path, _, peer = about.partition(" ")
        if path in self._dialects:
            await self.serve(path, CarriedLink(reader, writer, peer))

    def _carry(self, path: str, token: str, link: Link) -> Carriage | None:
        """What hands a connection on to the door that a token names; None where that is this door."""
        door = self.neighbours and self.neighbours.elsewhere(token)
        if not door:
            return None
        return Carriage(link, self.neighbours, door, path, self._observer, self._limits.write_timeout_s)

    async def drain(self, within_s: float) -> None:
        """Ends all connections: open segments get their finals first, as far as time allows."""
        for driver in list(self._drivers):
            driver.drain()
        self._parking.drain()
        deadline = asyncio.get_running_loop().time() + within_s
        while (self._drivers or self._parking) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        for driver in list(self._drivers):
            driver.leave()
        self._parking.end()
        if self._drivers:
            log.warning("%d connections did not end within %g s", len(self._drivers), within_s)
            await asyncio.sleep(0.2)

    def receive_hypothesis(self, session_id: str, hypothesis: Hypothesis) -> None:
        driver = self._by_session.get(session_id)
        if driver is not None:
            driver.receive_hypothesis(hypothesis)

    def receive_second_pass(self, session_id: str, second_pass: SecondPass) -> None:
        driver = self._by_session.get(session_id)
        if driver is not None:
            driver.receive_second_pass(second_pass)

    def receive_written(self, session_id: str, segment: int, scribed: Scribed | None) -> None:
        driver = self._by_session.get(session_id)
        if driver is not None:
            driver.receive_written(segment, scribed)

    def engine_refused(self, session_id: str, message: str) -> None:
        driver = self._by_session.get(session_id)
        if driver is not None:
            driver.engine_refused(message)

    def engine_lost(self, session_id: str) -> None:
        driver = self._by_session.get(session_id)
        if driver is not None:
            driver.engine_lost()

    def engine_back(self, session_id: str) -> None:
        driver = self._by_session.get(session_id)
        if driver is not None:
            driver.engine_back()

    def _new_session(self, driver: Driver) -> str:
        self._forget(driver)
        session_id = secrets.token_hex(8)
        self._by_session[session_id] = driver
        return session_id

    def _forget(self, driver: Driver) -> None:
        if driver.session_id is not None:
            self._by_session.pop(driver.session_id, None)
