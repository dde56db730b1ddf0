"""Finals as people read them: what was recognised, with marks, and with numbers as they are written.

In the order of FunASR's runtime (runtime/onnxruntime/src/funasrruntime.cpp): marks first, then inverse text
normalisation over the text that has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stream_server.speech.punctuated import Carry, Marked, Word, Words, marks_of, punctuate
from stream_server.speech.rewritten import Span, spans_of, unchanged
from stream_server.speech.written import Writer


class Punctuates(Protocol):
    """What `models.punctuator.Punctuator` is to a scribe."""

    def words(self, text: str) -> list[Word]: ...

    def step(self, texts: Sequence[Words]) -> list[Marked]: ...


@dataclass(frozen=True, slots=True)
class Spoken:
    """A final as it was recognised.

    `tokens` stand in `text` in their order. `carry` is what came with the session's final before, `Carry()` for the
    first. `ends`: the speaker paused or stopped here; without it, as where a segment grew too long, no sentence is
    ended by force. `written`: numbers as they are written; `marked`: with marks.
    """

    text: str
    tokens: Sequence[str]
    carry: Carry = field(default_factory=Carry)
    ends: bool = True
    written: bool = False
    marked: bool = True


@dataclass(frozen=True, slots=True)
class Scribed:
    """A final as it is shown.

    `spans[i]` is where token i stands in `text`: several share the place of a number. `marks[i]` is the mark behind
    token i as the model gives it, or "". `carry` goes with the session's next final. With `error` there are no marks.
    """

    text: str
    spans: list[Span]
    marks: list[str]
    carry: Carry
    error: str | None = None


class Scribe:
    """Keeps nothing between calls. Without a model there are no marks; without a writer numbers stay as said."""

    def __init__(self, punctuator: Punctuates | None = None, writer: Writer | None = None) -> None:
        self._punctuator, self._writer = punctuator, writer

    def write(self, finals: Sequence[Spoken]) -> list[Scribed]:
        """Finals of many sessions; what one becomes does not depend on the others."""
        words = [self._punctuator.words(final.text) if self._punctuator and final.marked else [] for final in finals]
        texts = zip(finals, words, strict=True)
        marked = self._mark([Words([word.text for word in row], final.carry, final.ends) for final, row in texts])
        return [self._scribe(*row) for row in zip(finals, words, marked, strict=True)]

    def _mark(self, texts: list[Words]) -> list[Marked]:
        if self._punctuator is None:
            return [Marked([], text.carry) for text in texts]
        try:
            return self._punctuator.step(texts)
        except Exception as error:
            # The text at fault, if it is one, gets no marks; a device short of memory serves the others alone.
            if len(texts) == 1:
                return [Marked([""] * len(texts[0].words), Carry(), error=str(error) or type(error).__name__)]
            return [marked for text in texts for marked in self._mark([text])]

    def _scribe(self, final: Spoken, words: list[Word], marked: Marked) -> Scribed:
        spans = spans_of(final.tokens, final.text)
        if marked.error is None and self._punctuator is not None:
            done = punctuate(final.text, words, marked.marks, final.carry.ended)
            marks = marks_of(spans, words, marked.marks)
        else:
            done, marks = unchanged(final.text), [""] * len(spans)
        if final.written and self._writer is not None:
            done = done.then(self._writer.write(done.text))
        return Scribed(done.text, [done.place(span) for span in spans], marks, marked.carry, marked.error)
