"""Hits: which hotwords a text has, whoever recognised it: by its words and characters, not by a model's tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import accumulate

from stream_server.speech.hotwords import HotwordList


def hits(hotwords: HotwordList, tokens: Sequence[str]) -> list[str]:
    """The words of the list that occur in `tokens`, a text's characters and words, in order of where they end.

    A hotword begins and ends with a token: "art" is not in "start". Spaces, punctuation and the case of letters, which
    nobody hears, make no difference.
    """
    parts = [_bare(token) for token in tokens]
    text = "".join(parts)
    borders = {0, *accumulate(map(len, parts))}
    found = []
    for hotword in hotwords.words:
        word = _bare(hotword.word)
        at = text.find(word) if word else -1
        while at >= 0 and not (at in borders and at + len(word) in borders):
            at = text.find(word, at + 1)
        if at >= 0:
            found.append((at + len(word), at, hotword.word))
    return [word for *_, word in sorted(found)]


def _bare(text: str) -> str:
    if text.isalnum():
        return text.casefold()
    return "".join(sign for sign in text.casefold() if not sign.isspace() and unicodedata.category(sign)[0] != "P")
