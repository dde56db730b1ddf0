"""How many slots memory holds."""

from __future__ import annotations

import os

from stream_server.models.caches import Caches
from stream_server.models.checkpoint import Model
from stream_server.models.memory import CPU_SHARE, MOST_CPU_SLOTS, slots_that_fit
from tests.models.test_streaming import DEFAULT, QUICK


def test_the_slots_on_a_cpu_fit_into_their_share_of_what_is_free(small: Model):
    slots = slots_that_fit(small, [DEFAULT, QUICK], rows=32)
    size = Caches(small.network.architecture, [DEFAULT, QUICK], 1, small.dtype, small.device).bytes_per_slot
    assert 1 <= slots <= MOST_CPU_SLOTS
    assert slots * size <= CPU_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
