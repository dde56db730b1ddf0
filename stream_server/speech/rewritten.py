"""A text and where each character of the text before went, so that word times survive rewriting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""Characters [begin, end) of a text."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """`spans[i]` is where character i of the earlier text now stands; several may share a place. In order."""

    text: str
    spans: tuple[Span, ...]

    def then(self, later: Rewritten) -> Rewritten:
        """Both changes as one; `later` is a rewriting of this text."""
        return Rewritten(later.text, tuple(later.place(span) for span in self.spans))

    def place(self, span: Span) -> Span:
        """Where characters [begin, end) of the earlier text now stand."""
        begin, end = span
        if begin >= end:
            here = self.spans[begin][0] if begin < len(self.spans) else len(self.text)
            return here, here
        return self.spans[begin][0], self.spans[end - 1][1]


def unchanged(text: str) -> Rewritten:
    return Rewritten(text, tuple((place, place + 1) for place in range(len(text))))


def rewrite(text: str, changes: Iterable[tuple[Span, str]]) -> Rewritten:
    """`text` with each span replaced; spans are in order and do not overlap, and may be empty to insert."""
    parts: list[str] = []
    spans: list[Span] = []
    read = written = 0
    for (begin, end), new in changes:
        parts += [text[read:begin], new]
        spans += [(written + n, written + n + 1) for n in range(begin - read)]
        written += begin - read
        spans += [(written, written + len(new))] * (end - begin)
        written += len(new)
        read = end
    spans += [(written + n, written + n + 1) for n in range(len(text) - read)]
    return Rewritten("".join([*parts, text[read:]]), tuple(spans))


def spans_of(tokens: Sequence[str], text: str) -> list[Span]:
    """Where each token stands in `text`, which holds them in order. One that is not there takes no room."""
    spans = []
    end = 0
    for token in tokens:
        begin = text.find(token, end)
        if begin < 0:
            spans.append((end, end))
            continue
        end = begin + len(token)
        spans.append((begin, end))
    return spans
