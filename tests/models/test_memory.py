"""How many slots memory holds."""

from __future__ import annotations

import os

from stream_server.models.caches import Caches
from stream_server.models.checkpoint import Model
from stream_server.models.memory import CPU_SHARE, SLOTS_PER_WORKER, slots_that_fit
from tests.models.test_streaming import DEFAULT, QUICK


def test_the_slots_on_a_cpu_fit_into_their_share_of_what_is_free(small: Model):
    slots = slots_that_fit(small, [DEFAULT, QUICK], rows=32)
    size = Caches(small.network.architecture, [DEFAULT, QUICK], 1, small.dtype, small.device).bytes_per_slot
    assert 1 <= slots <= SLOTS_PER_WORKER
    assert slots <= slots_that_fit(small, [DEFAULT, QUICK], rows=32, workers=3) <= 3 * SLOTS_PER_WORKER
    assert slots * size <= CPU_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
