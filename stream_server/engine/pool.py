"""All engines as one, for a door: a session is placed where most places are free, and moved when its engine is lost."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from stream_server.engine.client import EngineClient
from stream_server.engine.wire import EngineInfo
from stream_server.errors import EngineError, Overloaded
from stream_server.speech.recognition import Chunk, Guess, Hypothesis, SecondPass
from stream_server.speech.scribe import Scribed, Spoken

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Place:
    """Where a session is.

    `away`: its engine is lost; `refusal`: what that said when it came back without room; `moving`: others are asked.
    """

    client: EngineClient
    away: bool = False
    refusal: str | None = None
    moving: bool = False


class EnginePool:
    """A door's links to every engine. Its methods and callbacks belong to the loop that awaits `run`.

    `on_hypothesis(session, hypothesis)` once for each chunk, unless lost, aborted or released.
    `on_second_pass(session, second_pass)` once for each chunk that closed a segment, with the same exceptions.
    `on_written(session, segment, scribed)` once for each final given to `write`, unless lost or released.
    `on_lost(session)` when a session's engine is away: its chunk in flight gets no result.
    `on_back(session)` when it has an engine again, the former or another one: its stream begins anew there, with a
    higher generation.
    `on_refused(session, message)` where it has none and there is no room for it anywhere; it is released then.
    `on_change()` whenever an engine becomes ready or is lost.
    """

    def __init__(self, endpoints: Mapping[str, str], door: str, *, on_hypothesis: Callable[[str, Hypothesis], None],
                 on_lost: Callable[[str], None], on_back: Callable[[str], None],
                 on_refused: Callable[[str, str], None], on_change: Callable[[], None],
                 on_second_pass: Callable[[str, SecondPass], None] | None = None,
                 on_written: Callable[[str, int, Scribed | None], None] | None = None) -> None:
        """`endpoints`: of each engine by its name."""
        self._on_lost = on_lost
        self._on_back = on_back
        self._on_refused = on_refused
        self._on_change = on_change
        self._clients = {
            name: EngineClient(endpoint, door, on_hypothesis=on_hypothesis, on_lost=partial(self._lost, name),
                               on_ready=partial(self._ready, name), on_refused=partial(self._refused, name),
                               on_second_pass=on_second_pass, on_written=on_written)
            for name, endpoint in endpoints.items()
        }
        self._places: dict[str, _Place] = {}
        self._moves: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> dict[str, EngineInfo]:
        """The engines that can be used now, by name."""
        return {name: client.info for name, client in self._clients.items() if client.ready}

    @property
    def info(self) -> EngineInfo | None:
        """What is served, the same by all; None while no engine has been there yet."""
        known = [client.info for client in self._clients.values() if client.info is not None]
        return known[0] if known else None

    @property
    def statistics(self) -> dict[str, float]:
        """The numbers of the engines that are there, added up."""
        sums: Counter[str] = Counter()
        for client in self._clients.values():
            if client.ready:
                sums.update(client.statistics)
        return dict(sums)

    @property
    def descriptors(self) -> list[int]:
        """Each can be read when an engine has something to say, or its link something to do."""
        return [client.descriptor for client in self._clients.values() if client.descriptor is not None]

    async def run(self) -> None:
        """Keeps all links up until cancelled."""
        try:
            async with asyncio.TaskGroup() as links:
                for client in self._clients.values():
                    links.create_task(client.run())
        finally:
            for move in self._moves:
                move.cancel()

    async def admit(self, session: str) -> None:
        """Asks room for a session. Raises Overloaded where no engine has any, EngineError where all are away."""
        client = await self._find_room(session, self._by_room())
        self._places[session] = _Place(client)

    def release(self, session: str) -> None:
        """Gives back the room of a session, with whatever stream it has. Does nothing for one that has none."""
        place = self._places.pop(session, None)
        if place is not None:
            place.client.release(session)

    def submit(self, session: str, chunk: Chunk) -> None:
        """Sends a chunk on its way; never blocks. Raises EngineError where the session's engine is away."""
        place = self._places[session]
        if place.away:
            raise EngineError("the session's engine is away")
        place.client.submit(session, chunk)

    def guess(self, session: str, guess: Guess) -> None:
        """Says that a segment may be about to end. Nothing comes back."""
        place = self._places.get(session)
        if place is not None and not place.away:
            place.client.guess(session, guess)

    def abort(self, session: str, generation: int) -> None:
        """Says that a stream's text is no longer wanted. Nothing comes back; a result on its way still may."""
        place = self._places.get(session)
        if place is not None and not place.away:
            place.client.abort(session, generation)

    def write(self, session: str, segment: int, spoken: Spoken) -> None:
        """Sends a final to be written as people read it. Raises EngineError where the session's engine is away."""
        place = self._places[session]
        if place.away:
            raise EngineError("the session's engine is away")
        place.client.write(session, segment, spoken)

    def _by_room(self) -> list[EngineClient]:
        """The engines that can be used now, that with most free places first."""
        return sorted((client for client in self._clients.values() if client.ready),
                      key=lambda client: client.free_places, reverse=True)

    async def _find_room(self, session: str, clients: Sequence[EngineClient]) -> EngineClient:
        """The first of `clients` that admits the session. Raises Overloaded or EngineError where none does."""
        refusal: Overloaded | EngineError = EngineError("the engine is not ready")
        for client in clients:
            try:
                await client.admit(session)
            except (Overloaded, EngineError) as error:
                refusal = error if not isinstance(refusal, Overloaded) else refusal
                continue
            if client.ready:
                return client
            # Lost between its answer and this turn of the loop.
            client.release(session)
        raise refusal

    def _ready(self, name: str, _: EngineInfo) -> None:
        self._on_change()
        client = self._clients[name]
        for session, place in list(self._places.items()):
            if place.client is client and place.away and place.refusal is None:
                place.away = False
                self._on_back(session)

    def _lost(self, name: str) -> None:
        self._on_change()
        client = self._clients[name]
        for session, place in list(self._places.items()):
            if place.client is client and not place.away:
                place.away = True
                self._on_lost(session)
                self._move(session, place)

    def _refused(self, name: str, session: str, message: str) -> None:
        place = self._places.get(session)
        if place is None or place.client is not self._clients[name]:
            return
        place.refusal = message
        place.client.release(session)
        self._move(session, place)

    def _move(self, session: str, place: _Place) -> None:
        """Looks for room at the other engines. Where there is none the session waits for its own, or is refused."""
        if place.moving:
            return
        others = [client for client in self._by_room() if client is not place.client]
        if not others:
            self._stay(session, place)
            return
        place.moving = True
        move = asyncio.create_task(self._move_to(others, session, place))
        self._moves.add(move)
        move.add_done_callback(self._moves.discard)

    async def _move_to(self, others: Sequence[EngineClient], session: str, place: _Place) -> None:
        try:
            client = await self._find_room(session, others)
        except (Overloaded, EngineError) as refusal:
            log.debug("session %s finds no other engine: %s", session, refusal)
            self._stay(session, place)
            return
        finally:
            place.moving = False
        if self._places.get(session) is not place or not place.away:
            # It ended meanwhile, or its engine is back.
            client.release(session)
            return
        place.client.release(session)
        place.client, place.away, place.refusal = client, False, None
        self._on_back(session)

    def _stay(self, session: str, place: _Place) -> None:
        if place.refusal is not None and self._places.get(session) is place:
            del self._places[session]
            self._on_refused(session, place.refusal)
