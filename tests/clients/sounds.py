"""Media files made with PyAV: a tone, coded and packed in many ways."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TONE_HZ = 440


def tone(seconds: float, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    """int16 (channels, samples), half of full scale."""
    times = np.arange(round(seconds * rate)) / rate
    wave = np.round(0.5 * 32767 * np.sin(2 * np.pi * TONE_HZ * times)).astype(np.int16)
    return np.repeat(wave[None], channels, axis=0)


def write_audio(path: Path, codec: str, rate: int = 16_000, seconds: float = 1.0, layout: str = "mono") -> Path:
    """A file in the container that the suffix names."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        channels = len(stream.layout.channels)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(tone(seconds, rate, channels).T).reshape(1, -1), format="s16", layout=layout
        )
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        resampler = av.AudioResampler(format=stream.format, layout=layout, rate=rate, frame_size=stream.frame_size or 0)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))
    return path


def write_video(path: Path, with_audio: bool) -> Path:
    """Half a second of black, with or without a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = container.add_stream("aac", rate=44_100, layout="stereo") if with_audio else None
        for index in range(12):
            frame = av.VideoFrame(64, 64, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts = index
            container.mux(video.encode(frame))
        if audio is not None:
            samples = tone(0.5, 44_100, 2).astype(np.float32) / 32768
            for start in range(0, samples.shape[1] - 1023, 1024):
                part = np.ascontiguousarray(samples[:, start : start + 1024])
                block = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
                block.sample_rate, block.pts = 44_100, start
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))
        container.mux(video.encode(None))
    return path
