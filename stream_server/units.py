"""Units of the session's clock: samples at 16 kHz, frames of 60 ms, milliseconds on the wire only."""

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 960
"""Samples of one frame: 60 ms after low frame rate stacking (6 shifts of 10 ms)."""


def ms_to_samples(milliseconds: float) -> int:
    """Samples at 16 kHz that last `milliseconds`, rounded to the nearest."""
    return round(milliseconds * SAMPLE_RATE / 1000)


def samples_to_ms(samples: int) -> int:
    """Milliseconds that `samples` at 16 kHz last, rounded to the nearest."""
    return round(samples * 1000 / SAMPLE_RATE)
