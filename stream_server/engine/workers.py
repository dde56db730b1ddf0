"""Who runs an engine's steps: the thread that owns the engine, or several that each take what is ready when free."""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
import time
from collections.abc import Callable

from stream_server.engine.engine import Engine
from stream_server.engine.passes import Turn, TurnOutcome
from stream_server.engine.runner import Runner
from stream_server.engine.stepping import Begun, Outcome
from stream_server.engine.writing import Texts, TextsOutcome
from stream_server.errors import EngineError

log = logging.getLogger(__name__)

STUCK_S = 60.0
"""A step that takes longer never ends: as long as a door bears an engine's silence."""

LONGEST_PAUSE_S = 1.0
"""What a pause between two turns counts at most: a machine that slept has no step that does not end."""

CLOSE_S = 5.0
"""How long `close` waits for steps."""

THREAD_NAME = "step"

Work = Begun | Texts | Turn
"""What a worker may be given."""


class Workers:
    """`runner.workers` steps at once, over distinct streams, turns at second passes, or texts. One thread calls all of
    this, and it owns the engine.

    With one worker a step runs in that thread, as a device wants that has one queue. With several, on a processor, a
    chunk waits for the first that is free: sooner than for all of them, or for one that it was dealt to.
    """

    def __init__(self, engine: Engine, runner: Runner, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._runner = runner
        self._clock = clock
        self._free = self._count = runner.workers
        self._under_way: dict[Work, float] = {}
        self._turned, self._awake = clock(), 0.0
        self._asked: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Work, Outcome | TextsOutcome | TurnOutcome]] = queue.SimpleQueue()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        # Daemons: a step that hangs must not keep the process from ending.
        self._threads = [threading.Thread(target=self._work, name=f"{THREAD_NAME}-{number}", daemon=True)
                         for number in range(self._count if self._count > 1 else 0)]
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether `turn` would begin a step."""
        return self._engine.busy and self._free > 0

    def fileno(self) -> int:
        """Readable when a step has ended since the last `turn`."""
        return self._wake

    def turn(self, now: float) -> bool:
        """Begins what can begin and tells the engine what has ended; False where there was neither. Raises EngineError
        where the device fails on everything, or a step does not end."""
        moved = self._finish()
        self._awake += min(now - self._turned, LONGEST_PAUSE_S)
        self._turned = now
        if self._under_way and self._awake - min(self._under_way.values()) > STUCK_S:
            raise EngineError(f"a step has not ended within {STUCK_S:g} s: the device is taken for broken")
        while self.ready and (begun := self._engine.begin(now, self._free + self._leaving())) is not None:
            moved = True
            if not self._threads:
                self._engine.finish(begun, begun.run(self._runner, self._clock))
                break
            self._free -= 1
            self._under_way[begun] = self._awake
            self._asked.put(begun)
        if not self._free:
            leaving = self._leaving()
            for work in self._under_way:
                if isinstance(work, Turn) and not work.asked and self._engine.wants(work, now, leaving):
                    work.leave()
                    leaving += 1
        return moved

    def _leaving(self) -> int:
        """Workers that were asked to leave a second pass."""
        return sum(isinstance(work, Turn) and work.asked for work in self._under_way)

    def wait(self, seconds: float) -> None:
        """Until a step has ended, `seconds` at most."""
        select.select([self._wake], [], [], max(0.0, seconds))

    def close(self) -> bool:
        """Lets the threads end after the steps that they are in; False where one has not within a few seconds. The
        process is then to be left without waiting for it."""
        for _ in self._threads:
            self._asked.put(None)
        end = time.monotonic() + CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            return False
        os.close(self._wake)
        os.close(self._waker)
        return True

    def _finish(self) -> bool:
        try:
            os.read(self._wake, 4096)
        except BlockingIOError:
            return False
        while not self._done.empty():
            begun, outcome = self._done.get()
            self._free += 1
            del self._under_way[begun]
            self._engine.finish(begun, outcome)
        return True

    def _work(self) -> None:
        while (begun := self._asked.get()) is not None:
            outcome = begun.abandoned()
            try:
                outcome = begun.run(self._runner, self._clock)
            except BaseException:  # not of the model's: those are an outcome
                log.exception("a worker's step ended abnormally")
            self._done.put((begun, outcome))
            # What a worker holds is gone while it waits.
            del begun, outcome
            os.write(self._waker, b".")
