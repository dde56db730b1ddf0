"""Windows: how much a stream advances in one step, and how far it looks back and ahead.

A window is FunASR's `chunk_size` [l, c, r] with its two look-backs. `l` is always 0 here: the left context comes
from the key and value caches; FunASR's own `l` > 0 together with caches would count the left frames twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stream_server.errors import ClientError
from stream_server.units import FRAME_SAMPLES, samples_to_ms

LONGEST_HOP_FRAMES = 40
LONGEST_LOOK_AHEAD_FRAMES = 40


class Window(NamedTuple):
    """Frames of a step; a frame is 60 ms.

    `hop` new frames enter in each step, tokens are given `look_ahead` frames later, attention sees
    `encoder_look_back` earlier hops in the encoder and `decoder_look_back` in the decoder's cross-attention.
    A tuple, since an engine looks a window up several times for each chunk.
    """

    hop: int
    look_ahead: int
    encoder_look_back: int = 4
    decoder_look_back: int = 1

    @property
    def hop_samples(self) -> int:
        return self.hop * FRAME_SAMPLES

    @property
    def chunk_samples(self) -> int:
        """Samples that one step sees, look-back caches aside."""
        return (self.hop + self.look_ahead) * FRAME_SAMPLES

    @property
    def frames(self) -> int:
        """Frames that one step sees, look-back caches aside."""
        return self.hop + self.look_ahead

    @property
    def triple(self) -> tuple[int, int, int]:
        """FunASR's `chunk_size`."""
        return (0, self.hop, self.look_ahead)

    def __str__(self) -> str:
        return f"[0,{self.hop},{self.look_ahead}] look-backs {self.encoder_look_back},{self.decoder_look_back}"


DEFAULT_WINDOWS = (Window(10, 5), Window(8, 4), Window(4, 4))
"""What a server warms up unless told otherwise, the default window first."""


@dataclass(frozen=True, slots=True)
class WindowWish:
    """What a client asked for, in frames; None where it left the choice to the server."""

    hop: int
    look_ahead: int
    encoder_look_back: int | None = None
    decoder_look_back: int | None = None


def wish_from_samples(chunk_size: int, hop_size: int) -> WindowWish:
    """The wish behind `chunk_size`/`hop_size` in samples at 16 kHz: both parts rounded up to whole frames.

    Raises ClientError where a size is not positive, a chunk is shorter than its hop, or either is beyond reason.
    """
    if hop_size <= 0:
        raise _bad("hop_size", hop_size, "1 to 38400 samples at 16 kHz")
    if chunk_size < hop_size:
        raise _bad("chunk_size", chunk_size, f"at least hop_size ({hop_size} samples)")
    # In whole numbers: a client's may be too large for a float.
    hop = -(-hop_size // FRAME_SAMPLES)
    look_ahead = -(-(chunk_size - hop_size) // FRAME_SAMPLES)
    if hop > LONGEST_HOP_FRAMES:
        raise _bad("hop_size", hop_size, f"at most {LONGEST_HOP_FRAMES * FRAME_SAMPLES} samples")
    if look_ahead > LONGEST_LOOK_AHEAD_FRAMES:
        most = LONGEST_LOOK_AHEAD_FRAMES * FRAME_SAMPLES
        raise _bad("chunk_size", chunk_size, f"at most hop_size + {most} samples")
    return WindowWish(hop, look_ahead)


def wish_from_triple(triple: Sequence[int], encoder_look_back: int | None = None,
                     decoder_look_back: int | None = None) -> WindowWish:
    """The wish behind FunASR's [l, c, r]; `l` is taken from the caches, so [5,10,5] asks for what [0,10,5] does.

    Raises ClientError where it is not three whole numbers in range.
    """
    whole = len(triple) == 3 and all(isinstance(n, int) and not isinstance(n, bool) for n in triple)
    allowed = f"[l, c, r] with l 0 to 40, c 1 to {LONGEST_HOP_FRAMES}, r 0 to {LONGEST_LOOK_AHEAD_FRAMES}"
    if not whole or not (0 <= triple[0] <= 40 and 1 <= triple[1] <= LONGEST_HOP_FRAMES
                         and 0 <= triple[2] <= LONGEST_LOOK_AHEAD_FRAMES):
        raise _bad("chunk_size", list(triple), allowed)
    return WindowWish(triple[1], triple[2], encoder_look_back, decoder_look_back)


def choose(wish: WindowWish | None, served: Sequence[Window]) -> Window:
    """The served window nearest to a wish.

    An exact match wins; otherwise the longest hop not longer than asked, else the quickest there is; among
    windows of one hop the one whose look-ahead, then look-backs, are nearest. Without a wish: the first served.
    """
    if wish is None:
        return served[0]
    fitting = [w for w in served if w.hop <= wish.hop]
    hop = max(w.hop for w in fitting) if fitting else min(w.hop for w in served)
    return min((w for w in served if w.hop == hop), key=lambda w: _distance(w, wish))


def _distance(window: Window, wish: WindowWish) -> tuple[int, int, int]:
    encoder = 0 if wish.encoder_look_back is None else abs(window.encoder_look_back - wish.encoder_look_back)
    decoder = 0 if wish.decoder_look_back is None else abs(window.decoder_look_back - wish.decoder_look_back)
    return (abs(window.look_ahead - wish.look_ahead), encoder, decoder)


def describe(window: Window) -> dict[str, object]:
    """What the ready message says of a window: samples, FunASR's triple, look-backs and the delays in ms."""
    return {
        "chunk_size": window.chunk_samples,
        "hop_size": window.hop_samples,
        "chunk_size_frames": list(window.triple),
        "encoder_chunk_look_back": window.encoder_look_back,
        "decoder_chunk_look_back": window.decoder_look_back,
        "hop_ms": samples_to_ms(window.hop_samples),
        "look_ahead_ms": samples_to_ms(window.look_ahead * FRAME_SAMPLES),
    }


def _bad(field: str, value: object, allowed: str) -> ClientError:
    return ClientError("bad_field", f"{field} is out of range", field=field, value=value, allowed=allowed)
