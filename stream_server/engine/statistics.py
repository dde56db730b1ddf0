"""What the engine counts of itself: plain numbers, and hooks for whoever draws histograms of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stream_server.audio.windows import Window


def _ignore(*_: object) -> None:
    """The hook of those who do not listen."""


@dataclass(slots=True)
class Statistics:
    """Gauges and counters of one engine, and the hooks that it calls on its own thread. Gauges are of the moment in
    which `Engine.statistics` was asked for last.

    `observe_step(window, rows, seconds)` after every step, `observe_wait(seconds)` for every chunk: the time from its
    arrival to the start of its step. Hooks must be quick and must not raise.
    """

    sessions: int = 0
    capacity: int = 0
    slots: int = 0
    slots_in_use: int = 0
    chunks_waiting: int = 0
    second_passes_waiting: int = 0

    steps: int = 0
    rows: int = 0
    step_seconds: float = 0.0
    wait_seconds: float = 0.0
    admitted: int = 0
    refused: int = 0
    streams: int = 0
    aborted: int = 0
    row_errors: int = 0
    failed_batches: int = 0
    rejected_chunks: int = 0
    stale_results: int = 0
    second_passes: int = 0
    second_pass_seconds: float = 0.0
    second_passes_failed: int = 0
    second_passes_late: int = 0
    second_passes_refused: int = 0
    guesses_begun: int = 0
    guesses_used: int = 0
    guesses_dropped: int = 0
    finals_written: int = 0
    finals_not_written: int = 0
    writing_seconds: float = 0.0
    malformed: int = 0
    doors_lost: int = 0

    observe_step: Callable[[Window, int, float], None] = _ignore
    observe_wait: Callable[[float], None] = _ignore

    def numbers(self) -> dict[str, float]:
        """Every gauge and counter by name."""
        return {name: value for name in self.__slots__ if not callable(value := getattr(self, name))}

    def count_step(self, window: Window, rows: int, seconds: float) -> None:
        self.steps += 1
        self.rows += rows
        self.step_seconds += seconds
        self.observe_step(window, rows, seconds)

    def count_wait(self, seconds: float) -> None:
        self.wait_seconds += seconds
        self.observe_wait(seconds)
