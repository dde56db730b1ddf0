"""The delay's arithmetic, on a track whose shift and lateness are known."""

from __future__ import annotations

import numpy as np

from benchmarks.browser import BLOCK, Seen, delays

SHIFT_MS = 1_234.0
CAPTURE_MS = 50_000.0
"""When the worklet's first sample was captured, by the page's clock."""


def tokens(begin: float, chance: np.random.Generator) -> list[tuple[str, int, int]]:
    """Twenty words from `begin` (ms) on, their times in frames since a segment's beginning that differs each time."""
    grid = chance.uniform(0, 60)
    times = [int(grid + 60 * np.ceil((begin + 200 * n - grid) / 60)) for n in range(21)]
    return [(f"{begin}{n}", times[n], times[n + 1]) for n in range(20)]


def seen(late_ms: list[float], partials: list[tuple[int, int, int]]) -> tuple[Seen, list[tuple[str, int, int]]]:
    """A page whose changes come `late_ms` after the last sample that their partials needed; what the WebSocket had."""
    chance = np.random.default_rng(1)
    begins = [3_000 + 5_000 * n for n in range(6)]
    finals = [{"tokens": tokens(begin, chance)} for begin in begins]
    same = [(word, start + SHIFT_MS, end + SHIFT_MS) for begin in begins for word, start, end in tokens(begin, chance)]
    blocks = 800
    stamps = CAPTURE_MS + 60.0 * np.arange(1, blocks + 1) + chance.exponential(20, blocks)
    stamps[::100] = CAPTURE_MS + 60.0 * np.arange(1, blocks + 1)[::100]
    changes = [(CAPTURE_MS + SHIFT_MS + end + 300 + late, {"segment": segment, "revision": n, "start_ms": start,
                                                           "end_ms": end})
               for n, (late, (segment, start, end)) in enumerate(zip(late_ms, partials, strict=True))]
    ready = {"window": {"look_ahead_ms": 300}}
    return Seen(np.zeros(blocks * BLOCK, np.int16), stamps, changes, ready, finals, ""), same


def test_a_change_is_as_late_as_it_is_whatever_the_shift_and_late_the_stamps() -> None:
    late = [50.0, 80.0, 120.0]
    found, spread = delays(*seen(late, [(0, 3_000, 3_600), (0, 3_000, 4_200), (1, 8_000, 9_000)]))
    assert np.abs(np.subtract(found, late)).max() < 10 and spread < 25


def test_partials_that_hear_only_the_beginning_and_second_changes_are_left_out() -> None:
    page, same = seen([50.0, 60.0], [(0, 3_000, 3_000), (0, 3_000, 3_600)])
    page.changes.append(page.changes[-1])
    assert len(delays(page, same)[0]) == 1
