"""What is in force in a session: the client's wishes, completed by the server's defaults and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from stream_server.audio.pcm import ENCODINGS, SAMPLE_BYTES
from stream_server.audio.windows import (
    LONGEST_LOOK_AHEAD_FRAMES,
    Window,
    WindowWish,
    choose,
    describe,
    wish_from_samples,
    wish_from_triple,
)
from stream_server.config import (
    END_SILENCE_MS,
    MAX_SEGMENT_MS,
    MIN_SPEECH_MS,
    PRE_ROLL_MS,
    SAMPLE_RATES,
    SessionDefaults,
    SessionLimits,
    VadKind,
)
from stream_server.errors import ClientError
from stream_server.session.messages import Encoding, Ready, Start
from stream_server.speech.endpoint import GateOptions
from stream_server.units import FRAME_SAMPLES, SAMPLE_RATE, ms_to_samples, samples_to_ms

LATEST_ONSET = SAMPLE_RATE // 2
"""Samples by which a detector's first voiced score may lie behind the onset of speech."""


@dataclass(frozen=True, slots=True)
class Options:
    """A session's settings, each valid and none left open."""

    encoding: Encoding
    sample_rate: int
    window: Window
    vad: VadKind
    vad_aggressiveness: int
    end_silence_ms: int
    min_speech_ms: int
    pre_roll_ms: int
    max_segment_ms: int
    partials: bool
    second_pass: bool = False
    punctuation: bool = False
    itn: bool = False

    @property
    def look_ahead_samples(self) -> int:
        return self.window.look_ahead * FRAME_SAMPLES

    @property
    def guesses(self) -> bool:
        """Whether segments have second passes and end in silence, so that one may begin before its end is known."""
        return self.second_pass and self.vad != "none"

    def capacity(self, limits: SessionLimits) -> int:
        """Samples at 16 kHz that a session has to be able to keep, however it is used.

        The open segment and the hops that a replay needs before it, the audio that waits until the client is read
        from no more, the one message that then comes still, and a second for rounding and the resampler's tail.
        """
        replayed = (self.window.encoder_look_back + LONGEST_LOOK_AHEAD_FRAMES + 2) * self.window.hop_samples
        message = limits.max_message_bytes // SAMPLE_BYTES[self.encoding] * SAMPLE_RATE // self.sample_rate
        kept = ms_to_samples(self.max_segment_ms + self.pre_roll_ms) + replayed + LATEST_ONSET
        return kept + round(limits.max_buffered_s * SAMPLE_RATE) + message + 2 * SAMPLE_RATE

    def gate(self) -> GateOptions:
        return GateOptions(
            min_speech=ms_to_samples(self.min_speech_ms),
            end_silence=ms_to_samples(self.end_silence_ms),
            pre_roll=ms_to_samples(self.pre_roll_ms),
            max_segment=ms_to_samples(self.max_segment_ms),
            hop=self.window.hop_samples,
            look_ahead=self.look_ahead_samples,
        )

    def ready(self, session_id: str, model: str) -> Ready:
        return Ready(
            session=session_id, model=model, encoding=self.encoding, sample_rate=self.sample_rate,
            window=describe(self.window), vad=self.vad, end_silence_ms=self.end_silence_ms,
            pre_roll_ms=self.pre_roll_ms, min_speech_ms=self.min_speech_ms, max_segment_ms=self.max_segment_ms,
            second_pass=self.second_pass, punctuation=self.punctuation, itn=self.itn,
        )


def choose_options(start: Start, defaults: SessionDefaults, windows: Sequence[Window],
                   vads: Sequence[VadKind] = ("webrtc", "none"), second_model: bool = False, punctuation: bool = False,
                   itn: bool = False) -> Options:
    """What `start` asks for, as far as the server has it. Raises ClientError naming the field that cannot be had."""
    window = choose(_wish(start, windows[0]), windows)
    hop_ms = samples_to_ms(window.hop_samples)
    # A split without a pause closes a segment a look-ahead before the end of a hop; it must have begun by then.
    shortest = 2 * (hop_ms + samples_to_ms(window.look_ahead * FRAME_SAMPLES))
    pre_roll = _number("pre_roll_ms", start.pre_roll_ms, defaults.pre_roll_ms, PRE_ROLL_MS)
    max_segment = _number("max_segment_ms", start.max_segment_ms, defaults.max_segment_ms, MAX_SEGMENT_MS)
    return Options(
        encoding=_one_of("encoding", start.encoding, ENCODINGS),
        sample_rate=_number("sample_rate", start.sample_rate, None, SAMPLE_RATES),
        window=window,
        vad=_one_of("vad", defaults.vad if start.vad is None else start.vad, vads),
        vad_aggressiveness=_number("vad_aggressiveness", start.vad_aggressiveness, defaults.vad_aggressiveness, (0, 3)),
        end_silence_ms=_number("end_silence_ms", start.end_silence_ms, defaults.end_silence_ms, END_SILENCE_MS),
        min_speech_ms=_number("min_speech_ms", start.min_speech_ms, defaults.min_speech_ms, MIN_SPEECH_MS),
        pre_roll_ms=hop_ms if pre_roll is None else pre_roll,
        max_segment_ms=max(max_segment, shortest),
        partials=start.partials,
        second_pass=second_model and start.second_pass is not False,
        punctuation=punctuation and start.punctuation is not False,
        itn=itn and start.itn is not False,
    )


def _wish(start: Start, default: Window) -> WindowWish | None:
    looks = {"encoder_look_back": _look_back("encoder_look_back", start.encoder_look_back),
             "decoder_look_back": _look_back("decoder_look_back", start.decoder_look_back)}
    if isinstance(start.chunk_size, list):
        if start.hop_size is not None:
            raise ClientError("bad_field", "hop_size is part of chunk_size [l, c, r] already", field="hop_size",
                              value=start.hop_size, allowed="chunk_size in samples with hop_size, or [l, c, r] alone")
        return dataclasses.replace(wish_from_triple(start.chunk_size), **looks)
    if start.chunk_size is not None and start.hop_size is not None:
        return dataclasses.replace(wish_from_samples(start.chunk_size, start.hop_size), **looks)
    if start.chunk_size is not None or start.hop_size is not None:
        missing = "hop_size" if start.hop_size is None else "chunk_size"
        raise ClientError("bad_field", f"{missing} is missing", field=missing,
                          allowed="chunk_size and hop_size together in samples at 16 kHz, or chunk_size [l, c, r]")
    if any(look is not None for look in looks.values()):
        return WindowWish(default.hop, default.look_ahead, **looks)
    return None


def _look_back(field: str, value: int | None) -> int | None:
    # FunASR's -1 asks for everything; the nearest that there is is the most that is served.
    if value == -1:
        return 1_000
    return _number(field, value, None, (0, 1_000))


def _number(field: str, value: int | None, default: int | None, limits: tuple[int, int]) -> int | None:
    if value is None:
        return default
    lowest, highest = limits
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ClientError("bad_field", f"{field} is out of range", field=field, value=value,
                          allowed=f"{lowest} to {highest}")
    return value


def _one_of(field: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise ClientError("bad_field", f"this server has no such {field}", field=field, value=value,
                          allowed=f"one of {', '.join(allowed)}")
    return value
