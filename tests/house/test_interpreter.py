from __future__ import annotations

import gc
import weakref

from stream_server.interpreter import prepare_process


def test_a_process_that_serves_looks_for_garbage_among_what_is_new_alone() -> None:
    class Knot:
        def __init__(self) -> None:
            self.itself = self

    before = gc.get_threshold()
    old = Knot()
    try:
        prepare_process()
        known = id(old)
        assert gc.get_freeze_count() > 0 and known not in map(id, gc.get_objects())
        gone = weakref.ref(Knot())
        gc.collect()
        assert gc.isenabled() and gone() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
