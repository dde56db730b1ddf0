from __future__ import annotations

import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from stream_client.errors import MediaError
from stream_client.media import iter_blocks, read_blocks
from tests.clients.sounds import TONE_HZ, tone, write_audio, write_video

FORMATS = [
    ("speech.wav", "pcm_s16le", 8_000, "mono"),
    ("speech.wav", "pcm_s16le", 16_000, "mono"),
    ("speech.wav", "pcm_s16le", 48_000, "stereo"),
    ("speech.wav", "pcm_f32le", 44_100, "mono"),
    ("speech.wav", "pcm_mulaw", 8_000, "mono"),
    ("speech.flac", "flac", 22_050, "mono"),
    ("speech.mp3", "libmp3lame", 44_100, "stereo"),
    ("speech.m4a", "aac", 48_000, "stereo"),
    ("speech.ogg", "libopus", 48_000, "mono"),
    ("speech.mkv", "libopus", 48_000, "stereo"),
    ("会议 录音.wav", "pcm_s16le", 16_000, "mono"),
]


@pytest.mark.parametrize(("name", "codec", "rate", "layout"), FORMATS)
def test_any_format_becomes_16_khz_mono(tmp_path: Path, name: str, codec: str, rate: int, layout: str) -> None:
    path = write_audio(tmp_path / name, codec, rate, seconds=1.0, layout=layout)
    samples = read(path)
    # Coders pad their first and last frames.
    assert samples.size == pytest.approx(16_000, abs=1_800)
    spectrum = np.abs(np.fft.rfft(samples[4_000:12_000]))
    assert int(spectrum.argmax()) * 2 == pytest.approx(TONE_HZ, abs=4)
    assert np.abs(samples[4_000:12_000]).max() == pytest.approx(16_384, rel=0.15)


def test_16_khz_wav_passes_unchanged(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "speech.wav", "pcm_s16le", seconds=1.01)
    assert np.array_equal(read(path), tone(1.01)[0])


def test_blocks_are_60_ms_and_the_last_is_shorter(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "speech.wav", "pcm_s16le", seconds=0.2)
    assert [len(block) for block in iter_blocks(path)] == [1920, 1920, 1920, 640]


async def test_blocks_arrive_the_same_through_asyncio(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "speech.wav", "pcm_s16le", seconds=2.5)
    assert [block async for block in read_blocks(path)] == list(iter_blocks(path))


def test_raw_pcm_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "speech.pcm"
    path.write_bytes(tone(0.5).tobytes())
    assert np.array_equal(read(path), tone(0.5)[0])


def test_sound_of_a_video_is_read(tmp_path: Path) -> None:
    assert read(write_video(tmp_path / "clip.mp4", with_audio=True)).size == pytest.approx(8_000, abs=1_000)


def test_video_without_audio_says_so(tmp_path: Path) -> None:
    assert "no audio in this file" in complaint(write_video(tmp_path / "clip.mp4", with_audio=False))


def test_empty_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    assert "is empty" in complaint(path)


def test_missing_file_and_directory_say_so(tmp_path: Path) -> None:
    assert "no such file" in complaint(tmp_path / "away.wav")
    assert "cannot be read (File name too long)" in complaint(tmp_path / f"{'a' * 300}.wav")
    assert "not a file" in complaint(tmp_path)


def test_text_called_wav_is_not_audio(tmp_path: Path) -> None:
    path = tmp_path / "notes.wav"
    path.write_text("these are not the sounds you are looking for\n" * 100)
    assert "not an audio or video file" in complaint(path)


def test_wav_header_without_samples_holds_no_sound(tmp_path: Path) -> None:
    whole = write_audio(tmp_path / "whole.wav", "pcm_s16le").read_bytes()
    path = tmp_path / "header.wav"
    path.write_bytes(whole[: whole.index(b"data") + 8])
    assert "no sound" in complaint(path)


def test_damage_in_the_midst_gives_the_rest_then_complains(tmp_path: Path) -> None:
    whole = bytearray(write_audio(tmp_path / "whole.mp3", "libmp3lame", seconds=4.0).read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 2_000] = bytes(2_000)
    path = tmp_path / "damaged.mp3"
    path.write_bytes(whole)
    heard = 0
    with pytest.raises(MediaError, match="damaged"):
        for block in iter_blocks(path):
            heard += len(block)
    assert heard > 32_000


async def test_half_an_m4a_is_not_readable(tmp_path: Path) -> None:
    whole = write_audio(tmp_path / "whole.m4a", "aac", seconds=4.0).read_bytes()
    path = tmp_path / "cut.m4a"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError):
        async for _ in read_blocks(path):
            pass


def test_a_long_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "long.wav", "pcm_s16le", seconds=120)
    tracemalloc.start()
    try:
        blocks = iter_blocks(path)
        next(blocks)
        tracemalloc.reset_peak()
        for _ in islice(blocks, 1_500):
            pass
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def read(path: Path) -> np.ndarray:
    return np.frombuffer(b"".join(iter_blocks(path)), np.int16)


def complaint(path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        list(iter_blocks(path))
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text
