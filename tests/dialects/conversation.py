"""A connection with a scripted session behind it: what a client sends goes in, what it reads comes out."""

from __future__ import annotations

import json

from stream_server.audio.windows import DEFAULT_WINDOWS, describe
from stream_server.dialects import Dialect
from stream_server.session.messages import Command, Ended, Final, Partial, Ready, ServerMessage, Start, Stop

READY = Ready(session="s", model="m", encoding="pcm_s16le", sample_rate=16000, window=describe(DEFAULT_WINDOWS[0]),
              vad="webrtc", end_silence_ms=800, pre_roll_ms=600, min_speech_ms=100, max_segment_ms=30000)
ENDED = Ended(received_ms=2000, recognised_ms=1500, silent_ms=500, dropped_ms=0, segments=2)


def funasr_start(**options: object) -> Start:
    """What FunASR's dialect makes of a configuration."""
    return Start(**options)


class Conversation:
    """Keeps the driver's side of the contract, and checks the dialect's."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.commands: list[Command] = []
        self.audio = b""
        self.read: list[dict] = []
        self.open = False
        self.plain = False
        """Audio comes as it is, until a Stop."""

    def text(self, message: dict | str) -> list[Command]:
        text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
        commands, audio = self.dialect.receive_text(text)
        assert audio == b""
        return self._take(commands)

    def bytes(self, data: bytes) -> list[Command]:
        commands, audio = self.dialect.receive_bytes(data)
        self._take(commands)
        assert not self.plain or (commands, audio) == ([], data)
        self.plain = self.plain or bool(audio)
        assert self.open or not audio, "audio outside a session"
        self.audio += audio
        return commands

    def say(self, *messages: ServerMessage) -> list[dict]:
        answers = [json.loads(text) for message in messages for text in self.dialect.send(message)]
        self.read += answers
        return answers

    @property
    def start(self) -> Start:
        (start,) = [command for command in self.commands if isinstance(command, Start)]
        return start

    def _take(self, commands: list[Command]) -> list[Command]:
        for command in commands:
            assert self.open != isinstance(command, Start), f"{command} out of place"
            self.open = not isinstance(command, Stop)
            self.plain = self.plain and self.open
        self.commands += commands
        return commands


def partial(segment: int, text: str, stable: int | None = None, revision: int = 1) -> Partial:
    return Partial(segment=segment, revision=revision, text=text, stable=len(text) if stable is None else stable,
                   start_ms=1000 * segment, end_ms=1000 * segment + 600)


def final(segment: int, text: str, reason: str = "silence", tokens: list | None = None) -> Final:
    start = 1000 * segment
    if tokens is None:
        tokens = [(character, start + 100 * i, start + 100 * i + 100) for i, character in enumerate(text)]
    return Final(segment=segment, revision=9, text=text, start_ms=start, end_ms=start + 900, reason=reason,
                 tokens=tokens)


TWO_SENTENCES = (
    READY,
    partial(0, "今天"),
    partial(0, "今天天气", stable=3, revision=2),
    final(0, "今天天气好"),
    partial(1, "我们"),
    final(1, "我们出去", reason="stop"),
    ENDED,
)
WHOLE = "今天天气好我们出去"
