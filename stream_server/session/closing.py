"""Segments that have ended and wait for their second pass, or to be written, and what may only be said after their
finals."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from stream_server.session.messages import Final, Flushed, Reason, ServerMessage
from stream_server.speech.hits import hits
from stream_server.speech.hotwords import EMPTY, HotwordList
from stream_server.speech.punctuated import Carry
from stream_server.speech.recognition import SecondPass
from stream_server.speech.scribe import Scribed, Spoken
from stream_server.speech.transcript import UNFINISHED, Piece, Transcript
from stream_server.units import samples_to_ms

MOST_CLOSING = 4
"""Segments of a session that may wait at once. Then its audio waits, as it does for the engine: only a client that
sends faster than speech gets here, and it would rather have its text right than soon."""


@dataclass(frozen=True, slots=True)
class Closing:
    """A segment whose text is complete as far as the first pass goes.

    `onset` to `end` is where it was spoken, in absolute samples; `stream_start` that of its stream. `cut_before` and
    `cut_behind`: speech goes on there without a pause, so that the second pass hears beyond the border, and what it
    hears there is the neighbour's.
    """

    number: int
    revision: int
    onset: int
    end: int
    reason: Reason
    transcript: Transcript
    hotwords: HotwordList = EMPTY
    stream_start: int = 0
    cut_before: bool = False
    cut_behind: bool = False

    def final(self, second_pass: SecondPass | None = None) -> Final:
        """What is said of it in the end; without a second pass the first one stands."""
        transcript = self.transcript if second_pass is None else self._heard_again(second_pass)
        tokens, confidences = transcript.told(self.onset, self.end)
        return Final(
            segment=self.number, revision=self.revision, text=transcript.text, start_ms=samples_to_ms(self.onset),
            end_ms=samples_to_ms(self.end), reason=self.reason, second_pass=second_pass is not None,
            tokens=tokens, confidences=confidences, hotwords=hits(self.hotwords, [text for text, _, _ in tokens]),
        )

    def _heard_again(self, second_pass: SecondPass) -> Transcript:
        transcript = Transcript(self.onset)
        for word in _words(second_pass, self.stream_start):
            middle = (word[0].begun_at + word[-1].fired_at) // 2
            if (self.cut_before and middle < self.onset) or (self.cut_behind and middle >= self.end):
                continue
            for piece in word:
                transcript.append(*piece)
        transcript.finish()
        return transcript


def _words(second_pass: SecondPass, start: int) -> Iterator[list[Piece]]:
    """Pieces of a stream that begins at `start`, word by word: a word must not be cut where a segment is."""
    word: list[Piece] = []
    for piece, (begin, end), confidence in zip(second_pass.pieces, second_pass.spans, second_pass.confidences,
                                               strict=True):
        word.append(Piece(piece, start + end, confidence, start + begin))
        if not piece.endswith(UNFINISHED):
            yield word
            word = []
    if word:
        yield word


@dataclass(slots=True)
class _Waiting:
    """`key`: generation and sequence of the chunk that closed it. `until`: when the first pass stands, once known."""

    key: tuple[int, int]
    closing: Closing
    until: float | None = None


@dataclass(slots=True)
class _Unwritten:
    """A final as it was spoken. `asked`: the engine has it; `until`: when it goes out as it is, once known."""

    final: Final
    asked: bool = False
    until: float | None = None


class ClosingQueue:
    """Keeps what is said in order: finals as their segments, and behind each final what came after its segment."""

    def __init__(self, patience_s: float, *, marks: bool = False, numbers: bool = False) -> None:
        """`patience_s`: how long a final may wait for its second pass, and again to be written, with `marks` and with
        `numbers` as they are written."""
        self._patience_s = patience_s
        self._marks = marks
        self._numbers = numbers
        self._carry = Carry()
        self._queue: deque[_Waiting | _Unwritten | ServerMessage] = deque()

    @property
    def waiting(self) -> int:
        """Segments that wait."""
        return sum(isinstance(each, _Waiting | _Unwritten) for each in self._queue)

    @property
    def flushes(self) -> int:
        """Flushes whose answer waits for a final."""
        return sum(isinstance(each, Flushed) for each in self._queue)

    @property
    def full(self) -> bool:
        return len(self._queue) >= MOST_CLOSING and self.waiting >= MOST_CLOSING

    @property
    def empty(self) -> bool:
        """All that was put in has been taken out."""
        return not self._queue

    def wait(self, key: tuple[int, int], closing: Closing) -> None:
        """The second pass of a segment is under way."""
        self._queue.append(_Waiting(key, closing))

    def close(self, closing: Closing) -> None:
        """A segment has ended that no second pass hears."""
        self._queue.append(self._spoken(closing))

    def say(self, message: ServerMessage) -> None:
        """To be said once all finals before it are."""
        self._queue.append(message)

    def settle(self, second_pass: SecondPass) -> bool:
        """A second pass has come; False where nothing waits for it."""
        for index, each in enumerate(self._queue):
            if isinstance(each, _Waiting) and each.key == (second_pass.generation, second_pass.sequence):
                heard = None if second_pass.error is not None or not _sound(second_pass) else second_pass
                self._queue[index] = self._spoken(each.closing, heard)
                return True
        return False

    def give_up(self) -> None:
        """Nothing will come any more: the first pass stands, as it was spoken."""
        self._carry = Carry()
        for index, each in enumerate(self._queue):
            if isinstance(each, _Waiting | _Unwritten):
                self._queue[index] = each.closing.final() if isinstance(each, _Waiting) else each.final

    def next_deadline(self, now: float) -> float | None:
        """When the first segment has waited for too long."""
        if not self._queue:
            return None
        deadlines = []
        for each in self._queue:
            if isinstance(each, _Waiting | _Unwritten):
                each.until = now + self._patience_s if each.until is None else each.until
                deadlines.append(each.until)
        return min(deadlines, default=None)

    def receive_time(self, now: float) -> None:
        """Segments that have waited for too long stand as they are."""
        for index, each in enumerate(self._queue):
            if not isinstance(each, _Waiting | _Unwritten) or each.until is None or each.until > now:
                continue
            if isinstance(each, _Waiting):
                self._queue[index] = self._spoken(each.closing)
            else:
                self._queue[index], self._carry = each.final, Carry()

    def take_messages(self) -> Iterator[ServerMessage]:
        """What may be said now."""
        while self._queue and not isinstance(self._queue[0], _Waiting | _Unwritten):
            yield self._queue.popleft()

    def take_text(self) -> tuple[int, Spoken] | None:
        """The next final to be written and its segment: one at a time, since each is read with the one before it."""
        first = self._queue[0] if self._queue else None
        if not isinstance(first, _Unwritten) or first.asked:
            return None
        first.asked = True
        final = first.final
        # A segment that grew too long ends within a sentence.
        ends = final.reason != "length"
        return final.segment, Spoken(final.text, [token for token, _, _ in final.tokens], self._carry, ends,
                                     self._numbers, self._marks)

    def receive_written(self, segment: int, scribed: Scribed | None) -> bool:
        """A final has been written, or could not be; False where nothing waits for it."""
        first = self._queue[0] if self._queue else None
        if not isinstance(first, _Unwritten) or not first.asked or first.final.segment != segment:
            return False
        self._carry = Carry() if scribed is None else scribed.carry
        self._queue[0] = first.final if scribed is None else _written(first.final, scribed)
        return True

    def _spoken(self, closing: Closing, heard: SecondPass | None = None) -> Final | _Unwritten:
        final = closing.final(heard)
        return _Unwritten(final) if final.text and (self._marks or self._numbers) else final

    def clear(self) -> None:
        self._queue.clear()


def _written(final: Final, scribed: Scribed) -> Final:
    """`final` with the text as it is written; one that does not fit it stays as it was spoken."""
    end = len(scribed.text)
    fits = len(scribed.spans) == len(scribed.marks) == len(final.tokens) and all(
        0 <= begin <= until <= end for begin, until in scribed.spans)
    if not fits or not scribed.text:
        return final
    return msgspec.structs.replace(final, text=scribed.text, spoken=final.text, places=list(scribed.spans),
                                   marks=list(scribed.marks))


def _sound(second_pass: SecondPass) -> bool:
    """Whether it has what each piece needs, in order."""
    begins = [span.begin for span in second_pass.spans]
    return (len(second_pass.pieces) == len(second_pass.spans) == len(second_pass.confidences)
            and begins == sorted(begins)
            and all(span.begin <= span.end for span in second_pass.spans))
