"""Numbers for Prometheus. Every process writes its own into the directory PROMETHEUS_MULTIPROC_DIR; any door adds
them up, so that one address answers for all.

The variable must be set before this module is imported: the supervisor sets it for the processes it starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from stream_server.audio.windows import Window
from stream_server.session.messages import Ended, Final, Partial, ServerMessage, Speech

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
LATENCIES = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
STEP_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
GATHERED_S = 1.0

CONNECTIONS = Gauge("stream_connections_open", "Connections open now", ["dialect"], multiprocess_mode="livesum")
SESSIONS = Gauge("stream_sessions_open", "Sessions open now", multiprocess_mode="livesum")
ADMITTED = Counter("stream_sessions_admitted", "Sessions that were given room")
PARKED = Gauge("stream_sessions_parked", "Sessions that wait for a client whose connection was lost",
               multiprocess_mode="livesum")
RESUMED = Counter("stream_sessions_resumed", "Sessions gone on with after their connection was lost")
EXPIRED = Counter("stream_sessions_expired", "Sessions that waited for their client in vain", ["why"])
CARRIED = Counter("stream_connections_carried", "Connections handed on to the door that has their session")
REFUSED = Counter("stream_sessions_refused", "Sessions refused: no room, or the engine away")
SEGMENTS = Counter("stream_segments", "Segments of speech that began")
PARTIALS = Counter("stream_partials_sent", "Partials sent to clients")
FINALS = Counter("stream_finals_sent", "Finals sent to clients")
AUDIO = Counter("stream_audio_seconds", "Seconds of audio of sessions that ended, by what became of them", ["fate"])
FIRST_PARTIAL = Histogram("stream_first_partial_seconds", "From detected speech to its first text", buckets=LATENCIES)
ANSWER = Histogram("stream_hop_to_text_seconds", "From a hop's audio being whole to its text", buckets=LATENCIES)
ERRORS = Counter("stream_errors", "Errors told to clients, and connections cut", ["code"])
STEP = Histogram("stream_engine_step_seconds", "Time of one batched step", buckets=STEP_SECONDS)
STEP_ROWS = Histogram("stream_engine_step_rows", "Streams advanced by one step", buckets=ROWS)

ROOMS = Gauge("stream_rooms", "Meetings that are kept", multiprocess_mode="livemax")
VIEWERS = Gauge("stream_room_viewers", "Viewers of meetings connected now", multiprocess_mode="livesum")
CAPTIONS = Counter("stream_room_captions", "Finals written into meetings")
CAPTIONS_LOST = Counter("stream_room_captions_lost", "Finals that the meetings' store did not take")

ENGINE_GAUGES = ("sessions", "capacity", "slots", "slots_in_use", "chunks_waiting", "second_passes_waiting")


class DoorMetrics:
    """What doors/observer.py asks for, counted. What comes with each text is gathered, since a number that is shared
    between processes costs more than a sum: it is seen within GATHERED_S, and when the session ends; a door that is
    killed loses as much."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        """`later`: an event loop's `call_later`."""
        self._later = later
        self._due = False
        self._partials = 0
        self._answers: list[float] = []

    def flush(self) -> None:
        """Counts what was gathered."""
        if self._partials:
            PARTIALS.inc(self._partials)
            self._partials = 0
        for seconds in self._answers:
            ANSWER.observe(seconds)
        self._answers.clear()

    def _flush_soon(self) -> None:
        if not self._due:
            self._due = True
            self._later(GATHERED_S, self._flush_now)

    def _flush_now(self) -> None:
        self._due = False
        self.flush()

    def connected(self, dialect: str) -> None:
        CONNECTIONS.labels(dialect).inc()

    def disconnected(self, dialect: str) -> None:
        CONNECTIONS.labels(dialect).dec()

    def session_opened(self) -> None:
        ADMITTED.inc()
        SESSIONS.inc()

    def session_closed(self, sums: Ended) -> None:
        self.flush()
        SESSIONS.dec()
        AUDIO.labels("received").inc(sums.received_ms / 1000)
        AUDIO.labels("recognised").inc(sums.recognised_ms / 1000)
        AUDIO.labels("silent").inc(sums.silent_ms / 1000)
        AUDIO.labels("dropped").inc(sums.dropped_ms / 1000)

    def parked(self, sessions: int) -> None:
        PARKED.set(sessions)

    def resumed(self) -> None:
        RESUMED.inc()

    def carried(self) -> None:
        CARRIED.inc()

    def expired(self, why: str) -> None:
        EXPIRED.labels(why).inc()

    def refused(self) -> None:
        REFUSED.inc()

    def sent(self, message: ServerMessage) -> None:
        if isinstance(message, Partial):
            self._partials += 1
            self._flush_soon()
        elif isinstance(message, Final):
            FINALS.inc()
        elif isinstance(message, Speech):
            SEGMENTS.inc()

    def first_partial(self, seconds: float) -> None:
        FIRST_PARTIAL.observe(seconds)

    def answered(self, seconds: float) -> None:
        self._answers.append(seconds)
        self._flush_soon()

    def failed(self, code: str) -> None:
        ERRORS.labels(code).inc()


class RoomMetrics:
    """What rooms/observer.py asks for, counted."""

    def rooms(self, count: int) -> None:
        ROOMS.set(count)

    def viewers(self, change: int) -> None:
        VIEWERS.inc(change)

    def captions(self, count: int) -> None:
        CAPTIONS.inc(count)

    def captions_lost(self, count: int) -> None:
        CAPTIONS_LOST.inc(count)

    def viewer_cut(self) -> None:
        ERRORS.labels("slow_viewer").inc()


def observe_step(_: Window, rows: int, seconds: float) -> None:
    """Counts a step, in the engine's process."""
    STEP.observe(seconds)
    STEP_ROWS.observe(rows)


def render(statistics: Mapping[str, float]) -> bytes:
    """All processes' numbers as Prometheus reads them; `statistics` is what the engines last said of themselves."""
    registry = CollectorRegistry()
    if os.environ.get(MULTIPROCESS_VARIABLE):
        MultiProcessCollector(registry)
    registry.register(_EngineCollector(statistics))
    return generate_latest(registry)


class _EngineCollector:
    """The engine's own numbers; every door hears them, so they are not added up."""

    def __init__(self, statistics: Mapping[str, float]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        for name, value in self._statistics.items():
            family = GaugeMetricFamily if name in ENGINE_GAUGES else CounterMetricFamily
            yield family(f"stream_engine_{name}", f"The engine's count of {name.replace('_', ' ')}", value=value)
