"""Marks without a model: a comma behind every third word, carried ones counted, and a full stop at a text's end."""

from __future__ import annotations

from collections.abc import Sequence

from stream_server.speech.punctuated import Carry, Marked, Word, Words, words_of

POISON = "毒"


class ScriptedPunctuator:
    """Implements Punctuates. A text with POISON raises."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        """Texts that came together."""

    def words(self, text: str) -> list[Word]:
        return words_of(text)

    def step(self, texts: Sequence[Words]) -> list[Marked]:
        self.batches.append(len(texts))
        if any(POISON in text.words for text in texts):
            raise RuntimeError("a text is poisoned")
        return [self._mark(text) for text in texts]

    def _mark(self, text: Words) -> Marked:
        before = len(text.carry.words)
        marks = ["，" if (before + number) % 3 == 0 else "" for number in range(1, len(text.words) + 1)]
        if text.is_final and marks:
            marks[-1] = "。"
        return Marked(marks, Carry() if text.is_final else Carry((*text.carry.words, *text.words), False))
