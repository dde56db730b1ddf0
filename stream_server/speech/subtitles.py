"""Subtitles: what several people said, as text, SubRip and WebVTT, in the order in which it was spoken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

LONGEST_CUE_MS = 6_000
WIDEST_CUE = 40
"""Columns; a Chinese character takes two."""

Piece = tuple[str, int, int]
"""Text, and the time in ms from which to which it was spoken."""


class Line(NamedTuple):
    """What someone said without a longer pause. `pieces` joined are the text; none where their times are not known."""

    name: str
    begin_ms: int
    end_ms: int
    text: str
    pieces: Sequence[Piece] = ()


class Cue(NamedTuple):
    """So much of a line as is shown at once."""

    name: str
    begin_ms: int
    end_ms: int
    text: str


def pieces(text: str, tokens: Sequence[Piece], places: Sequence[tuple[int, int]] = ()) -> list[Piece]:
    """`text` cut before its tokens, each piece with its time; empty where the tokens are not in it.

    `places`: [begin, end) of each token's characters; the tokens of a number share one. Without them the text is the
    tokens, with spaces between some.
    """
    return _placed(text, tokens, places) if places else _sought(text, tokens)


def cues(lines: Iterable[Line]) -> list[Cue]:
    """Lines cut to what can be read at once, at most 6 s and 40 columns but for a single piece, ordered by time."""
    return sorted((cue for line in lines for cue in _cut(line)), key=lambda cue: cue.begin_ms)


def as_text(lines: Iterable[Line]) -> str:
    """A line of text for each, with time and name."""
    return "".join(f"[{_clock(line.begin_ms)}] {line.name}: {line.text}\n" for line in _ordered(lines))


def as_srt(lines: Iterable[Line]) -> str:
    """SubRip; names stand before what they say."""
    return "".join(f"{number}\n{_stamp(cue.begin_ms, ',')} --> {_stamp(cue.end_ms, ',')}\n{cue.name}: {cue.text}\n\n"
                   for number, cue in enumerate(cues(lines), start=1))


def as_vtt(lines: Iterable[Line]) -> str:
    """WebVTT; names are voices."""
    return "WEBVTT\n\n" + "".join(
        f"{_stamp(cue.begin_ms, '.')} --> {_stamp(cue.end_ms, '.')}\n{_voice(cue.name)}{_escape(cue.text)}</v>\n\n"
        for cue in cues(lines))


def _voice(name: str) -> str:
    # No arrow may stand in a cue's text, nor come of hyphens at a name's end; a space there is not the name's.
    return f"<v {_escape(name)}{' ' if name.endswith('-') else ''}>"


def _ordered(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.begin_ms)


def _cut(line: Line) -> Iterator[Cue]:
    if not line.pieces:
        yield Cue(line.name, line.begin_ms, max(line.end_ms, line.begin_ms + 1), line.text)
        return
    text, (_, begin, end) = "", line.pieces[0]
    for piece, piece_begin, piece_end in line.pieces:
        if text and (piece_end - begin > LONGEST_CUE_MS or _width((text + piece).rstrip()) > WIDEST_CUE):
            yield Cue(line.name, begin, max(end, begin + 1), text.rstrip())
            text, begin = "", piece_begin
        text = text + piece if text else piece.lstrip()
        end = piece_end
    yield Cue(line.name, begin, max(end, begin + 1), text.rstrip())


def _placed(text: str, tokens: Sequence[Piece], places: Sequence[tuple[int, int]]) -> list[Piece]:
    """What is behind a token, a comma or a space, stays with it."""
    groups: list[tuple[tuple[int, int], int, int]] = []
    for (_, begin, end), place in zip(tokens, places, strict=True):
        if groups and groups[-1][0] == place:
            groups[-1] = (place, groups[-1][1], end)
        else:
            groups.append((place, begin, end))
    starts = [0, *(place[0] for place, _, _ in groups[1:]), len(text)]
    return [(text[starts[number]:starts[number + 1]], begin, end) for number, (_, begin, end) in enumerate(groups)]


def _sought(text: str, tokens: Sequence[Piece]) -> list[Piece]:
    found: list[Piece] = []
    place = 0
    for token, begin, end in tokens:
        at = text.find(token, place)
        if at < 0:
            return []
        found.append((text[place:at + len(token)], begin, end))
        place = at + len(token)
    if found:
        found[-1] = (found[-1][0] + text[place:], *found[-1][1:])
    return found


def _width(text: str) -> int:
    return sum(2 if character > "\u2e80" else 1 for character in text)


def _clock(ms: int) -> str:
    return f"{ms // 3_600_000}:{ms // 60_000 % 60:02}:{ms // 1_000 % 60:02}"


def _stamp(ms: int, point: str) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1_000 % 60:02}{point}{ms % 1_000:03}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
