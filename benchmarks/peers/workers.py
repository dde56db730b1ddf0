"""Each form of each engine in processes of its own, all alive at once and taking turns.

While one form is measured the others sleep. A round gives every form its turn, so that whatever else the machine
does falls on all of them alike.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from benchmarks.peers.engines import Form, Lane, Material, lanes

READY_WITHIN_S = 300.0
_SPAWN = multiprocessing.get_context("spawn")
"""Not forked: what one process has loaded is not to be counted as another's memory."""


class Crew:
    """The processes of one form."""

    def __init__(self, form: Form, material: Material) -> None:
        self.form = form
        self.peaks_mb = [0] * form.processes
        self._busy = _SPAWN.Value("i", 0)
        self._connections: list[Connection] = []
        self._processes: list[multiprocessing.Process] = []
        for number in range(form.processes):
            ours, theirs = _SPAWN.Pipe()
            process = _SPAWN.Process(target=_work, args=(theirs, self._busy, form, material, number), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)

    def wait_until_ready(self) -> None:
        """Raises RuntimeError where a process ended, or took longer than five minutes to load."""
        for connection in self._connections:
            self._receive(connection, READY_WITHIN_S)

    def measure(self, batch: int, seconds: float) -> float:
        """Hops a second of all processes together, over at least `seconds`."""
        self._busy.value = len(self._connections) * (1 if self.form.engine == "funasr" else self.form.threads)
        for connection in self._connections:
            connection.send((batch, seconds))
        # A step in batches may take long on a slow machine.
        answers = [self._receive(connection, 60 + 20 * seconds) for connection in self._connections]
        self.peaks_mb = [peak for _, peak in answers]
        return sum(rate for rate, _ in answers)

    def end(self) -> None:
        for connection, process in zip(self._connections, self._processes, strict=True):
            connection.close()
            process.join(10)
            if process.is_alive():
                process.terminate()

    def _receive(self, connection: Connection, within_s: float) -> tuple[float, int]:
        try:
            if connection.poll(within_s):
                return connection.recv()
        except (EOFError, ConnectionError):
            raise RuntimeError(f"{self.form}: a process ended; what it said is above") from None
        raise RuntimeError(f"{self.form}: no answer within {within_s:.0f} s")


@contextmanager
def crews(forms: Sequence[Form], material: Material) -> Iterator[list[Crew]]:
    """All ready to be measured; ended afterwards."""
    started: list[Crew] = []
    try:
        for form in forms:
            started.append(Crew(form, material))
            # One after the other: loading takes more memory than running.
            started[-1].wait_until_ready()
        yield started
    finally:
        for crew in started:
            crew.end()


def _work(connection: Connection, busy: Synchronized, form: Form, material: Material, number: int) -> None:
    by_batch = lanes(form, material, number)
    for sized in by_batch.values():
        for lane in sized:
            lane.step()
    _forget_peak()
    connection.send((0.0, 0))
    while True:
        try:
            batch, seconds = connection.recv()
        except EOFError:
            return
        connection.send((_rate(by_batch[batch], seconds, busy), _peak_mb()))


def _rate(side_by_side: Sequence[Lane], seconds: float, busy: Synchronized) -> float:
    with ThreadPoolExecutor(len(side_by_side)) as pool:
        return sum(pool.map(lambda lane: _lane_rate(lane, seconds, busy), side_by_side))


def _lane_rate(lane: Lane, seconds: float, busy: Synchronized) -> float:
    """Whoever is done first goes on, uncounted, until the last is: nobody is measured with the machine to itself."""
    rate, hops, start = 0.0, 0, time.perf_counter()
    try:
        while busy.value > 0:
            hops += lane.step()
            took = time.perf_counter() - start
            if not rate and took >= seconds:
                rate = hops / took
                with busy.get_lock():
                    busy.value -= 1
    except BaseException:
        busy.value = 0
        raise
    return rate


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> int:
    """Most memory that this process has held since `_forget_peak`, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1000
    raise RuntimeError("no VmHWM in /proc/self/status; needed Linux")
