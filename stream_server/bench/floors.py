"""What a chunk costs at the least: counted from the model's sizes and the window, before anything is measured.

One multiply and one add are one *multiply-add*, two operations. Counted are matrix products, attention, memory blocks
and CIF's convolution, for the frames of the window and the tokens that fired, and nothing of padded rows. Left out are
the filter banks, norms and activations: together under 1 % of the operations.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream_server.audio.windows import Window
from stream_server.models.architecture import Architecture
from stream_server.models.caches import decoder_look_back, encoder_look_back

_CIF_KERNEL = 3
_FP32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Spoken:
    """What chunks say on average: `tokens` of a chunk, and the share of chunks that say anything (0 to 1)."""

    tokens: float
    speaking: float


@dataclass(frozen=True, slots=True)
class Work:
    """Multiply-adds of one chunk."""

    encoder: float
    predictor: float
    decoder: float

    @property
    def multiply_adds(self) -> float:
        return self.encoder + self.predictor + self.decoder

    @property
    def operations(self) -> float:
        return 2 * self.multiply_adds


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of one step: all weights once, and of each row's state what is read and written."""

    weights: float
    state_of_a_row: float

    def of_step(self, rows: int) -> float:
        return self.weights + rows * self.state_of_a_row


def chunk_work(architecture: Architecture, window: Window, spoken: Spoken) -> Work:
    """The multiply-adds of one chunk in a stream whose look-backs are full."""
    return Work(_encoder(architecture, window), _predictor(architecture, window, spoken),
                _decoder(architecture, window, spoken))


def step_traffic(architecture: Architecture, window: Window, spoken: Spoken, weight_bytes: int,
                 number_bytes: int) -> Traffic:
    """The bytes of a step whose weights take `weight_bytes` and whose caches hold numbers of `number_bytes` each."""
    size, hop = architecture.size, window.hop
    keys_values = 2 * size
    encoder = architecture.encoder_layers * (encoder_look_back(window) + hop) * keys_values
    past = decoder_look_back(window)
    ring = (past + min(past, window.frames)) * keys_values
    history = 2 * architecture.history * size
    decoder = spoken.speaking * architecture.decoder_layers * (ring + history)
    look_ahead = 2 * window.look_ahead * architecture.features * _FP32_BYTES
    return Traffic(weight_bytes, (encoder + decoder) * number_bytes + look_ahead)


def least_seconds(operations: float, traffic: float, operations_per_s: float, bytes_per_s: float) -> float:
    """No step can be quicker than its operations at the device's best rate, nor than its bytes at theirs."""
    return max(operations / operations_per_s, traffic / bytes_per_s)


def _encoder(architecture: Architecture, window: Window) -> float:
    size, frames = architecture.size, window.frames
    keys = encoder_look_back(window) + frames
    widths = architecture.features + (architecture.encoder_layers - 1) * size
    projected = 3 * size * widths
    layer = size * size + 2 * size * architecture.encoder_hidden + size * architecture.kernel + 2 * keys * size
    return frames * (projected + architecture.encoder_layers * layer)


def _predictor(architecture: Architecture, window: Window, spoken: Spoken) -> float:
    convolution = _CIF_KERNEL * architecture.size * architecture.size + architecture.size
    return window.frames * (convolution + spoken.tokens * architecture.size)


def _decoder(architecture: Architecture, window: Window, spoken: Spoken) -> float:
    size, hidden = architecture.size, architecture.decoder_hidden
    keys = decoder_look_back(window) + window.frames
    feed_forward = 2 * size * hidden
    layer = feed_forward + size * architecture.kernel + 2 * size * size + 2 * keys * size
    token = architecture.decoder_layers * layer + feed_forward + size * architecture.vocabulary
    # A chunk that says nothing needs no keys and values of its window: they are not kept either.
    keys_values = architecture.decoder_layers * window.frames * size * 2 * size
    return spoken.tokens * token + spoken.speaking * keys_values


