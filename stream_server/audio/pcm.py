"""Bytes of PCM to samples, however the bytes are cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream_server.errors import ClientError

S16LE = np.dtype("<i2")


class PcmDecoder:
    """Decodes one stream of mono PCM. Bytes of a sample not yet complete wait for the next call."""

    def __init__(self, encoding: str) -> None:
        """Raises ClientError where the encoding is unknown."""
        if encoding not in _DECODERS:
            raise ClientError("bad_field", f"encoding {encoding!r} is unknown", field="encoding", value=encoding,
                              allowed=", ".join(_DECODERS))
        self.sample_bytes, self._samples = _DECODERS[encoding]
        self._rest = b""

    def decode(self, data: bytes) -> np.ndarray:
        """The samples that `data` completes, int16, not to be written to."""
        whole = self._rest + bytes(data) if self._rest else bytes(data)
        over = len(whole) % self.sample_bytes
        if not over:
            self._rest = b""
            return self._samples(whole)
        self._rest = whole[-over:]
        return self._samples(whole[:-over])

    def flush(self) -> int:
        """Forgets the bytes of an incomplete sample and says how many they were."""
        left_over = len(self._rest)
        self._rest = b""
        return left_over


def _from_s16le(data: bytes) -> np.ndarray:
    return np.frombuffer(data, S16LE)


def _from_f32le(data: bytes) -> np.ndarray:
    # Not a number and infinities come from broken clients; as full-scale clicks they would open segments.
    floats = np.nan_to_num(np.frombuffer(data, "<f4").astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return to_int16(np.clip(floats, -1.0, 1.0) * np.float32(32768.0))


def _from_mulaw(data: bytes) -> np.ndarray:
    return MULAW[np.frombuffer(data, np.uint8)]


def _from_alaw(data: bytes) -> np.ndarray:
    return ALAW[np.frombuffer(data, np.uint8)]


def to_int16(values: np.ndarray) -> np.ndarray:
    """Floats in the range of int16, rounded and clipped to it."""
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


def _mulaw_table() -> np.ndarray:
    """G.711 mu-law: sign, three bits of exponent, four of mantissa, all inverted; 14 bits scaled to 16."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> np.ndarray:
    """G.711 A-law: every other bit inverted; the lowest two exponents share a slope; 13 bits scaled to 16."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code >> 4) & 7
    mantissa = ((code & 0x0F) << 4) + 8
    magnitude = np.where(exponent == 0, mantissa, (mantissa + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


MULAW = _mulaw_table()
ALAW = _alaw_table()

_DECODERS: dict[str, tuple[int, Callable[[bytes], np.ndarray]]] = {
    "pcm_s16le": (2, _from_s16le),
    "pcm_f32le": (4, _from_f32le),
    "mulaw": (1, _from_mulaw),
    "alaw": (1, _from_alaw),
}

ENCODINGS = tuple(_DECODERS)
SAMPLE_BYTES = {encoding: size for encoding, (size, _) in _DECODERS.items()}
