"""Python's own settings in a process that serves."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 20_000
"""Objects that may come before the collector looks for cycles among them: a large step's, or those of a second's
messages."""


def prepare_process() -> None:
    """For a process that serves from now on, with everything loaded that it needs."""
    # Else the collector, once streams and sessions have left enough behind, looks through all of the libraries' and a
    # model's objects again, which takes a tenth of a second and more; and at the usual threshold it looks for cycles
    # amid every large step.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
