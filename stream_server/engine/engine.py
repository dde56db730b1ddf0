"""The engine's core: sessions, streams and steps, without sockets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np

from stream_server.engine.finals import FINALS_PER_SESSION, Finals, SecondOptions
from stream_server.engine.lists import Lists
from stream_server.engine.passes import Turn, TurnOutcome
from stream_server.engine.runner import RowResult, Runner
from stream_server.engine.scheduler import Scheduler
from stream_server.engine.slots import Slots
from stream_server.engine.statistics import Statistics
from stream_server.engine.stepping import Begun, Outcome
from stream_server.engine.stream import Pending, Stream, Tenant, TenantKey
from stream_server.engine.wire import (
    Abort,
    Admit,
    Admitted,
    Buffer,
    EngineMessage,
    Expect,
    HeardAgain,
    Recognised,
    Refused,
    Release,
    Step,
    Write,
    Wrote,
)
from stream_server.engine.writing import Texts, TextsOutcome, Writing
from stream_server.errors import EngineError
from stream_server.speech.context_graph import ContextGraph, GraphCache
from stream_server.speech.recognition import Hypothesis, SecondPass
from stream_server.speech.scribe import Scribe, Scribed
from stream_server.speech.spelling import Speller
from stream_server.units import SAMPLE_RATE

log = logging.getLogger(__name__)

RETRY_AFTER_S = 5
"""What a refused session is told: about the length of an utterance, after which others may have left."""

HOPELESS_BATCHES = 8
"""Batches in a row without one good row, after which the device is taken for broken and the process for lost."""

_INT16 = np.dtype("<i2")


class Engine:
    """Advances every stream that has a chunk ready, in batched steps: schedule, run, complete.

    What doors say goes in by `receive`, what they are told comes out of `take_messages`; a door is its routing id.
    Nothing a door says raises. `capacity` is how many sessions are admitted, by default as many as there are slots;
    beyond that, streams without a slot wait for one. With a `second` model segments that are closed are heard again
    by it, whenever no chunk is ready; without one, none asks for it. A `scribe` writes finals as people read them.
    """

    def __init__(self, runner: Runner, *, capacity: int | None = None, max_batch: int | None = None,
                 second: SecondOptions | None = None, scribe: Scribe | None = None,
                 statistics: Statistics | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity = capacity or runner.slots
        self._statistics = statistics or Statistics()
        self._runner = runner
        self._windows = frozenset(runner.windows)
        self._clock = clock
        self._slots = Slots(runner.slots)
        self._lists = Lists(GraphCache(Speller(runner.vocabulary)), self._listen_for, clock)
        self._scheduler = Scheduler(min(max_batch or runner.max_batch, runner.max_batch))
        self._steps = 0
        self._tenants: dict[TenantKey, Tenant] = {}
        self._slotless: dict[Stream, None] = {}
        self._outbox: list[tuple[bytes, EngineMessage]] = []
        self._bad_batches = 0
        self._finals = None if second is None else Finals(
            second.runner, self._statistics, self._say_again, patience_s=second.patience_s,
            most_waiting=FINALS_PER_SESSION * self.capacity, most_samples=second.most_samples,
            most_running=runner.workers, most_guesses=second.most_guesses)
        self._writing = None if scribe is None else Writing(scribe, self._statistics, self._say_written)

    @property
    def statistics(self) -> Statistics:
        """What the engine counts, its gauges as of now: to keep them at every message would cost more than the rest of
        it."""
        numbers = self._statistics
        numbers.sessions = len(self._tenants)
        numbers.capacity = self.capacity
        numbers.slots = self._slots.count
        numbers.slots_in_use = self._slots.in_use
        numbers.second_passes_waiting = 0 if self._finals is None else self._finals.waiting
        numbers.chunks_waiting = len(self._scheduler) + len(self._slotless) + len(self._lists)
        return numbers

    @property
    def busy(self) -> bool:
        """Whether a step has work."""
        lower = (lane for lane in (self._writing, self._finals) if lane is not None)
        return len(self._scheduler) > 0 or self._lists.ready or any(lane.ready for lane in lower)

    def wants(self, turn: Turn, now: float, leaving: int = 0) -> bool:
        """Whether the worker of a turn at a second pass is to leave it, as `leaving` others do: chunks and texts go
        first, then segments that have ended, then guesses."""
        if turn.work.guess and (len(self._scheduler) > 0 or (self._writing is not None and self._writing.ready)):
            return True
        return (len(self._scheduler) > 0 and leaving < self._room_for_steps(now)) or self._finals.wants(turn)

    def _room_for_steps(self, now: float) -> int:
        """How many workers more may step. Where there is no room chunks gather for a step that is to come, while
        workers go on with segments.

        Sessions are admitted by what chunks cost in a full batch. If each were begun as soon as a worker is free, they
        would come in small ones, which take longer, and segments would wait behind them for ever. So once as many
        segments that have ended wait as there are workers, half of these step, and one more where chunks press.
        """
        workers = self._runner.workers
        if self._finals is None or self._finals.waiting < workers:
            return workers - self._steps
        return max((workers + 1) // 2 - self._steps, int(self._scheduler.presses(now)))

    def receive(self, door: bytes, message: Admit | Release | Step | Expect | Abort | Write, now: float,
                audio: Buffer = b"") -> None:
        """A door's message; `audio` is the second frame of a Step or Expect, `now` in seconds of the engine's clock."""
        key = (door, message.session)
        match message:
            case Step():
                self._receive_chunk(key, message, audio, now)
            case Admit():
                self._admit(key)
            case Release():
                self._release(key)
            case Expect():
                self._expect(key, message, audio, now)
            case Abort(generation=generation):
                self._abort(key, generation)
            case Write():
                self._write(key, message)

    def forget_door(self, door: bytes) -> None:
        """Frees whatever a door held; it went away."""
        for key in [key for key in self._tenants if key[0] == door]:
            self._release(key)
        self._outbox = [(receiver, message) for receiver, message in self._outbox if receiver != door]

    def step(self, now: float) -> bool:
        """One batch; False where nothing was ready. Raises EngineError where the device fails on everything."""
        while (begun := self.begin(now)) is None:
            if not self._lists.ready:
                return False
        self.finish(begun, begun.run(self._runner, self._clock))
        return True

    def begin(self, now: float, sharers: int = 1) -> Begun | Texts | Turn | None:
        """The next batch, whose step is the caller's to run and to `finish`; where no chunk is ready, or those that are
        gather, finals to be written or a turn at a second pass; None where nothing is.

        Several may be under way, each of other streams; `sharers` are those who could begin one now or soon. Lists of
        hotwords that wait are gone on with before: there may be nothing to begin yet, and the engine `busy`.
        """
        self._lists.work()
        room = self._room_for_steps(now)
        if room < 1 and (work := self._begin_behind_chunks(now, guesses=False)) is not None:
            return work
        batch = self._scheduler.schedule(min(sharers, max(room, 1)))
        if batch is None:
            return self._begin_behind_chunks(now)
        for stream in batch.streams:
            stream.stepping = True
            self._statistics.count_wait(now - stream.pending.arrived)
        self._steps += 1
        return Begun(batch.window, batch.streams, [stream.row() for stream in batch.streams])

    def _begin_behind_chunks(self, now: float, *, guesses: bool = True) -> Texts | Turn | None:
        # Texts first: they are what somebody has waited for longest, and take least.
        work = None if self._writing is None else self._writing.begin()
        if work is None and self._finals is not None:
            work = self._finals.begin(now, guesses=guesses)
        return work

    def finish(self, begun: Begun | Texts | Turn, outcome: Outcome | TextsOutcome | TurnOutcome) -> None:
        """What a step gave. Raises EngineError where the device fails on everything."""
        if isinstance(begun, Turn):
            self._finals.finish(begun, outcome)
            return
        if isinstance(begun, Texts):
            self._writing.finish(outcome)
            return
        self._steps -= 1
        self._lists.step_s = outcome.seconds
        self._statistics.failed_batches += outcome.failed
        self._statistics.count_step(begun.window, len(begun.rows), outcome.seconds)
        for stream, result in zip(begun.streams, outcome.results, strict=True):
            self._complete(stream, result)
        self._judge(outcome.results)

    def take_messages(self) -> list[tuple[bytes, EngineMessage]]:
        """What is to be sent, in order: the door's routing id and the message."""
        messages, self._outbox = self._outbox, []
        return messages

    def _admit(self, key: TenantKey) -> None:
        door, session = key
        if key in self._tenants:
            self._outbox.append((door, Admitted(session)))
        elif len(self._tenants) < self.capacity:
            self._tenants[key] = Tenant(key)
            self._statistics.admitted += 1
            self._outbox.append((door, Admitted(session)))
        else:
            self._statistics.refused += 1
            message = f"the engine is full: sessions {len(self._tenants)}, places {self.capacity}"
            self._outbox.append((door, Refused(session, message, RETRY_AFTER_S)))

    def _release(self, key: TenantKey) -> None:
        tenant = self._tenants.pop(key, None)
        if tenant is not None and tenant.stream is not None:
            self._close(tenant.stream)
        if self._finals is not None:
            self._finals.forget(key)
        if self._writing is not None:
            self._writing.forget(key)

    def _abort(self, key: TenantKey, generation: int) -> None:
        tenant = self._tenants.get(key)
        if tenant is not None and tenant.stream is not None and tenant.stream.generation == generation:
            self._statistics.aborted += 1
            self._end_stream(tenant)

    def _receive_chunk(self, key: TenantKey, step: Step, audio: Buffer, now: float) -> None:
        tenant = self._tenants.get(key)
        problem = self._problem(tenant, step, audio)
        if problem is not None:
            self._reject(tenant, key, step, problem)
            return
        stream = self._stream(tenant, step)
        deadline = now + step.window.hop_samples / SAMPLE_RATE
        samples = np.frombuffer(audio, _INT16)
        if self._finals is not None:
            self._finals.keep(stream, samples, step.keep_from)
        stream.pending = Pending(step.sequence, samples, step.last, now, deadline, closed=step.closed)
        stream.next_sequence += 1
        if step.hotwords is None:
            self._line_up(stream)
        else:
            stream.hotwords = step.hotwords
            self._lists.ask(stream, step.hotwords)

    def _listen_for(self, stream: Stream, graph: ContextGraph) -> None:
        """A stream whose chunk waited for the graph of its list has it."""
        stream.graph = graph if graph.words else None
        stream.pending.unspelt = list(graph.unspellable)
        self._line_up(stream)

    def _line_up(self, stream: Stream) -> None:
        """The stream's chunk can be run, once there is a slot for it."""
        if stream.lease is None:
            self._slotless[stream] = None
            self._seat()
        else:
            self._scheduler.add(stream)

    def _expect(self, key: TenantKey, expect: Expect, audio: Buffer, now: float) -> None:
        tenant = self._tenants.get(key)
        stream = None if tenant is None else tenant.stream
        if self._finals is None or stream is None or stream.generation != expect.generation:
            return
        if expect.span is None:
            self._finals.drop(key)
        elif len(audio) % 2 == 0 and len(audio) <= 2 * stream.window.hop_samples:
            self._finals.guess(stream, expect.span, np.frombuffer(audio, _INT16), now)

    def _problem(self, tenant: Tenant | None, step: Step, audio: Buffer) -> str | None:
        """Why a chunk cannot be taken; None where it can."""
        if tenant is None:
            return "the session is not admitted"
        if step.window not in self._windows:
            return f"window {step.window} is not served"
        samples, odd = divmod(len(audio), 2)
        hop = step.window.hop_samples
        if odd or samples > hop or (samples < hop and not step.last):
            return f"a chunk of {len(audio)} bytes, where a hop is {hop} samples of int16"
        if step.hotwords is not None and not step.hotwords.fits:
            return f"a list of {len(step.hotwords.words)} hotwords is beyond the limits"
        stream = tenant.stream
        if stream is None or step.generation != stream.generation:
            if step.generation <= tenant.generation:
                return f"stream {step.generation} is over"
            return None if step.sequence == 0 else f"stream {step.generation} begins with chunk {step.sequence}"
        if stream.pending is not None:
            return f"chunk {step.sequence} came before the result of chunk {stream.pending.sequence}"
        if step.sequence != stream.next_sequence:
            return f"chunk {step.sequence} came where {stream.next_sequence} was due"
        if step.window != stream.window or step.lane != stream.lane:
            return "a stream keeps its window and its lane"
        return None

    def _reject(self, tenant: Tenant | None, key: TenantKey, step: Step, problem: str) -> None:
        self._statistics.rejected_chunks += 1
        log.warning("chunk of session %s refused: %s", key[1], problem)
        if tenant is not None and tenant.stream is not None and tenant.stream.generation == step.generation:
            self._end_stream(tenant)
        hypothesis = Hypothesis(step.generation, step.sequence, last=step.last, error=problem)
        self._outbox.append((key[0], Recognised(key[1], hypothesis)))

    def _stream(self, tenant: Tenant, step: Step) -> Stream:
        """The stream of a chunk that was found good. A new generation ends the one before."""
        stream = tenant.stream
        if stream is None or stream.generation != step.generation:
            self._end_stream(tenant)
            stream = Stream(tenant.key, step.generation, step.window, step.lane)
            tenant.generation = step.generation
            tenant.stream = stream
            self._statistics.streams += 1
        return stream

    def _seat(self) -> None:
        """Gives free slots to the streams that wait for one, first come first served."""
        while self._slotless:
            lease = self._slots.lease()
            if lease is None:
                return
            stream = next(iter(self._slotless))
            del self._slotless[stream]
            stream.lease = lease
            self._scheduler.add(stream)

    def _end_stream(self, tenant: Tenant) -> None:
        stream, tenant.stream = tenant.stream, None
        if stream is not None:
            self._close(stream)

    def _close(self, stream: Stream) -> None:
        self._lists.forget(stream)
        self._scheduler.remove(stream)
        self._slotless.pop(stream, None)
        stream.pending = None
        if not stream.stepping:
            self._leave(stream)

    def _leave(self, stream: Stream) -> None:
        """Its slot is free for others; not while a step writes to it."""
        if stream.lease is not None:
            self._slots.give_back(stream.lease)
            self._seat()

    def _complete(self, stream: Stream, result: RowResult) -> None:
        stream.stepping = False
        tenant = self._tenants.get(stream.tenant)
        if tenant is None or tenant.stream is not stream:
            self._statistics.stale_results += 1
            self._leave(stream)
            return
        pending, stream.pending = stream.pending, None
        if result.error is not None:
            self._statistics.row_errors += 1
        if pending.last or result.error is not None:
            self._end_stream(tenant)
        stream.progress = result.progress
        hypothesis = Hypothesis(stream.generation, pending.sequence, result.pieces, result.frames, pending.last,
                                result.error, result.confidences, result.undecided, pending.unspelt)
        door, session = stream.tenant
        self._outbox.append((door, Recognised(session, hypothesis)))
        if pending.closed is not None and result.error is None:
            self._hear_again(stream, pending)

    def _hear_again(self, stream: Stream, pending: Pending) -> None:
        if self._finals is None:
            missing = SecondPass(stream.generation, pending.sequence, error="there is no second model")
            self._say_again(stream.tenant, missing)
        else:
            self._finals.add(stream, pending.sequence, pending.closed, pending.arrived, stream.hotwords)

    def _write(self, key: TenantKey, message: Write) -> None:
        if self._writing is None or key not in self._tenants:
            self._say_written(key, message.segment, None)
        else:
            self._writing.add(key, message.segment, message.spoken)

    def _say_written(self, key: TenantKey, segment: int, scribed: Scribed | None) -> None:
        self._outbox.append((key[0], Wrote(key[1], segment, scribed)))

    def _say_again(self, key: TenantKey, second_pass: SecondPass) -> None:
        self._outbox.append((key[0], HeardAgain(key[1], second_pass)))

    def _judge(self, results: Sequence[RowResult]) -> None:
        self._bad_batches = self._bad_batches + 1 if all(result.error for result in results) else 0
        if self._bad_batches >= HOPELESS_BATCHES:
            raise EngineError(f"{self._bad_batches} batches in a row failed altogether: the device is taken for broken")
