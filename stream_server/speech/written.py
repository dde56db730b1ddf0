"""Inverse text normalisation: numbers, dates, times, money and the like as they are written, not as they are said.

The rules are those of WeTextProcessing, run by `wetext`, which has them in its package and needs no network. Only the
neighbourhood of Chinese numerals is given to them: all else stays as it is, costs nothing, and cannot be spoilt. What
they make of some expressions is wrong; there the spoken form stands (`_is_nonsense`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from itertools import pairwise

from stream_server.speech.rewritten import Rewritten, Span, rewrite

log = logging.getLogger(__name__)

LONGEST_PIECE = 24
"""Characters that the rules see at once. What they cost grows faster than the text: about 4 ms for so many."""

_CONTEXT = 4
"""Characters beside a numeral that may belong to it (a unit), or say that it is none (as in `星期一`)."""

_NUMERAL = "零〇幺一二两三四五六七八九十百千万亿"
_numerals = re.compile(f"[{_NUMERAL}]+(?:[点分之半比]+[{_NUMERAL}]+)*")
_runs = re.compile("[\u4e00-\u9fff〇]+")
_DAY_PARTS = re.compile("凌晨|清晨|早晨|早上|上午|中午|下午|傍晚|晚上|夜里|半夜")
"""Before a time. The rules would make `p.m.` of some and lose the time behind others."""

_half_told = re.compile(r"\d\.\d+[分刻]")
_very = re.compile("(?<![点零〇一二两三四五六七八九])十分")


class Writer:
    """Loads the rules: a third of a second and 45 MB in a process, once."""

    def __init__(self) -> None:
        from wetext import Normalizer

        self._normalise: Callable[[str], str] = Normalizer(lang="zh", operator="itn").normalize
        # The first call reads the rules.
        self._normalise("一百")
        self._failure_is_told = False

    def write(self, text: str) -> Rewritten:
        """`text` as it is written. Where the rules raise or say nonsense the spoken form stands."""
        return rewrite(text, self.changes(text))

    def changes(self, text: str) -> Iterator[tuple[Span, str]]:
        """What changes, for `rewrite`, worked out piece by piece: a caller may do other things between."""
        for begin, end in pieces(text):
            spoken = text[begin:end]
            try:
                written = self._normalise(spoken)
            except Exception as error:
                # Known are AssertionError, where the rules find no way through a text, and what kaldifst makes of C++
                # errors; whatever it is, the words that were recognised must come out.
                self._tell(error, spoken)
                continue
            yield from _differences(spoken, written, begin)

    def _tell(self, error: Exception, spoken: str) -> None:
        """Once: the next text may fail in the same way. Only the error's type, since its message can quote the text."""
        if not self._failure_is_told:
            log.warning("wetext raised %s at a text of %d characters, whose numbers stay as they were said; it is not "
                        "told again", type(error).__name__, len(spoken))
        self._failure_is_told = True


def pieces(text: str) -> Iterator[Span]:
    """The neighbourhoods of numerals, none longer than LONGEST_PIECE: in order, and apart."""
    for run_begin, run_end in _runs_of(text):
        found = [match.span() for match in _numerals.finditer(text, run_begin, run_end)]
        # Between two numerals the nearer one has the characters.
        middles = [(end + begin + 1) // 2 for (_, end), (begin, _) in pairwise(found)]
        group: Span | None = None
        for (begin, end), (left, right) in zip(found, pairwise([run_begin, *middles, run_end]), strict=False):
            near = max(left, begin - _CONTEXT), min(right, end + _CONTEXT)
            if group and near[0] <= group[1] and near[1] - group[0] <= LONGEST_PIECE:
                group = group[0], near[1]
                continue
            if group:
                yield from _cut(group)
            group = near
        if group:
            yield from _cut(group)


def _runs_of(text: str) -> Iterator[Span]:
    """Chinese characters that follow each other, parted behind the words that say which part of the day it is."""
    for match in _runs.finditer(text):
        begin, end = match.span()
        for part in _DAY_PARTS.finditer(text, begin, end):
            yield begin, part.start()
            begin = part.end()
        yield begin, end


def _cut(span: Span) -> Iterator[Span]:
    for begin in range(span[0], span[1], LONGEST_PIECE):
        yield begin, min(begin + LONGEST_PIECE, span[1])


def _differences(spoken: str, written: str, offset: int) -> Iterator[tuple[Span, str]]:
    matcher = SequenceMatcher(None, spoken, written, autojunk=False)
    for kind, begin, end, new_begin, new_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        if not _is_nonsense(spoken, (begin, end), written[new_begin:new_end], written[new_end:]):
            yield (offset + begin, offset + end), written[new_begin:new_end]


def _is_nonsense(spoken: str, span: Span, new: str, rest: str) -> bool:
    """Whether a change cannot be meant: nothing that is a number, a number in two parts, `三点一刻` as 3.1, the `十` of
    `十分重要` or of `十几` as 10."""
    old, following = spoken[span[0] : span[1]], spoken[span[1] :]
    if not new or any(character.isspace() for character in new) or not any(c in _NUMERAL for c in old):
        return True
    if _half_told.search(new + rest[:1]):
        return True
    very = any(match.start() == span[1] - 1 and old == "十" for match in _very.finditer(spoken))
    return very or following.startswith("几")
