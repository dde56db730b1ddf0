"""FunASR's WebSocket protocol: a configuration, PCM, the end of an utterance; deltas and sentences come back.

Lenient, as clients differ in how they write things: what can be understood is taken, what is unknown is ignored.
Each utterance is a session of its own. It is opened by its first audio rather than by the configuration: only then
is it known whether a WAV header gives the rate, and a page that waits for its user takes no room.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import msgspec

from stream_server.dialects.document import read_object
from stream_server.dialects.options import PCM_NAMES, Options, updated
from stream_server.dialects.utterance import Utterance
from stream_server.dialects.wav import WavHead
from stream_server.errors import ClientError
from stream_server.session.messages import (
    Command,
    Ended,
    Error,
    Final,
    Hotwords,
    Partial,
    Ready,
    ServerMessage,
    Speech,
    Start,
    Stop,
)
from stream_server.speech.hotwords import HotwordList

LONGEST_TEXT = 1 << 20
"""Hotword lists are long; this is what FunASR's own server takes."""

_encoder = msgspec.json.Encoder()


class _Incoming:
    """The utterance that audio is coming in for."""

    def __init__(self, options: Options) -> None:
        refusal = None if options.wav_format in PCM_NAMES else _not_pcm(options.wav_format)
        self.options = options
        self.head = WavHead()
        self.utterance = Utterance(options, refusal)
        self.started = False

    def listen_for(self, hotwords: HotwordList) -> list[Command]:
        """Other hotwords in mid-utterance; they are in the Start where that is still to come."""
        self.options = replace(self.options, hotwords=hotwords)
        return [Hotwords(hotwords=hotwords)] if self.started else []

    def start(self) -> Start:
        self.started = True
        wav = self.head.format
        if wav is None or self.utterance.refusal is not None:
            return self.options.start()
        return self.options.start(wav.encoding, wav.sample_rate)


class FunasrDialect:
    """One connection: utterances one after another, each answered up to its `is_final`."""

    resumes = False

    def __init__(self) -> None:
        self._options = Options()
        self._configured = True
        """A configuration came since the last end; the implied one of a fresh connection counts."""
        self._incoming: _Incoming | None = None
        self._outgoing: deque[Utterance] = deque()
        """Utterances whose session has begun and not ended, the one that is answered now first."""
        self._last: Utterance | None = None
        self._ended = False

    def receive_text(self, text: str) -> tuple[list[Command], bytes]:
        """A configuration, the end of an utterance, or both in one. Raises ClientError."""
        said = read_object(text, LONGEST_TEXT)
        options = updated(self._options, said)
        acknowledge = _is_true(said, "is_end")
        ends = acknowledge or _is_true(said, "is_finished") or _is_false(said, "is_speaking")
        changed, self._options = options.hotwords != self._options.hotwords, options
        if self._incoming is not None:
            self._incoming.utterance.wav_name = options.wav_name
        if ends:
            return self._end(acknowledge), b""
        self._configured = True
        if changed and self._incoming is not None:
            return self._incoming.listen_for(options.hotwords), b""
        return [], b""

    def receive_bytes(self, data: bytes) -> tuple[list[Command], bytes]:
        """Audio, behind a Start where it is the first of its utterance. A WAV header is taken out."""
        if self._incoming is None:
            if not data:
                return [], b""
            self._incoming = _Incoming(self._options)
        incoming = self._incoming
        if incoming.utterance.refusal is not None:
            return [], b""
        try:
            audio = incoming.head.receive(data)
            if incoming.started or not incoming.head.decided:
                return [], audio
            return [self._begin(incoming)], audio
        except ClientError as refusal:
            incoming.utterance.refusal = refusal
            return [], b""

    def send(self, message: ServerMessage) -> list[str]:
        if isinstance(message, Ended):
            answers = self._finish()
        elif isinstance(message, Error):
            answers = self._fail(message)
        elif isinstance(message, Partial):
            answers = self._answering().partial(message)
        elif isinstance(message, Final):
            answers = self._answering().final(message)
        else:
            answering, answers = self._answering(), []
            answering.opened |= isinstance(message, Ready)
            if isinstance(message, Speech):
                answering.speech(message)
        return [_encoder.encode(answer).decode() for answer in answers]

    @property
    def ended(self) -> bool:
        """FunASR's servers leave closing to the client; only what cannot go on is closed here."""
        return self._ended

    def _begin(self, incoming: _Incoming) -> Start:
        start = incoming.start()
        self._last = incoming.utterance
        self._outgoing.append(incoming.utterance)
        return start

    def _end(self, acknowledge: bool) -> list[Command]:
        """The commands that end the utterance; it is opened first where no audio came, so that it is answered."""
        if self._incoming is None and not self._configured and self._is_repeated(acknowledge):
            return []
        incoming, self._incoming = self._incoming or _Incoming(self._options), None
        self._configured = False
        incoming.utterance.wants_acknowledgement = acknowledge
        opening: list[Command] = [] if incoming.started else [self._begin(incoming)]
        return [*opening, Stop()]

    def _is_repeated(self, acknowledge: bool) -> bool:
        """Whether this only says again that the last utterance ended; it may still ask for an acknowledgement."""
        last = self._last
        if last is None or not acknowledge or last.wants_acknowledgement:
            return True
        if last in self._outgoing:
            last.wants_acknowledgement = True
            return True
        return False

    def _answering(self) -> Utterance:
        if self._outgoing:
            return self._outgoing[0]
        return self._incoming.utterance if self._incoming is not None else Utterance(self._options)

    def _fail(self, error: Error) -> list[dict[str, object]]:
        """What went wrong. Where no session is open that could still end, a fatal error is the last message."""
        answering = self._answering()
        last = error.fatal and not answering.opened
        self._ended = self._ended or last
        return answering.error(error, last)

    def _finish(self) -> list[dict[str, object]]:
        if not self._outgoing or self._ended:
            return []
        utterance = self._outgoing.popleft()
        if self._incoming is not None and self._incoming.utterance is utterance:
            self._ended = True
        return utterance.end()


def _not_pcm(name: str) -> ClientError:
    return ClientError("unsupported", f"audio in {name} is not recognised here", field="wav_format", value=name,
                       allowed="16-bit mono PCM at 8000 to 48000 Hz, or a WAV file (wav_format pcm or wav)")


def _is_true(said: dict[str, object], name: str) -> bool:
    value = said.get(name)
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _is_false(said: dict[str, object], name: str) -> bool:
    value = said.get(name)
    return value is False or (isinstance(value, str) and value.lower() == "false")
