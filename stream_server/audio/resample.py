"""Any sample rate to 16 kHz, continuously."""

from __future__ import annotations

import numpy as np

from stream_server.audio.decimate import FACTOR, Decimator
from stream_server.audio.pcm import to_int16
from stream_server.config import SAMPLE_RATES
from stream_server.errors import ClientError
from stream_server.units import SAMPLE_RATE


class Resampler:
    """Converts one stream of int16 samples to 16 kHz. How the stream is cut changes nothing of the output."""

    def __init__(self, sample_rate: int) -> None:
        """Raises ClientError where `sample_rate` (Hz) is not a whole number within SAMPLE_RATES."""
        lowest, highest = SAMPLE_RATES
        whole = isinstance(sample_rate, int) and not isinstance(sample_rate, bool)
        if not whole or not lowest <= sample_rate <= highest:
            raise ClientError("bad_field", "sample_rate is out of range", field="sample_rate", value=sample_rate,
                              allowed=f"{lowest} to {highest} Hz")
        self.sample_rate = sample_rate
        self._stream = None
        self._decimator = Decimator() if sample_rate == FACTOR * SAMPLE_RATE else None
        if self._decimator is None and sample_rate != SAMPLE_RATE:
            import soxr

            # Floats inside: with int16 the library would add dither, and silence would no longer be silent.
            self._stream = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32")

    def convert(self, samples: np.ndarray) -> np.ndarray:
        """The output, int16 at 16 kHz, that `samples` (int16) complete; the filter's delay holds some back."""
        if self._decimator is not None:
            return to_int16(self._decimator.convert(samples))
        if self._stream is None:
            return samples
        return to_int16(self._stream.resample_chunk(samples.astype(np.float32)))

    def flush(self) -> np.ndarray:
        """What the filter still holds back. Afterwards the resampler stands at the start of a new stream.

        With it the output is round(input * 16000 / sample_rate) samples long, give or take one.
        """
        if self._decimator is not None:
            return to_int16(self._decimator.flush())
        if self._stream is None:
            return np.zeros(0, np.int16)
        rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        self._stream.clear()
        return to_int16(rest)
