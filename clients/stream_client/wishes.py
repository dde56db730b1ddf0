"""What a client may wish for when it opens a session."""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

SAMPLE_RATE = 16_000
SAMPLE_BYTES = 2
FRAME_SAMPLES = 960


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """None leaves the choice to the server.

    `chunk_size` is FunASR's (left, centre, right) in frames of 60 ms, or samples at 16 kHz together with `hop_size`.
    `hotwords` are words that the speaker is likely to say, names above all. `resumable`: False where the session is to
    end with its connection, however that ends. `room` is the speaker token of a meeting; `name` says there who speaks.
    """

    chunk_size: tuple[int, int, int] | int | None = None
    hop_size: int | None = None
    vad: str | None = None
    vad_aggressiveness: int | None = None
    end_silence_ms: int | None = None
    min_speech_ms: int | None = None
    max_segment_ms: int | None = None
    second_pass: bool | None = None
    punctuation: bool | None = None
    itn: bool | None = None
    hotwords: tuple[str, ...] = ()
    name: str = ""
    resumable: bool | None = None
    room: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.chunk_size, int) != (self.hop_size is not None):
            raise ValueError("chunk_size in samples and hop_size go together: give both, or chunk_size as 0,10,5")

    @property
    def frames(self) -> tuple[int, int, int] | None:
        """The wished window in frames of 60 ms, rounded up as the server does."""
        if isinstance(self.chunk_size, int):
            hop, chunk = self.hop_size or 0, self.chunk_size
            return (0, math.ceil(hop / FRAME_SAMPLES), math.ceil((chunk - hop) / FRAME_SAMPLES))
        return self.chunk_size


def parse_room(text: str) -> str:
    """The speaker token of a meeting, given as such or in a link. Raises ValueError."""
    parts = urlsplit(text.strip())
    if not (parts.netloc or parts.query):
        return text.strip()
    tokens = parse_qs(parts.query).get("speak", [])
    if len(tokens) != 1:
        raise ValueError("a link to speak by has ?speak=TOKEN; those to read by or to lay over a picture have not")
    return tokens[0]


def parse_chunk_size(text: str) -> tuple[int, int, int] | int:
    """`0,10,5` in frames, or a number of samples. Raises ValueError."""
    numbers = [int(part) for part in text.strip("[] ").split(",")]
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) != 3:
        raise ValueError("chunk size is three numbers as 0,10,5, or samples together with a hop size")
    return (numbers[0], numbers[1], numbers[2])
