"""How many slots a device's memory holds."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from stream_server.audio.windows import Window
from stream_server.models.caches import Caches
from stream_server.models.checkpoint import Model
from stream_server.models.program import Program

MOST_SLOTS = 65_536
SLOTS_PER_WORKER = 64
"""On a CPU: a core is out of time long before the machine is out of memory."""

CPU_SHARE = 0.25
"""Of the free memory of a machine, which is not the server's alone."""

CUDA_SHARE = 0.9
"""Of the free memory of a GPU; the rest is for what allocation wastes, and for libraries' own workspaces."""

GRAPHS_PER_STEP = 2
"""Memory of all graphs together, in that of the largest step: they share theirs, but each keeps its results."""


def slots_that_fit(model: Model, windows: Sequence[Window], rows: int, workers: int = 1) -> int:
    """Slots that fit beside the loaded model and steps of at most `rows` rows, at least 1; on a CPU no more than
    `workers` can use."""
    slot = Caches(model.network.architecture, windows, 1, model.dtype, model.device).bytes_per_slot
    if not model.device.startswith("cuda"):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return max(1, min(SLOTS_PER_WORKER * workers, int(CPU_SHARE * free) // slot))
    steps = GRAPHS_PER_STEP * _bytes_of_step(model, windows, rows)
    torch.cuda.empty_cache()
    free = int(CUDA_SHARE * torch.cuda.mem_get_info(model.device)[0])
    return max(1, min(MOST_SLOTS, (free - steps) // slot))


def _bytes_of_step(model: Model, windows: Sequence[Window], rows: int) -> int:
    """Memory at the peak of the costliest window's step, measured with rows of nobody."""
    device = torch.device(model.device)
    caches = Caches(model.network.architecture, windows, 1, model.dtype, model.device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    for window in windows:
        Program(model.network, caches, window, rows).run()
    return torch.cuda.max_memory_allocated(device) - before
