"""What the streams say: recordings cut into stretches, put together anew with silence between them."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice, pairwise
from pathlib import Path

from stream_client.errors import MediaError
from stream_client.media import iter_blocks
from stream_client.wishes import SAMPLE_BYTES, SAMPLE_RATE

SUFFIXES = frozenset((".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".mkv", ".webm", ".pcm", ".raw"))
"""What of a directory is taken; files that are named are taken whatever they are called."""

SHORTEST_STRETCH_S, LONGEST_STRETCH_S = 3.0, 6.0
LOOK = 320
"""Samples of the frames among which the quietest is looked for: 20 ms."""

NOISE = 4
"""Peak of the noise that silence is made of, -78 dBFS: digital zeros are far from anything that a model has heard."""


def find_files(paths: Sequence[str | Path]) -> list[Path]:
    """The files named, and those inside the directories named. Raises MediaError where there are none."""
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        else:
            files.append(path)
    if not files:
        raise MediaError(f"no recordings in {', '.join(map(str, paths)) or 'the list of files'}; "
                         "name audio files, or directories that hold some")
    return files


def read_stretches(files: Iterable[Path], longest_s: float) -> list[bytes]:
    """At most `longest_s` seconds of each file, cut into stretches of speech; 16 kHz mono s16le."""
    blocks_per_file = max(1, round(longest_s))
    stretches: list[bytes] = []
    for file in files:
        recording = b"".join(islice(iter_blocks(file, 1000), blocks_per_file))
        stretches += cut_at_pauses(recording[: len(recording) // SAMPLE_BYTES * SAMPLE_BYTES])
    return stretches


def cut_at_pauses(recording: bytes) -> Iterator[bytes]:
    """Stretches of 3 to 6 s, each cut where it is quietest; what remains at the end may be shorter than 6 s."""
    shortest, longest = (round(seconds * SAMPLE_RATE) for seconds in (SHORTEST_STRETCH_S, LONGEST_STRETCH_S))
    samples = array("h", recording)
    start = 0
    while len(samples) - start > longest:
        frames = range(start + shortest, start + longest - LOOK, LOOK)
        cut = min(frames, key=lambda at: sum(map(abs, samples[at : at + LOOK]))) + LOOK // 2
        yield samples[start:cut].tobytes()
        start = cut
    if start < len(samples):
        yield samples[start:].tobytes()


def compose(stretches: Sequence[bytes], *, seconds: float, silence: float, part: float, seed: int) -> bytes:
    """One stream's audio, `seconds` long, of which the share `silence` is silence.

    The stretches follow each other in a circle that is entered at `part` of its length (0 to 1). Silence goes before
    each stretch in proportion to it, so that the stream ends with speech: there is a last final to wait for.
    """
    total = round(seconds * SAMPLE_RATE)
    spoken = max(1, round(total * (1 - silence)))
    pieces = _circle(stretches, part, spoken * SAMPLE_BYTES)
    ends = list(accumulate((len(piece) // SAMPLE_BYTES for piece in pieces), initial=0))
    noise = random.Random(seed)
    audio = bytearray()
    for piece, (before, after) in zip(pieces, pairwise(ends), strict=True):
        gap = (total - spoken) * after // spoken - (total - spoken) * before // spoken
        audio += _silence(gap, noise)
        audio += piece
    return bytes(audio)


def _circle(stretches: Sequence[bytes], part: float, wanted: int) -> list[bytes]:
    """Pieces of `wanted` bytes together, from the circle of stretches."""
    whole = sum(map(len, stretches)) // SAMPLE_BYTES
    skipped = int(part * whole) % whole * SAMPLE_BYTES
    pieces: list[bytes] = []
    number = 0
    while skipped >= len(stretches[number]):
        skipped -= len(stretches[number])
        number += 1
    while wanted:
        piece = stretches[number % len(stretches)][skipped:][:wanted]
        pieces.append(piece)
        wanted -= len(piece)
        skipped = 0
        number += 1
    return pieces


def _silence(samples: int, noise: random.Random) -> bytes:
    levels = 2 * NOISE + 1
    return array("h", (byte % levels - NOISE for byte in noise.randbytes(samples))).tobytes()
