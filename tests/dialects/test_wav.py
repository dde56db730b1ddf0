"""WAV headers inside what is called PCM: found however the bytes are cut, read, and left out."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.dialects.wav import LONGEST_HEADER, WavFormat, WavHead
from stream_server.errors import ClientError

AUDIO = bytes(range(256))


def header(tag: int = 1, channels: int = 1, rate: int = 16000, bits: int = 16, extra: bytes = b"",
           before_data: bytes = b"") -> bytes:
    body = struct.pack("<HHIIHH", tag, channels, rate, rate * bits // 8, bits // 8, bits) + extra
    return (b"RIFF\xff\xff\xff\xffWAVE" + before_data + b"fmt " + struct.pack("<I", len(body)) + body
            + b"data\0\0\0\0")


LIST = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
EXTENSIBLE = struct.pack("<HHIHH", 22, 16, 4, 1, 0) + bytes(12)

HEADERS = {
    "plain": (header(), WavFormat("pcm_s16le", 16000)),
    "8 kHz": (header(rate=8000), WavFormat("pcm_s16le", 8000)),
    "float": (header(3, bits=32), WavFormat("pcm_f32le", 16000)),
    "A-law": (header(6, rate=8000, bits=8), WavFormat("alaw", 8000)),
    "µ-law": (header(7, rate=8000, bits=8), WavFormat("mulaw", 8000)),
    "a list of odd length before": (header(before_data=LIST), WavFormat("pcm_s16le", 16000)),
    "extensible": (header(0xFFFE, extra=EXTENSIBLE), WavFormat("pcm_s16le", 16000)),
    "none": (b"", None),
    "none, but like one": (b"RIFFraff" + b"WAVX", None),
    "none, but R": (b"R", None),
}


@pytest.mark.parametrize(("head", "expected"), HEADERS.values(), ids=HEADERS.keys())
@pytest.mark.parametrize("frame", [1, 10, 43, 1000])
def test_headers_however_cut(head: bytes, expected: WavFormat | None, frame: int) -> None:
    wav, heard = WavHead(), b""
    sent = head + AUDIO
    for begin in range(0, len(sent), frame):
        heard += wav.receive(sent[begin:begin + frame])
    assert (wav.format, heard) == (expected, AUDIO if expected else sent)


@pytest.mark.parametrize("head", [
    header(channels=2), header(bits=24), header(bits=8), header(2, bits=4), header(rate=96000), header(rate=0),
    b"RIFF\0\0\0\0WAVEdata\0\0\0\0", b"RIFF\0\0\0\0WAVEfmt \4\0\0\0abcd",
    b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\x7f",
])
def test_what_cannot_be_recognised_is_said(head: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        WavHead().receive(head + AUDIO)
    assert caught.value.code == "unsupported" and "mono WAV" in (caught.value.allowed or "")


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_are_audio_or_an_error(data: bytes, riff: bool) -> None:
    sent = b"RIFF0000WAVE" + data if riff else data
    wav = WavHead()
    try:
        heard = wav.receive(sent)
    except ClientError:
        return
    assert sent.endswith(heard)
    assert len(sent) < LONGEST_HEADER
