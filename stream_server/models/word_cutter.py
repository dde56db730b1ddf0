"""Chinese cut into words by jieba, for models that punctuate words and not characters.

FunASR does so where a model's directory comes with a dictionary, `jieba_usr_dict`
(`split_words`, funasr/models/ct_transformer/utils.py).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from stream_server.errors import ModelError
from stream_server.speech.punctuated import Word

_tokens = re.compile(r"\S+")
_english = re.compile(r"[a-zA-Z']+")
_DICTIONARY = "jieba_usr_dict"


def find_dictionary(directory: Path, config: Mapping[str, object]) -> Path | None:
    """What `config.yaml` or `configuration.json` name as such, or None. Raises ModelError where it is missing."""
    name = config.get(_DICTIONARY)
    inner = config.get("model_conf")
    if name is None and isinstance(inner, Mapping):
        name = inner.get(_DICTIONARY)
    if name is None:
        name = _named_by_the_hub(directory / "configuration.json")
    if name is None:
        return None
    path = directory / str(name)
    if not path.is_file():
        raise ModelError(f"{directory}: {name} missing; needed to cut texts into this model's words ({_DICTIONARY})")
    return path


def _named_by_the_hub(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))["file_path_metas"][_DICTIONARY]
    except (ValueError, KeyError, TypeError):
        return None
    # FunASR takes a file that is not there for one that is not needed.
    return found if isinstance(found, str) and (path.parent / found).is_file() else None


class WordCutter:
    """jieba with its own dictionary and the model's: seconds to load, for each cutter anew."""

    def __init__(self, dictionary: Path) -> None:
        import jieba

        jieba.setLogLevel(logging.WARNING)
        # One of our own: that of the module is shared by all that import it.
        self._jieba = jieba.Tokenizer()
        # jieba would read what it finds under a known name in a directory where everybody may write.
        with TemporaryDirectory() as private, dictionary.open("rb") as words:
            self._jieba.tmp_dir = private
            try:
                self._jieba.load_userdict(words)
            except ValueError as error:
                raise ModelError(f"{dictionary}: cannot be read ({error}); needed one word a line, UTF-8") from error

    def words(self, text: str) -> list[Word]:
        """The words of `text`; English ones as they are written, Chinese as jieba cuts them."""
        return list(self._cut(text))

    def _cut(self, text: str) -> Iterator[Word]:
        tokens = _tokens.finditer(text)
        for english, run in groupby(tokens, key=lambda token: _english.fullmatch(token.group()) is not None):
            if english:
                yield from (Word(token.group(), *token.span()) for token in run)
                continue
            # As if there were no spaces in it.
            places = [place for token in run for place in range(*token.span())]
            begin = 0
            for word in self._jieba.cut("".join(text[place] for place in places), HMM=False):
                end = begin + len(word)
                yield Word(word, places[begin], places[end - 1] + 1)
                begin = end
