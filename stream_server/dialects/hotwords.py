"""Hotwords: every grammar in which FunASR's clients write them, as words with their weights."""

from __future__ import annotations

import math
import re

import msgspec

DEFAULT_WEIGHT = 20.0
MOST_WORDS = 10_000


def parse(value: object) -> dict[str, float]:
    """The words in `value` and their weights; what cannot be read is left out, as FunASR's servers do.

    Known are a JSON object of weights (or that as a string, weights as strings too), a list of words, lines of
    `word weight`, and words separated by commas or, where there is no comma, by spaces.
    """
    if isinstance(value, str):
        value = _unwrapped(value)
    if isinstance(value, dict):
        pairs = [(word, _weight(weight)) for word, weight in value.items()]
    elif isinstance(value, list):
        pairs = [(word, DEFAULT_WEIGHT) for word in value if isinstance(word, str)]
    elif isinstance(value, str):
        pairs = _from_text(value)
    else:
        pairs = []
    words = {word.strip(): weight for word, weight in pairs if word.strip()}
    return dict(list(words.items())[:MOST_WORDS])


def _unwrapped(text: str) -> object:
    """The object or list behind a string of JSON; the string itself where it is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError):
        return text


def _from_text(text: str) -> list[tuple[str, float]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ends = [line.rsplit(maxsplit=1) for line in lines]
    if lines and all(len(end) == 2 and end[1].isascii() and end[1].isdigit() for end in ends):
        return [(word, _weight(weight)) for word, weight in ends]
    separator = r"[,，、\n]" if re.search(r"[,，、]", text) else r"\s+"
    return [(word, DEFAULT_WEIGHT) for word in re.split(separator, text)]


def _weight(value: object) -> float:
    """A number, or one written as a string; otherwise the weight of a word without one."""
    try:
        weight = float(value) if isinstance(value, (int, float, str)) else DEFAULT_WEIGHT
    except (ValueError, OverflowError):
        return DEFAULT_WEIGHT
    return weight if math.isfinite(weight) else DEFAULT_WEIGHT
