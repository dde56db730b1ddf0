"""Utterances: one session's messages as a FunASR client wants to read them, from its first delta to `is_final`.

Every message has `mode`, `text`, `wav_name` and `is_final`: shipped clients fail on messages without one of them.
`is_final` is true once, in the last message. `timestamp` is a string of JSON, and left out where a message has no
tokens, for clients parse what is there.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream_server.dialects.options import Options
from stream_server.errors import ClientError
from stream_server.session.messages import Error, Final, Partial, Speech

Answer = dict[str, object]

SENTENCE_MARKS = "。？！，、；：.?!,;:"
FIRST_SLICE, LATER_SLICE, LAST_SLICE = 0, 1, 2


class Utterance:
    """What was sent of a session and what is still to be sent."""

    def __init__(self, options: Options, refusal: ClientError | None = None) -> None:
        self.wav_name = options.wav_name
        self.opened = False
        """Its session is there, so that an Ended will come."""
        self.wants_acknowledgement = False
        self.refusal = refusal
        self._mode = options.mode
        self._open: set[int] = set()
        """Segments that began and have had no final."""
        self._sent: dict[int, str] = {}
        """Text of open segments that went out as deltas."""
        self._tail = ""
        """The last character of the sentence before."""
        self._held: Answer | None = None
        """The sentence that ended with the session: it becomes the last message."""
        self._whole = _Whole()

    def speech(self, message: Speech) -> None:
        """A segment began; the one before it may still wait for its second pass."""
        self._open.add(message.segment)

    def partial(self, message: Partial) -> list[Answer]:
        """The stable text that was not sent yet, if any. A segment waits for the final of the one before it, as clients
        begin anew where a sentence comes."""
        earlier_is_open = any(segment < message.segment for segment in (*self._open, *self._sent))
        if self._mode == "offline" or earlier_is_open or message.stable <= 0:
            return []
        lead = gap(self._tail, message.text)
        stable = lead + message.text[: message.stable]
        sent = self._sent.get(message.segment, "")
        if len(stable) <= len(sent) or not stable.startswith(sent):
            return []
        self._sent[message.segment] = stable
        kind = LATER_SLICE if sent else FIRST_SLICE
        return [self._answer(self._first_pass, stable[len(sent):], slice_type=kind, index=message.segment)]

    def final(self, message: Final) -> list[Answer]:
        """The sentence (2pass), the rest of it (online), or nothing yet (offline)."""
        self._open.discard(message.segment)
        sent = self._sent.pop(message.segment, "")
        text = gap(self._tail, message.text) + message.text
        self._tail = text[-1:] or self._tail
        if self._mode == "offline":
            self._whole.add(text, message)
            return []
        if self._mode == "online":
            rest = text[len(sent):]
            answer = self._answer("online", rest, slice_type=LAST_SLICE, index=message.segment) if rest else None
        else:
            answer = self._sentence(text, message) if text or sent else None
        return self._unless_last(answer, message)

    def error(self, message: Error, last: bool) -> list[Answer]:
        """What went wrong, in a message that clients survive."""
        answers = self._take_held()
        acknowledges = last and self.wants_acknowledgement
        answer = self._answer(self._final_mode, "", is_final=last and not acknowledges)
        answer["error"] = {name: value for name, value in msgspec.to_builtins(message).items()
                           if value is not None and name not in ("type", "fatal")}
        if acknowledges:
            answer["is_end"] = True
        return [*answers, answer]

    def end(self) -> list[Answer]:
        """The last messages. To a client that asked for one, the acknowledgement is a message of its own."""
        answers = self._take_held()
        if self.refusal is not None:
            answers = [self._refused(self.refusal)]
        elif self._mode == "offline" and self._whole.text:
            answers = [self._answer("offline", self._whole.text, **self._whole.times())]
        if not self.wants_acknowledgement:
            last = answers[-1] if answers else self._answer(self._final_mode, "")
            last["is_final"] = True
            return [*answers[:-1], last]
        if self.refusal is not None:
            return [{**answers[-1], "is_end": True}]
        return [*answers, self._answer(self._final_mode, "", is_final=True, is_end=True)]

    @property
    def _first_pass(self) -> str:
        return "online" if self._mode == "online" else "2pass-online"

    @property
    def _final_mode(self) -> str:
        return self._mode if self._mode != "2pass" else "2pass-offline"

    def _answer(self, mode: str, text: str, *, is_final: bool = False, **others: object) -> Answer:
        return {"mode": mode, "text": text, "wav_name": self.wav_name, "is_final": is_final, **others}

    def _sentence(self, text: str, message: Final) -> Answer:
        times = _times([message]) if text else {}
        return self._answer("2pass-offline", text, slice_type=LAST_SLICE, index=message.segment,
                            start_time=message.start_ms, end_time=message.end_ms, **times)

    def _unless_last(self, answer: Answer | None, message: Final) -> list[Answer]:
        answers = self._take_held()
        if message.reason == "stop":
            self._held = answer
            return answers
        return answers if answer is None else [*answers, answer]

    def _take_held(self) -> list[Answer]:
        held, self._held = self._held, None
        return [] if held is None else [held]

    def _refused(self, refusal: ClientError) -> Answer:
        answer = self._answer(self._final_mode, f"ERROR. {refusal.message}; send {refusal.allowed}")
        answer["error"] = {"code": refusal.code, "message": refusal.message, "field": refusal.field,
                           "value": refusal.value, "allowed": refusal.allowed}
        return answer


class _Whole:
    """The sentences of an offline utterance, until all is there."""

    def __init__(self) -> None:
        self.text = ""
        self._finals: list[Final] = []

    def add(self, text: str, message: Final) -> None:
        self.text += text
        if text:
            self._finals.append(message)

    def times(self) -> Answer:
        return _times(self._finals)


def gap(before: str, after: str) -> str:
    """What belongs between two sentences: a space where both sides are written with spaces, else nothing."""
    return " " if _spaced(before[-1:], also=".,?!;:") and _spaced(after[:1]) else ""


def _spaced(character: str, also: str = "") -> bool:
    return bool(character) and (character in also or (character.isalnum() and character < "\u2e80"))


def _times(finals: list[Final]) -> Answer:
    spans = [[begin, end] for final in finals for _, begin, end in final.tokens]
    if not spans:
        return {}
    sentences = [sentence for final in finals for sentence in _stamped(final)]
    return {"timestamp": msgspec.json.encode(spans).decode(), "stamp_sents": sentences}


def _stamped(final: Final) -> list[Answer]:
    """The sentences of a final: where its marks are known, what lies between two of them, else all of it."""
    if not any(final.marks):
        mark = final.text[-1:]
        return [_sentence(final.tokens, mark if mark and mark in SENTENCE_MARKS else "", final.start_ms, final.end_ms)]
    sentences, begin = [], 0
    for index, mark in enumerate(final.marks):
        if mark or index + 1 == len(final.marks):
            tokens = final.tokens[begin : index + 1]
            sentences.append(_sentence(tokens, mark, tokens[0][1], tokens[-1][2]))
            begin = index + 1
    return sentences


def _sentence(tokens: Sequence[tuple[str, int, int]], mark: str, start: int, end: int) -> Answer:
    return {
        "text_seg": " ".join(text for text, _, _ in tokens),
        "punc": mark,
        "start": start,
        "end": end,
        "ts_list": [[begin, end] for _, begin, end in tokens],
    }
