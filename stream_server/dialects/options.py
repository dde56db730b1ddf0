"""Options: what a FunASR client's configuration says, whatever way it writes it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Literal

from stream_server.audio.windows import wish_from_triple
from stream_server.dialects import ranges
from stream_server.errors import ClientError
from stream_server.session.messages import Encoding, Start
from stream_server.speech.hotwords import EMPTY, HotwordList, from_funasr

Mode = Literal["online", "offline", "2pass"]

LONGEST_WAV_NAME = 512
PCM_NAMES = frozenset({"", "pcm", "wav", "raw", "s16le", "pcm_s16le"})
"""Values of wav_format that are recognised; a WAV header is looked for under each of them."""

_OURS = ("vad", "vad_aggressiveness", "end_silence_ms", "min_speech_ms", "pre_roll_ms", "max_segment_ms")


@dataclass(frozen=True, slots=True)
class Options:
    """What holds for the utterances to come. FunASR's defaults, where it has any."""

    mode: Mode = "2pass"
    wav_name: str = "microphone"
    wav_format: str = "pcm"
    audio_fs: int | None = None
    chunk_size: list[int] | None = None
    encoder_look_back: int | None = None
    decoder_look_back: int | None = None
    hotwords: HotwordList = EMPTY
    itn: bool | None = None
    ours: dict[str, object] = field(default_factory=dict)
    """Options that only this server has, under the names of the native dialect."""

    def start(self, encoding: Encoding = "pcm_s16le", rate_of_header: int | None = None) -> Start:
        """The session that these options ask for. A rate in the configuration goes before one in a WAV header."""
        return Start(
            encoding=encoding,
            sample_rate=self.audio_fs or rate_of_header or 16_000,
            chunk_size=self.chunk_size,
            encoder_look_back=self.encoder_look_back,
            decoder_look_back=self.decoder_look_back,
            second_pass=False if self.mode == "online" else None,
            punctuation=False if self.mode == "online" else None,
            itn=False if self.mode == "online" else self.itn,
            partials=self.mode != "offline",
            name=self.wav_name[: ranges.LONGEST_NAME],
            hotwords=self.hotwords or None,
            **self.ours,
        )


def updated(options: Options, said: dict[str, object]) -> Options:
    """`options` with what a configuration says; fields that it does not have stay, unknown ones are ignored.

    Raises ClientError where a field cannot be understood in any of the ways that clients write it.
    """
    readers = {
        "mode": _mode, "wav_name": _wav_name, "wav_format": _wav_format, "audio_fs": _audio_fs,
        "chunk_size": _chunk_size, "hotwords": from_funasr, "itn": _itn,
    }
    changes = {name: read(said[name]) for name, read in readers.items() if said.get(name) is not None}
    for name, ours in (("encoder_chunk_look_back", "encoder_look_back"),
                       ("decoder_chunk_look_back", "decoder_look_back")):
        if said.get(name) is not None:
            changes[ours] = _look_back(said[name])
    ours = dict(options.ours)
    for name in _OURS:
        if said.get(name) is not None:
            value = said[name] if name == "vad" else _whole(said[name])
            ranges.check(name, said[name] if value is None else value)
            ours[name] = value
    return replace(options, ours=ours, **changes)


def _itn(value: object) -> bool:
    """Whether numbers are to be written; FunASR's default is true, as is what cannot be understood."""
    return str(value).lower() not in ("false", "no", "0")


def _mode(value: object) -> Mode:
    """Unknown modes are 2pass: a shipped client says "office"."""
    return value if value in ("online", "offline") else "2pass"  # type: ignore[return-value]


def _wav_name(value: object) -> str:
    if isinstance(value, (str, int, float)) and len(str(value)) <= LONGEST_WAV_NAME:
        return str(value)
    raise _bad("wav_name", value, f"a string of at most {LONGEST_WAV_NAME} characters")


def _wav_format(value: object) -> str:
    if isinstance(value, str):
        return value.strip().lower().lstrip(".")[:32]
    raise _bad("wav_format", value, "pcm or wav")


def _audio_fs(value: object) -> int:
    rate = _whole(value)
    if rate is None or not ranges.START["sample_rate"].holds(rate):
        raise _bad("audio_fs", value, ranges.START["sample_rate"].allowed)
    return rate


def _chunk_size(value: object) -> list[int]:
    """[5,10,5], "5,10,5", "[5, 10, 5]", and numbers written as floats or strings."""
    parts: object = re.split(r"[,\s]+", value.strip().strip("[]()").strip()) if isinstance(value, str) else value
    numbers = [_whole(part) for part in parts] if isinstance(parts, list) else []
    triple = [number for number in numbers if number is not None]
    if len(triple) != 3 or len(numbers) != 3:
        raise _bad("chunk_size", value, "[l, c, r] in frames of 60 ms, such as [5, 10, 5]")
    wish_from_triple(triple)
    return triple


def _look_back(value: object) -> int | None:
    """What cannot be a look-back leaves the choice to the server: clients use -1 for all there is."""
    hops = _whole(value)
    return hops if hops is not None and ranges.START["encoder_look_back"].holds(hops) else None


def _whole(value: object) -> int | None:
    """The whole number that `value` is or spells, a float without a fraction too; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\s*-?[0-9]{1,9}\s*", value) else None
    if isinstance(value, float) and not (math.isfinite(value) and value == int(value)):
        return None
    return int(value)


def _bad(name: str, value: object, allowed: str) -> ClientError:
    return ClientError("bad_field", f"{name} cannot be this", field=name, value=value, allowed=allowed)
