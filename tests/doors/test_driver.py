"""The driver between a link in memory and an engine that answers when it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from stream_server.audio.windows import DEFAULT_WINDOWS
from stream_server.config import SessionDefaults, SessionLimits
from stream_server.dialects.native import NativeDialect
from stream_server.doors.link import LinkLost
from stream_server.doors.outbox import FULL
from stream_server.doors.reception import Reception
from stream_server.engine.wire import EngineInfo
from stream_server.errors import EngineError, Overloaded
from stream_server.session.messages import Ended, ServerMessage
from stream_server.speech.detectors import Detectors
from stream_server.speech.hotwords import from_native
from stream_server.speech.recognition import Chunk, Hypothesis
from tests.doors.conversations import START, STOP

HOP = np.ones(9_600, np.int16).tobytes()
PUSH_TO_TALK = json.dumps({"type": "start", "vad": "none"})
LIMITS = SessionLimits(start_timeout_s=0.3, idle_timeout_s=0.3, write_timeout_s=0.3, max_buffered_s=1.5)


class MemoryLink:
    """A client in memory: puts messages in, and reads what comes out when `reading`."""

    peer = "client"
    left = False

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.incoming: asyncio.Queue[str | bytes] = asyncio.Queue()
        self.received: list[dict] = []
        self.closed: tuple[int, str] | None = None
        self.aborted = False
        self.reading = asyncio.Event()
        self.reading.set()
        self._receiving = False

    async def receive(self) -> str | bytes:
        self._receiving = True
        try:
            return await self.incoming.get()
        finally:
            self._receiving = False

    def offer_bytes(self, take: Callable[[bytes], bool]) -> None:
        self._take = take

    @property
    def free(self) -> bool:
        return self.reading.is_set() and not self.lost.done()

    def send_now(self, text: str) -> bool:
        if not self.free:
            return False
        self.received.append(json.loads(text))
        return True

    async def send(self, text: str) -> None:
        await self.reading.wait()
        if self.lost.done():
            raise LinkLost
        self.received.append(json.loads(text))

    async def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)

    def abort(self) -> None:
        self.aborted = True
        self.vanish()

    def vanish(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def say(self, *messages: str | bytes) -> None:
        for message in messages:
            at_once = isinstance(message, bytes) and self._receiving and self.incoming.empty()
            if not (at_once and self._take(message)):
                self.incoming.put_nowait(message)

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.received]


class PatientEngine:
    """Admits whom it is told to, keeps chunks until `answer` is called."""

    info = EngineInfo(model="scripted", model_kind="directory", windows=DEFAULT_WINDOWS, slots=8, device="cpu",
                      dtype="none")

    def __init__(self) -> None:
        self.admitted: set[str] = set()
        self.chunks: list[tuple[str, Chunk]] = []
        self.refusal: Exception | None = None

    async def admit(self, session: str) -> None:
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        self.admitted.add(session)

    def release(self, session: str) -> None:
        self.admitted.discard(session)

    def submit(self, session: str, chunk: Chunk) -> None:
        assert session in self.admitted
        self.chunks.append((session, chunk))

    def abort(self, session: str, generation: int) -> None:
        """Nothing is held for a stream."""


class Counter:
    """Counts what an observer is told."""

    def __init__(self) -> None:
        self.open = 0
        self.errors: list[str] = []
        self.sums: list[Ended] = []
        self.messages: list[ServerMessage] = []
        self.latencies: list[float] = []

    def connected(self, dialect: str) -> None:
        self.open += 1

    def disconnected(self, dialect: str) -> None:
        self.open -= 1

    def session_opened(self) -> None:
        self.open += 1

    def session_closed(self, sums: Ended) -> None:
        self.open -= 1
        self.sums.append(sums)

    def parked(self, sessions: int) -> None:
        self.waiting = sessions

    def resumed(self) -> None:
        self.returned = True

    def carried(self) -> None:
        self.elsewhere = True

    def expired(self, why: str) -> None:
        self.errors.append(why)

    def refused(self) -> None:
        """Errors tell it too."""

    def sent(self, message: ServerMessage) -> None:
        self.messages.append(message)

    def first_partial(self, seconds: float) -> None:
        self.latencies.append(seconds)

    def answered(self, seconds: float) -> None:
        self.latencies.append(seconds)

    def failed(self, code: str) -> None:
        self.errors.append(code)


class Door:
    """A reception with one client of the native dialect."""

    def __init__(self, detectors: Detectors = Detectors()) -> None:  # noqa: B008 - frozen
        self.engine = PatientEngine()
        self.counter = Counter()
        self.link = MemoryLink()
        self.reception = Reception({"/": ("native", NativeDialect)}, self.counter, SessionDefaults(), LIMITS,
                                   detectors)
        self.reception.engine = self.engine

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.002)

    def answer(self, pieces: list[str], error: str | None = None) -> None:
        """The engine's answer to the oldest chunk."""
        session, chunk = self.engine.chunks.pop(0)
        self.reception.receive_hypothesis(
            session, Hypothesis(chunk.generation, chunk.sequence, pieces, [0] * len(pieces), chunk.last, error,
                                [100] * len(pieces)))

    async def answer_all(self) -> None:
        """Answers every chunk until the session has ended."""
        while "ended" not in self.link.kinds():
            if self.engine.chunks:
                self.answer(["字"])
            await asyncio.sleep(0.001)


@asynccontextmanager
async def door(detectors: Detectors = Detectors()) -> AsyncIterator[Door]:  # noqa: B008 - frozen
    """A served client; afterwards nothing of it may be left, whatever the test did."""
    door = Door(detectors)
    serving = asyncio.create_task(door.reception.serve("/", door.link))
    try:
        yield door
        door.link.vanish()
        async with asyncio.timeout(5):
            await serving
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert door.engine.admitted == set()
    assert door.counter.open == 0
    assert all(s.received_ms == s.recognised_ms + s.silent_ms + s.dropped_ms for s in door.counter.sums)


async def test_a_client_that_sends_list_after_list_is_read_slower() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, *(json.dumps({"type": "hotwords", "hotwords": [f"词{n}"]}) for n in range(10)))
        await d.until(lambda: d.link.incoming.qsize() < 9)
        assert d.link.incoming.qsize() > 0, "all were read at once"
        d.link.say(HOP, STOP)
        await d.until(lambda: len(d.engine.chunks) == 1)
        assert d.engine.chunks[0][1].hotwords == from_native(["词9"])


async def test_a_session_from_start_to_end() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, HOP, HOP, STOP)
        await d.answer_all()
        await d.until(lambda: d.link.closed is not None)
    assert d.link.kinds()[0] == "ready"
    assert d.link.kinds()[-2:] == ["final", "ended"]
    assert d.link.closed == (1000, "")
    assert len(d.counter.latencies) > 0
    assert d.counter.sums[0].received_ms == 1200


async def test_nothing_more_is_read_while_enough_audio_waits() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, *[HOP] * 20)
        await d.until(lambda: len(d.engine.chunks) == 1)
        await asyncio.sleep(0.05)
        left = d.link.incoming.qsize()
        assert left >= 15
        d.answer(["字"])
        await d.until(lambda: d.link.incoming.qsize() < left)


async def test_a_long_message_waits_inside_until_there_is_room() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, HOP * 100, STOP)
        await d.until(lambda: len(d.engine.chunks) == 1)
        await asyncio.sleep(0.05)
        assert d.link.incoming.qsize() == 1
        await d.answer_all()
    assert d.counter.sums[0].received_ms == 60_000
    assert d.counter.sums[0].dropped_ms == 0


async def test_nothing_more_is_read_from_a_client_that_does_not_read() -> None:
    async with door() as d:
        d.link.reading.clear()
        d.link.say(*["{"] * 10 * FULL)
        await asyncio.sleep(0.1)
        assert d.link.incoming.qsize() >= 9 * FULL - 1
        d.link.reading.set()
        await d.until(lambda: len(d.link.received) == 10 * FULL)


async def test_a_client_that_does_not_read_for_long_is_cut() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK)
        await d.until(lambda: d.link.kinds() == ["ready"])
        d.link.reading.clear()
        d.link.say("{")
        await d.until(lambda: d.link.aborted)
    assert "slow_reader" in d.counter.errors


@pytest.mark.parametrize(("refusal", "code", "closed"), [
    (Overloaded("all taken", retry_after_s=7), "overloaded", (1013, "all taken; try again in 7 s")),
    (EngineError("the engine is not ready"), "engine_away", (1013, "the engine is not ready; try again in 5 s")),
])
async def test_without_room_a_client_is_told_when_to_come_back(refusal: Exception, code: str,
                                                               closed: tuple[int, str]) -> None:
    async with door() as d:
        d.engine.refusal = refusal
        d.link.say(START, HOP)
        await d.until(lambda: d.link.closed is not None)
    assert [message["code"] for message in d.link.received] == [code]
    assert d.link.closed == closed


async def test_a_session_that_finds_no_room_after_the_engines_restart_is_told_so_once() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK)
        await d.until(lambda: d.link.kinds() == ["ready"])
        session, = d.engine.admitted
        d.reception.engine_lost(session)
        d.reception.engine_refused(session, "all 8 places of the engine are taken")
        d.reception.engine_back(session)
        await d.until(lambda: d.link.closed is not None)
        assert d.link.kinds() == ["ready", "error"]
        assert d.link.received[-1]["code"] == "overloaded"
        assert d.link.closed[0] == 1013


async def test_an_error_of_our_own_is_told_as_such_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with door() as d:
        d.engine.refusal = ZeroDivisionError("on purpose")
        d.link.say(START)
        await d.until(lambda: d.link.closed is not None)
    assert d.link.closed == (1011, "internal error; it was logged")
    assert d.link.received[-1]["code"] == "internal"
    assert "on purpose" in caplog.text


async def test_an_error_of_our_own_in_the_engines_answer_ends_that_client_alone() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, HOP, HOP)
        await d.until(lambda: len(d.engine.chunks) == 1)
        d.engine.admitted.clear()
        d.answer(["字"])
        await d.until(lambda: d.link.closed is not None)
    assert d.link.closed == (1011, "internal error; it was logged")


async def test_a_client_that_vanishes_frees_its_room_at_once() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, *[HOP] * 20)
        await d.until(lambda: len(d.engine.chunks) == 1)
        d.link.vanish()
        await d.until(lambda: not d.engine.admitted)
        d.answer(["字"])
    assert d.counter.sums[0].dropped_ms > 0


async def test_while_the_engine_is_away_audio_waits_and_is_replayed() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, HOP, HOP, STOP)
        await d.until(lambda: len(d.engine.chunks) == 1)
        session, = d.engine.admitted
        d.reception.engine_lost(session)
        d.engine.chunks.clear()
        d.reception.engine_back(session)
        assert d.engine.chunks[0][1].generation == 1
        await d.answer_all()
    assert d.counter.sums[0].recognised_ms == 1200


async def test_a_client_that_never_begins_is_let_go() -> None:
    async with door() as d:
        await d.until(lambda: d.link.closed is not None)
    assert d.link.closed == (1008, "nothing came for 0.3 s")
    assert d.counter.errors == ["start_timeout"]


async def test_a_client_that_falls_silent_gets_what_it_said() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, HOP)
        await d.answer_all()
        await d.until(lambda: d.link.closed is not None)
    assert d.link.kinds()[-2:] == ["final", "ended"]
    assert d.counter.errors == ["idle_timeout"]


async def test_a_client_whose_audio_comes_is_not_silent() -> None:
    async with door() as d:
        d.link.say(START)
        for _ in range(10):
            d.link.say(bytes(1920))
            await asyncio.sleep(LIMITS.idle_timeout_s / 6)
        assert d.link.closed is None and d.counter.errors == []


async def test_at_the_end_of_the_server_open_segments_get_their_finals() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, HOP)
        await d.until(lambda: len(d.engine.chunks) == 1)
        draining = asyncio.create_task(d.reception.drain(5))
        await d.answer_all()
        await draining
    assert d.link.kinds()[-2:] == ["final", "ended"]
    assert d.link.closed == (1001, "the server is going away")


async def test_a_client_that_speaks_while_the_server_ends_is_not_blamed_for_it() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, HOP)
        await d.until(lambda: len(d.engine.chunks) == 1)
        draining = asyncio.create_task(d.reception.drain(5))
        await asyncio.sleep(0)
        d.link.say(HOP)
        await asyncio.sleep(0.05)
        await d.answer_all()
        await draining
    assert "error" not in d.link.kinds()
    assert d.link.kinds()[-2:] == ["final", "ended"]


async def test_at_the_end_of_the_server_nobody_is_waited_for_longer_than_said() -> None:
    async with door() as d:
        d.link.say(PUSH_TO_TALK, HOP)
        await d.until(lambda: len(d.engine.chunks) == 1)
        async with asyncio.timeout(3):
            await d.reception.drain(0.2)
        await d.until(lambda: d.link.closed is not None)
    assert d.link.closed == (1001, "the server is going away")


async def test_an_answer_for_nobody_is_nothing() -> None:
    async with door() as d:
        d.reception.receive_hypothesis("nobody", Hypothesis(0, 0))
        assert d.link.received == []
