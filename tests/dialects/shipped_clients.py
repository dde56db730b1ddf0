"""How FunASR's clients read messages: each class keeps what its client keeps, and fails where its client fails."""

from __future__ import annotations

import json
import re


class Reader:
    """Counts closings; a client that closed reads nothing more."""

    def __init__(self) -> None:
        self.text = ""
        self.closed = False

    def read(self, message: dict) -> None:
        if not self.closed:
            self.take(message)

    def take(self, message: dict) -> None:
        raise NotImplementedError


class Replacing(Reader):
    """Appends deltas, and puts the sentence in their place: what most clients show."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences = ""
        self.deltas = ""

    def show(self, message: dict) -> None:
        if message["mode"] in ("2pass-offline", "offline"):
            self.sentences, self.deltas = self.sentences + message["text"], ""
        else:
            self.deltas += message["text"]
        self.text = self.sentences + self.deltas


class PythonFile(Replacing):
    """Waits for the acknowledgement; raises where it is not final."""

    def take(self, message: dict) -> None:
        self.show(message)
        if message.get("is_end"):
            assert message["is_final"] is True, message.get("error")
            self.closed = True


class PythonMicrophone(Replacing):
    def take(self, message: dict) -> None:
        self.show(message)


class PythonApi(Reader):
    """Needs mode and is_final in every message; keeps sentences only."""

    def take(self, message: dict) -> None:
        self.closed = message["is_final"] is True
        if message["mode"] == "2pass-offline":
            self.text += message["text"]


class Html5Microphone(Replacing):
    """Parses the timestamp as JSON and looks up a span for each character or word."""

    def take(self, message: dict) -> None:
        if "timestamp" in message and message["text"] and message["mode"] in ("2pass-offline", "offline"):
            spans = json.loads(message["timestamp"])
            at = 0
            for word in filter(None, re.split(r"[。？，、?. ,]", message["text"])):
                assert spans[at][0] >= 0
                at += 1 if re.fullmatch("[a-zA-Z]+", word) else len(word)
        self.show(message)


class Html5File(Html5Microphone):
    def take(self, message: dict) -> None:
        super().take(message)
        self.closed = message["is_final"] is True


class Cpp(Replacing):
    """Closes at the first message that is final."""

    def take(self, message: dict) -> None:
        self.show(message)
        self.closed = message["is_final"] is True


class JavaOffline(Reader):
    def take(self, message: dict) -> None:
        self.text += message["text"]
        self.closed = message.get("is_final", True) is True


class Go(Reader):
    """A struct of strings: any other type loses the message, any other mode ends the client."""

    def take(self, message: dict) -> None:
        for name in ("wav_name", "text", "timestamp", "mode"):
            assert isinstance(message.get(name, ""), str)
        assert message["mode"] == "offline"
        self.text += message["text"]


class CSharpOnline(Replacing):
    def take(self, message: dict) -> None:
        assert isinstance(message["is_final"], bool)
        assert isinstance(message["mode"], str)
        self.show(message)


class CSharpOffline(Reader):
    def take(self, message: dict) -> None:
        assert message["mode"] == "offline"
        assert isinstance(message["wav_name"], str)
        assert isinstance(message.get("timestamp", ""), str)
        self.text += message["text"]


class Android(Reader):
    """Throws where text or is_final is missing or of another type."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences = ""
        self.deltas = ""

    def take(self, message: dict) -> None:
        assert isinstance(message["text"], str)
        assert isinstance(message["is_final"], bool)
        if message["text"]:
            if message["mode"] == "2pass-offline":
                self.sentences, self.deltas = self.sentences + message["text"], ""
            else:
                self.deltas += message["text"]
        self.text = self.sentences + self.deltas
        self.closed = message["is_final"]


class OpenClaw(Reader):
    """Reads no text in the acknowledgement, and takes an error in it for a failure."""

    def __init__(self) -> None:
        super().__init__()
        self.deltas = ""

    def take(self, message: dict) -> None:
        if message.get("is_end"):
            assert message["is_final"] is not False
            assert "error" not in message
            self.closed = True
        elif message["text"].strip():
            if message["mode"] == "2pass-online":
                self.deltas += message["text"]
            else:
                self.text, self.deltas = self.text + message["text"].strip(), ""


class Xiaozhi(Reader):
    """Adds up every text until one is final, waiting five seconds for each."""

    def take(self, message: dict) -> None:
        self.text += message.get("text", "")
        self.closed = message.get("is_final", True)
