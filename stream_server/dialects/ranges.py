"""Ranges: what each field of a Start may hold, in one table for all dialects, their errors and the schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from stream_server import config
from stream_server.audio.windows import wish_from_samples, wish_from_triple
from stream_server.errors import ClientError
from stream_server.session.messages import Encoding, Start
from stream_server.speech.hotwords import from_native

LONGEST_NAME = 256
LONGEST_TOKEN = 128
LONGEST_ROOM = 64
LONGEST_SPEAKER = 60


@dataclass(frozen=True, slots=True)
class WholeNumber:
    """An integer from `low` to `high`, both included."""

    low: int
    high: int
    unit: str = ""

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high} {self.unit}".rstrip()

    def holds(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.words)

    def holds(self, value: object) -> bool:
        return isinstance(value, str) and value in self.words


@dataclass(frozen=True, slots=True)
class Text:
    """A string of at most `longest` characters."""

    longest: int

    @property
    def allowed(self) -> str:
        return f"a string of at most {self.longest} characters"

    def holds(self, value: object) -> bool:
        return isinstance(value, str) and len(value) <= self.longest


@dataclass(frozen=True, slots=True)
class TrueOrFalse:
    """A JSON boolean."""

    allowed: str = "true or false"

    def holds(self, value: object) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """Samples, or FunASR's [l, c, r]; how far they may go depends on hop_size: see `check_window`."""

    allowed: str = "samples at 16 kHz together with hop_size, or [l, c, r] in frames of 60 ms without it"

    def holds(self, value: object) -> bool:
        if isinstance(value, list):
            return len(value) == 3 and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
        return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Words:
    """Hotwords in one of the forms of `hotwords.from_native`, whose errors say more than that they are wrong."""

    allowed: str = "a list of words, with weights or without; or an object of weights"

    def holds(self, value: object) -> bool:
        try:
            from_native(value)
        except ClientError:
            return False
        return True


Range = WholeNumber | OneOf | Text | TrueOrFalse | ChunkSize | Words

START: dict[str, Range] = {
    "encoding": OneOf(get_args(Encoding)),
    "sample_rate": WholeNumber(*config.SAMPLE_RATES, unit="Hz"),
    "chunk_size": ChunkSize(),
    "hop_size": WholeNumber(1, 38_400, unit="samples at 16 kHz"),
    "encoder_look_back": WholeNumber(0, 100, unit="hops"),
    "decoder_look_back": WholeNumber(0, 100, unit="hops"),
    "vad": OneOf(get_args(config.VadKind)),
    "vad_aggressiveness": WholeNumber(0, 3),
    "end_silence_ms": WholeNumber(*config.END_SILENCE_MS, unit="ms"),
    "min_speech_ms": WholeNumber(*config.MIN_SPEECH_MS, unit="ms"),
    "pre_roll_ms": WholeNumber(*config.PRE_ROLL_MS, unit="ms"),
    "max_segment_ms": WholeNumber(*config.MAX_SEGMENT_MS, unit="ms"),
    "second_pass": TrueOrFalse(),
    "punctuation": TrueOrFalse(),
    "itn": TrueOrFalse(),
    "partials": TrueOrFalse(),
    "name": Text(LONGEST_NAME),
    "hotwords": Words(),
    "resumable": TrueOrFalse(),
    "room": Text(LONGEST_ROOM),
}

RESUME: dict[str, Range] = {
    "token": Text(LONGEST_TOKEN),
    "segments": WholeNumber(0, 2**31),
    "encoding": START["encoding"],
    "sample_rate": START["sample_rate"],
}

NULLABLE = frozenset(START) - {"encoding", "sample_rate", "partials", "name", "resumable"}
"""Fields whose null means the same as leaving them out: the server's choice."""


def check(field: str, value: object) -> None:
    """Raise ClientError unless a Start may hold `value` in `field`."""
    if (value is None and field in NULLABLE) or START[field].holds(value):
        return
    shown = "null" if value is None else value
    raise ClientError("bad_field", f"{field} cannot be this", field=field, value=shown, allowed=START[field].allowed)


def check_speaker(start: Start) -> None:
    """Raise ClientError unless who speaks in a room has a name."""
    if start.room is not None and not is_name(start.name, LONGEST_SPEAKER):
        raise ClientError("bad_field", "name cannot be this in a room", field="name", value=start.name,
                          allowed=f"1 to {LONGEST_SPEAKER} printable characters")


def is_name(value: object, longest: int) -> bool:
    """Whether people can be shown this as a name."""
    return isinstance(value, str) and len(value) <= longest and value.isprintable() and not value.isspace() and \
        bool(value)


def check_window(start: Start) -> None:
    """Raise ClientError unless chunk_size and hop_size go together and are within reason."""
    if isinstance(start.chunk_size, list):
        if start.hop_size is not None:
            raise ClientError("bad_field", "hop_size is part of [l, c, r]", field="hop_size", value=start.hop_size,
                              allowed="nothing, where chunk_size is [l, c, r]")
        wish_from_triple(start.chunk_size)
    elif (start.chunk_size is None) != (start.hop_size is None):
        missing, given = ("hop_size", "chunk_size") if start.hop_size is None else ("chunk_size", "hop_size")
        raise ClientError("bad_field", f"{missing} is missing: {given} in samples needs it", field=missing,
                          allowed=f"{START[missing].allowed}, together with {given}")
    elif start.chunk_size is not None and start.hop_size is not None:
        wish_from_samples(start.chunk_size, start.hop_size)
