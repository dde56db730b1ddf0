"""What a chunk costs the engine's process beside the model: python -m benchmarks host_cost

The model's arithmetic is left out: a runner stands in its place that answers at once, whatever it is given. So this is
no model's figure and no device's; it says how many chunks a second one engine could pass on if the device took no time,
since it is the work of one thread. In microseconds of processor time a chunk, user and system:

core: `Engine.receive`, a batch begun and finished, `take_messages`; no socket.
wire: the same behind the engine's socket, with chunks from as many doors as are asked for, answers sent included: the
      engine's own thread, which is what bounds an engine; and the whole process, with ZeroMQ's thread, which moves the
      sound beside it.

Chunks come in bursts of one from each session, as they gather while a device is at a step; the fewer come together, the
dearer each is. The rounds of both take turns; each figure is the median of its rounds. The last line is one flat JSON
object, with --json the only one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import zmq

from stream_server.audio.windows import DEFAULT_WINDOWS, Window
from stream_server.engine import wire
from stream_server.engine.endpoint import engine_endpoint
from stream_server.engine.engine import Engine
from stream_server.engine.process import serve
from stream_server.engine.runner import Row, RowResult
from stream_server.engine.stream import Lane
from stream_server.interpreter import prepare_process
from stream_server.speech.recognition import Chunk

WINDOW = DEFAULT_WINDOWS[0]
SEGMENT_CHUNKS = 10
"""Chunks of a segment: six seconds, after which the stream ends and the next begins."""

SAID = ("今", "天", "好"), (2, 5, 8), (98, 97, 99)
"""Pieces, frames and confidences: as many as a hop of speech has."""

PATIENCE_MS = 20_000


class AtOnce:
    """Implements Runner, without a model."""

    def __init__(self, sessions: int) -> None:
        self.windows = (WINDOW,)
        self.slots = self.max_batch = sessions
        self.vocabulary = list(SAID[0])
        self.workers = 1

    def warm_up(self) -> None:
        """There is nothing to warm."""

    def run(self, _: Window, rows: Sequence[Row]) -> list[RowResult]:
        """The same for every row."""
        return [RowResult(*map(list, SAID)) for _ in rows]


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    with tempfile.TemporaryDirectory() as folder:
        endpoint = engine_endpoint(Path(folder))
        served = multiprocessing.get_context("spawn").Process(target=_serve, args=(endpoint, options.sessions))
        served.start()
        try:
            core = Core(options.sessions)
            with Doors(endpoint, options.doors, options.sessions, served.pid) as doors:
                rounds = [(core.measure(options.bursts), *doors.measure(options.bursts))
                          for _ in range(options.rounds + 1)]
        finally:
            served.terminate()
            served.join()
    # The first round warms up.
    core_us, wire_us, process_us = (median(figures) for figures in zip(*rounds[1:], strict=True))
    found = {"core_us": round(core_us, 2), "wire_us": round(wire_us, 2), "process_us": round(process_us, 2),
             "sessions": options.sessions, "doors": options.doors,
             "chunks": options.rounds * options.bursts * options.sessions}
    if not options.json:
        print(f"a chunk costs the engine's thread {core_us:.1f} µs in its core, {wire_us:.1f} µs with its way over the "
              f"socket; all of the process {process_us:.1f} µs")
    print(json.dumps(found))
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks host_cost", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=256, help="chunks of a burst (default: %(default)s)")
    parser.add_argument("--doors", type=int, default=2, help="sockets they come from (default: %(default)s)")
    parser.add_argument("--bursts", type=int, default=100, help="of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    return parser.parse_args(argv)


def _serve(endpoint: str, sessions: int) -> None:
    prepare_process()
    info = wire.EngineInfo(model="none", model_kind="random", windows=(WINDOW,), slots=sessions, device="cpu",
                           dtype="none")
    serve(AtOnce(sessions), endpoint, info)


def bursts(sessions: int) -> Iterator[list[tuple[str, Chunk]]]:
    """One chunk of each session after the other; segments begin and end at different times."""
    samples = np.random.default_rng(0).integers(-3000, 3000, WINDOW.hop_samples, np.int16)
    for turn in itertools.count():
        burst = []
        for session in range(sessions):
            generation, place = divmod(turn + session % SEGMENT_CHUNKS, SEGMENT_CHUNKS)
            # The first stream of a session is shorter, but begins with its first chunk too.
            sequence = place if generation else turn
            burst.append((str(session), Chunk(generation, sequence, WINDOW, samples, place == SEGMENT_CHUNKS - 1)))
        yield burst


class Core:
    """An engine in this process, without a socket."""

    def __init__(self, sessions: int) -> None:
        self._engine = Engine(AtOnce(sessions))
        self._bursts = bursts(sessions)
        for session in range(sessions):
            self._engine.receive(b"door", wire.Admit(str(session)), 0.0)
        self._engine.take_messages()

    def measure(self, count: int) -> float:
        """Microseconds a chunk over so many bursts."""
        seconds, chunks = 0.0, 0
        for _ in range(count):
            steps = [(wire.Step(session, chunk.generation, chunk.sequence, chunk.window, chunk.last),
                      chunk.samples.tobytes()) for session, chunk in next(self._bursts)]
            began = time.thread_time()
            for step, audio in steps:
                self._engine.receive(b"door", step, time.monotonic(), audio)
            while self._engine.step(time.monotonic()):
                pass
            answers = self._engine.take_messages()
            seconds += time.thread_time() - began
            _check([message for _, message in answers], len(steps))
            chunks += len(steps)
        return 1e6 * seconds / chunks


class Doors:
    """Sockets to an engine in the process `pid`, each with its share of the sessions."""

    def __init__(self, endpoint: str, doors: int, sessions: int, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._bursts = bursts(sessions)
        self._context = zmq.Context()
        self._sockets = [self._context.socket(zmq.DEALER) for _ in range(doors)]
        for number, socket in enumerate(self._sockets):
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
            socket.connect(endpoint)
            socket.send(wire.pack(wire.Hello(f"door-{number}")))
        for session in range(sessions):
            self._of(session).send(wire.pack(wire.Admit(str(session))))
        for session in range(sessions):
            self._answers(self._of(session), 1, wire.Admitted)

    def __enter__(self) -> Doors:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def measure(self, count: int) -> tuple[float, float]:
        """Microseconds a chunk over so many bursts: the engine's thread, and all of its process."""
        before, chunks = self._times(), 0
        for _ in range(count):
            burst = next(self._bursts)
            for session, chunk in burst:
                self._of(int(session)).send_multipart(wire.pack_chunk(session, chunk, Lane.LIVE))
            for number, socket in enumerate(self._sockets):
                share = len(range(number, len(burst), len(self._sockets)))
                _check(self._answers(socket, share, wire.Recognised), share)
            chunks += len(burst)
        thread, process = (1e6 * (end - start) / chunks for start, end in zip(before, self._times(), strict=True))
        return thread, process

    def _times(self) -> tuple[float, float]:
        threads = {thread.id: thread.user_time + thread.system_time for thread in self._process.threads()}
        return threads[self._process.pid], sum(threads.values())

    def _of(self, session: int) -> zmq.Socket:
        return self._sockets[session % len(self._sockets)]

    def _answers(self, socket: zmq.Socket, count: int, kind: type) -> list[wire.EngineMessage]:
        """The next so many of one kind; beats and greetings come between."""
        answers: list[wire.EngineMessage] = []
        while len(answers) < count:
            message = wire.unpack_from_engine([socket.recv()])
            if isinstance(message, kind):
                answers.append(message)
        return answers


def _check(answers: Sequence[wire.EngineMessage], count: int) -> None:
    said = [answer for answer in answers if isinstance(answer, wire.Recognised) and answer.hypothesis.pieces]
    if len(said) != count:
        raise RuntimeError(f"of {count} chunks {len(said)} were recognised: {answers[:3]}")
