"""The engine's process: one socket for all doors; one thread receives, has steps run, and sends in turn."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import zmq

from stream_server.engine.engine import Engine
from stream_server.engine.finals import FINALS_PER_SESSION, SecondOptions
from stream_server.engine.runner import Runner
from stream_server.engine.statistics import Statistics
from stream_server.engine.wire import (
    Beat,
    Buffer,
    DoorMessage,
    EngineInfo,
    EngineMessage,
    Hello,
    Malformed,
    Ping,
    Stranger,
    Welcome,
    pack,
    unpack_from_door,
)
from stream_server.engine.workers import Workers
from stream_server.errors import EngineError
from stream_server.speech.scribe import Scribe

log = logging.getLogger(__name__)

BEAT_S = 1.0
SILENT_BEATS = 15
"""Beats without a word after which a door is taken for dead. Counted in beats and not in seconds: a step of many
seconds, or a machine that slept, is one beat, and what came in meanwhile is read before the door is judged."""

POLL_MS = 200
"""Longest sleep while idle: how late a stop may be noticed."""

MESSAGES_PER_TURN = 4096
"""Messages read before the next step, so that a flood cannot keep the engine from stepping."""

LINGER_MS = 500

# As in the client: pyzmq's flags are slow to join, and what sends or receives several frames joins them for each.
_AT_ONCE = int(zmq.NOBLOCK)
_AT_ONCE_MORE_FOLLOWS = int(zmq.NOBLOCK | zmq.SNDMORE)

SPARE_MESSAGES = 1000
"""Beats and answers to a door that may wait beside its sessions' results."""


def serve(runner: Runner, endpoint: str, info: EngineInfo, *, stop: threading.Event | None = None,
          capacity: int | None = None, max_batch: int | None = None, second: SecondOptions | None = None,
          scribe: Scribe | None = None, statistics: Statistics | None = None,
          on_bound: Callable[[], None] | None = None) -> None:
    """Serves `runner`, warmed up, to the doors that connect to `endpoint`, until `stop` is set.

    `endpoint` is best made by `engine_endpoint`. Without `stop`, SIGTERM and SIGINT end it (main thread only).
    `on_bound` is called once doors can connect. Raises EngineError where the endpoint cannot be bound, and where the
    device fails on everything or a step does not end: the process is then to be ended and started anew.
    """
    stop = stop or stop_on_signals()
    engine = Engine(runner, capacity=capacity, max_batch=max_batch, second=second, scribe=scribe,
                    statistics=statistics)
    info = msgspec.structs.replace(info, incarnation=secrets.token_hex(8))
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    try:
        _bind(socket, endpoint, engine.capacity)
        if on_bound is not None:
            on_bound()
        workers = Workers(engine, runner)
        try:
            _Post(socket, engine, workers, info).run(stop)
        finally:
            workers.close()
    finally:
        socket.close(LINGER_MS)
        context.term()


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set, in place of what they did before."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _bind(socket: zmq.Socket, endpoint: str, capacity: int) -> None:
    # Mandatory routing turns what a ROUTER would drop silently, a message for a peer that is gone or whose queue is
    # full, into an error of `send`. The queue cannot fill while a door reads: a session has one chunk in flight and
    # so one result waiting, and few second passes, an Admit has one answer, and a door is silent for SILENT_BEATS beats
    # at most.
    high_water_mark = (4 + FINALS_PER_SESSION) * capacity + SPARE_MESSAGES
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.SNDHWM, high_water_mark)
    socket.setsockopt(zmq.RCVHWM, high_water_mark)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise EngineError(f"cannot listen on {endpoint}: {os.strerror(error.errno)}") from error


@dataclass(slots=True)
class _Link:
    """A door's connection."""

    door: str
    silent_beats: int = 0


class _Post:
    """Carries messages between the socket and the engine, and knows which doors are alive."""

    def __init__(self, socket: zmq.Socket, engine: Engine, workers: Workers, info: EngineInfo) -> None:
        self._socket = socket
        self._engine = engine
        self._workers = workers
        self._info = info
        self._links: dict[bytes, _Link] = {}
        self._next_beat = 0.0

    def run(self, stop: threading.Event) -> None:
        log.info("engine %s listens", self._info.incarnation)
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._workers, zmq.POLLIN)
        while not stop.is_set():
            if self._socket in dict(poller.poll(0 if self._workers.ready else POLL_MS)):
                self._receive_all()
            self._workers.turn(time.monotonic())
            for link, message in self._engine.take_messages():
                self._send(link, message)
            self._beat(time.monotonic())
        log.info("engine %s ends", self._info.incarnation)

    def _receive_all(self) -> None:
        receive = self._socket.recv
        for _ in range(MESSAGES_PER_TURN):
            try:
                routing_id = receive(_AT_ONCE)
            except zmq.Again:
                return
            # A frame knows for nothing whether more follow; the socket would have to be asked.
            frames = [receive(_AT_ONCE, copy=False)]
            while frames[-1].more:
                frames.append(receive(_AT_ONCE, copy=False))
            try:
                message, audio = unpack_from_door([frame.buffer for frame in frames])
            except Malformed as error:
                self._engine.statistics.malformed += 1
                log.debug("malformed message dropped: %s", error)
                continue
            self._receive(routing_id, message, audio)

    def _receive(self, routing_id: bytes, message: DoorMessage, audio: Buffer) -> None:
        link = self._links.get(routing_id)
        if isinstance(message, Hello):
            self._welcome(routing_id, message.door)
        elif link is None:
            self._send(routing_id, Stranger())
        else:
            link.silent_beats = 0
            if not isinstance(message, Ping):
                self._engine.receive(routing_id, message, time.monotonic(), audio)

    def _welcome(self, routing_id: bytes, door: str) -> None:
        for former in [known for known, link in self._links.items() if link.door == door]:
            self._lose(former, "said hello anew")
        log.info("door %s is here", door)
        self._links[routing_id] = _Link(door)
        self._send(routing_id, Welcome(self._info))

    def _send(self, routing_id: bytes, message: EngineMessage) -> None:
        frame = pack(message)
        try:
            self._socket.send(routing_id, _AT_ONCE_MORE_FOLLOWS)
            self._socket.send(frame, _AT_ONCE)
        except zmq.Again:
            self._lose(routing_id, "does not read")
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._lose(routing_id, "is gone")

    def _lose(self, routing_id: bytes, reason: str) -> None:
        link = self._links.pop(routing_id, None)
        if link is not None:
            log.warning("door %s %s: its sessions are freed", link.door, reason)
            self._engine.statistics.doors_lost += 1
            self._engine.forget_door(routing_id)

    def _beat(self, now: float) -> None:
        if now < self._next_beat:
            return
        self._next_beat = now + BEAT_S
        beat = Beat(self._engine.statistics.numbers())
        for routing_id, link in list(self._links.items()):
            link.silent_beats += 1
            if link.silent_beats > SILENT_BEATS:
                self._lose(routing_id, "fell silent")
            else:
                self._send(routing_id, beat)
