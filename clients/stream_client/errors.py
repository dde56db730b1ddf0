"""What can go wrong, by where it went wrong.

StreamClientError
├── ConnectionFailed   no server was reached, or the connection to it was lost
├── ServerError        the server refused; carries its code, field, value, what is allowed, and when to come back
├── MediaError         a file cannot be read, or holds no sound
└── MicrophoneError    there is no microphone, or no way to it

Each message is one sentence for people.
"""

from __future__ import annotations


class StreamClientError(Exception):
    """Base of all errors raised on purpose; never raised itself."""


class ConnectionFailed(StreamClientError):
    """No server was reached, or the connection to it was lost before the end."""


class ServerError(StreamClientError):
    """The server could not do what it was asked, and said why."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        value: str | None = None,
        allowed: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.value = value
        self.allowed = allowed
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        parts = [self.message]
        if self.value is not None:
            parts.append(f"got {self.field or 'value'} {self.value}")
        if self.allowed is not None:
            parts.append(f"allowed: {self.allowed}")
        if self.retry_after_s is not None:
            parts.append(f"try again in {self.retry_after_s} s")
        return "; ".join(parts)


class MediaError(StreamClientError):
    """A file cannot be read as audio."""


class MicrophoneError(StreamClientError):
    """Sound cannot be taken from a microphone."""
