"""The words that the session and the engine share: a chunk goes down, a hypothesis comes up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stream_server.audio.windows import Window


@dataclass(frozen=True, slots=True)
class Chunk:
    """A hop of a stream's audio, ready to be recognised.

    `samples`: int16 at 16 kHz, exactly a hop, or 0 to a hop of them where `last` is set. `generation` names the
    stream within its session and rises with each; `sequence` counts the stream's chunks from 0. The next chunk
    of a session is handed out only after the hypothesis of this one has come back.
    """

    generation: int
    sequence: int
    window: Window
    samples: np.ndarray
    last: bool = False

    @property
    def first(self) -> bool:
        return self.sequence == 0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What one chunk added to its stream.

    `pieces` are vocabulary entries, `@@` at the end of an unfinished word; `frames[i]` counts frames of 60 ms
    from the stream's first sample to the firing of `pieces[i]`. `error` says that the engine failed on this
    stream: its text so far stands, and no more will come for this generation.
    """

    generation: int
    sequence: int
    pieces: list[str] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    last: bool = False
    error: str | None = None
