"""Hotwords: words that a speaker is likely to say, with weights; every grammar that clients and operators write.

A list is data: it is never fetched from an address or read from a file that a client names, as FunASR's servers do.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from stream_server.errors import ClientError, SettingsError

FIELD = "hotwords"
DEFAULT_WEIGHT = 20.0
"""Of a word without a weight; FunASR's default too."""
WEIGHTS = (0.0, 100.0)
"""FunASR recommends 1 to 100. 0 takes a word of the server's list away."""
MOST_WORDS = 1_000
"""Of one list; FunASR recommends no more."""
MOST_IN_FORCE = 2 * MOST_WORDS
"""Of the server's list and a session's together."""
LONGEST_WORD = 64
"""Characters."""
LONGEST_LIST = 10_000
"""Characters of all words of one list: what a model reads of it takes time that others wait for."""

_ALLOWED_WEIGHT = f"a number from {WEIGHTS[0]:g} to {WEIGHTS[1]:g}"
_ALLOWED_WORD = f"1 to {LONGEST_WORD} printable characters"
_ALLOWED_ITEM = 'words, or objects such as {"word": "阿里巴巴", "weight": 20}'
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|(?:~|\.{1,2})?[/\\]|[a-z]:[/\\]|.*\.(?:txt|json)\Z", re.IGNORECASE)
_WEIGHTED = re.compile(r"(\S.*?)\s+([+-]?[0-9]+(?:\.[0-9]*)?)")
_COMMAS = re.compile(r"[,，、]")


class Hotword(NamedTuple):
    word: str
    weight: float


@dataclass(frozen=True, slots=True)
class HotwordList:
    """Words in order, each once, whatever the case of its letters. Equal lists are equal however they were written.

    Make one with `of` or a `from_…`; only they check and put in order.
    """

    words: tuple[Hotword, ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, float]]) -> HotwordList:
        """Of words and weights; of a word given twice the higher weight counts. Raises ClientError."""
        best: dict[str, Hotword] = {}
        for written, weight in pairs:
            word = _word(written)
            if not WEIGHTS[0] <= weight <= WEIGHTS[1]:
                raise _refusal(f"the weight of {word} is out of range", weight, _ALLOWED_WEIGHT)
            hotword = Hotword(word, float(weight))
            known = best.setdefault(word.lower(), hotword)
            if (-hotword.weight, word) < (-known.weight, known.word):
                best[word.lower()] = hotword
            if len(best) > MOST_WORDS:
                raise _refusal("there are too many words", f"more than {MOST_WORDS} words", f"at most {MOST_WORDS}")
        characters = sum(len(hotword.word) for hotword in best.values())
        if characters > LONGEST_LIST:
            raise _refusal("the words are too long together", f"{characters} characters",
                           f"at most {LONGEST_LIST} characters in all")
        return cls(tuple(sorted(best.values())))

    def overlaid(self, session: HotwordList) -> HotwordList:
        """This list, the server's, with a session's: the session's weights win, and its weight 0 takes a word away."""
        merged = {hotword.word.lower(): hotword for hotword in (*self.words, *session.words)}
        return HotwordList(tuple(sorted(hotword for hotword in merged.values() if hotword.weight > 0)))

    @property
    def fits(self) -> bool:
        """Within the limits: what `of` and `overlaid` give does."""
        characters = sum(len(hotword.word) for hotword in self.words)
        return len(self.words) <= MOST_IN_FORCE and characters <= 2 * LONGEST_LIST and all(
            0 < len(word) <= LONGEST_WORD and WEIGHTS[0] <= weight <= WEIGHTS[1] for word, weight in self.words)

    def __bool__(self) -> bool:
        return bool(self.words)


EMPTY = HotwordList()


def from_funasr(value: object) -> HotwordList:
    """What a FunASR client sent. Lenient as FunASR's servers are: what is no word is left out, and what is no number
    as a weight counts as no weight.

    Known are a JSON object of weights (or that as a string, weights as strings too), a list of words, lines of
    `word weight`, and words separated by commas, new lines or, where there is no comma, by spaces.
    Raises ClientError for a list beyond the limits, and for a URL or a path.
    """
    if isinstance(value, str):
        value = _unwrapped(value)
    if isinstance(value, Mapping):
        pairs = [(word, _lenient_weight(weight)) for word, weight in value.items() if isinstance(word, str)]
    elif isinstance(value, list):
        pairs = [(word, DEFAULT_WEIGHT) for word in value if isinstance(word, str)]
    elif isinstance(value, str):
        pairs = _from_text(value)
    else:
        pairs = []
    return HotwordList.of((word, weight) for word, weight in pairs if word.strip())


def from_native(value: object) -> HotwordList:
    """A list of words or of objects `{"word": …, "weight": …}`, or an object of weights. Raises ClientError."""
    if isinstance(value, Mapping):
        return HotwordList.of((word, _strict_weight(word, weight)) for word, weight in value.items())
    if not isinstance(value, list):
        raise _refusal("hotwords cannot be this", value, f"a list of {_ALLOWED_ITEM}; or an object of weights")
    return HotwordList.of(_from_item(item) for item in value)


def from_lines(text: str, name: str) -> HotwordList:
    """The text of the operator's file `name`: a line for each word, its weight behind it or none.

    Raises SettingsError, which names the line.
    """
    words: list[tuple[str, float]] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip():
            continue
        weighted = _WEIGHTED.fullmatch(line.strip())
        pair = (weighted[1], float(weighted[2])) if weighted else (line, DEFAULT_WEIGHT)
        try:
            HotwordList.of([pair])
        except ClientError as error:
            raise _setting(f"{name}, line {number}", error) from error
        words.append(pair)
    try:
        return HotwordList.of(words)
    except ClientError as error:
        raise _setting(name, error) from error


def _from_item(item: object) -> tuple[str, float]:
    if isinstance(item, str):
        return item, DEFAULT_WEIGHT
    if isinstance(item, Mapping) and isinstance(item.get("word"), str) and not item.keys() - {"word", "weight"}:
        return item["word"], _strict_weight(item["word"], item.get("weight", DEFAULT_WEIGHT))
    raise _refusal("an entry cannot be this", "null" if item is None else item, _ALLOWED_ITEM)


def _from_text(text: str) -> list[tuple[str, float]]:
    if _COMMAS.search(text):
        return [(word, DEFAULT_WEIGHT) for word in re.split(r"[,，、\n]", text)]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pairs: list[tuple[str, float]] = []
    for line in lines:
        weighted = _WEIGHTED.fullmatch(line)
        # A single line may be words separated by spaces, of which the last one happens to be a number.
        if weighted and (len(lines) > 1 or WEIGHTS[0] <= float(weighted[2]) <= WEIGHTS[1]):
            pairs.append((weighted[1], float(weighted[2])))
        else:
            pairs.extend((word, DEFAULT_WEIGHT) for word in line.split())
    return pairs


def _unwrapped(text: str) -> object:
    """The object or list behind a string of JSON; the string itself where it is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return text


def _word(written: str) -> str:
    """The word in one way of writing: compatibility forms (full-width letters) folded, spaces single, no marks that
    nobody sees. Case stays: capitals tell an abbreviation from a word."""
    text = unicodedata.normalize("NFKC", written).replace("\u2019", "'")
    text = " ".join("".join(sign for sign in text if unicodedata.category(sign) != "Cf").split())
    if not text or len(text) > LONGEST_WORD or not text.isprintable():
        raise _refusal("a word cannot be this", written, _ALLOWED_WORD)
    if _ADDRESS.match(text):
        raise _refusal("hotwords are not fetched or read from files here", written, "the words themselves")
    return text


def _lenient_weight(value: object) -> float:
    try:
        weight = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return DEFAULT_WEIGHT
    return weight if math.isfinite(weight) else DEFAULT_WEIGHT


def _strict_weight(word: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not WEIGHTS[0] <= value <= WEIGHTS[1]:
        shown = "null" if value is None else value
        raise _refusal(f"the weight of {word[:LONGEST_WORD]} cannot be this", shown, _ALLOWED_WEIGHT)
    return float(value)


def _refusal(message: str, value: object, allowed: str) -> ClientError:
    return ClientError("bad_field", message, field=FIELD, value=value, allowed=allowed)


def _setting(place: str, error: ClientError) -> SettingsError:
    return SettingsError(f"{place}: {error.message} (value {error.value}; allowed: {error.allowed})")
