"""Who runs an engine's steps: the thread that owns the engine, or several that each take what is ready when free."""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable

from stream_server.engine.engine import Begun, Engine
from stream_server.engine.runner import Runner
from stream_server.engine.stepping import Outcome, advance


class Workers:
    """`runner.workers` steps at once, over distinct streams. One thread calls all of this, and it owns the engine.

    With one worker a step runs in that thread, as a device wants that has one queue. With several, on a processor, a
    chunk waits for the first that is free: sooner than for all of them, or for one that it was dealt to.
    """

    def __init__(self, engine: Engine, runner: Runner, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._runner = runner
        self._clock = clock
        self._free = self._count = runner.workers
        self._asked: queue.SimpleQueue[Begun | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Begun, Outcome]] = queue.SimpleQueue()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        # Daemons: a step that hangs must not keep the process from ending.
        self._threads = [threading.Thread(target=self._work, name=f"step-{number}", daemon=True)
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
        where the device fails on everything."""
        moved = False
        while self.ready and (begun := self._engine.begin(now, self._free)) is not None:
            moved = True
            if not self._threads:
                self._engine.finish(begun, advance(self._runner, begun.window, begun.rows, self._clock))
                break
            self._free -= 1
            self._asked.put(begun)
        return self._finish() or moved

    def wait(self, seconds: float) -> None:
        """Until a step has ended, `seconds` at most."""
        select.select([self._wake], [], [], max(0.0, seconds))

    def close(self) -> None:
        """Lets the threads end after the steps that they are in."""
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()
        os.close(self._wake)
        os.close(self._waker)

    def _finish(self) -> bool:
        try:
            os.read(self._wake, 4096)
        except BlockingIOError:
            return False
        while not self._done.empty():
            begun, outcome = self._done.get()
            self._free += 1
            self._engine.finish(begun, outcome)
        return True

    def _work(self) -> None:
        while (begun := self._asked.get()) is not None:
            self._done.put((begun, advance(self._runner, begun.window, begun.rows, self._clock)))
            os.write(self._waker, b".")
