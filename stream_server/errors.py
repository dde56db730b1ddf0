"""Whose fault it was.

StreamServerError
├── ClientError        the client sent something that cannot be done; it is told field, value and what is allowed
├── Overloaded         the server has no room; the client may come back after `retry_after_s`
├── EngineError        the engine failed or is away; the client did nothing wrong
├── ModelError         the model given by the operator cannot be served; says file, found and needed
└── SettingsError      the operator's settings contradict each other or the machine
"""

from __future__ import annotations


class StreamServerError(Exception):
    """Base of all errors raised on purpose; never raised itself."""


class ClientError(StreamServerError):
    """What a client asked for cannot be done. The session's state is as it was before.

    `code` is a stable word for programs (`bad_json`, `bad_field`, `bad_state`, `too_large`, `unsupported`);
    `field`, `value` and `allowed` tell people what to change.
    """

    LONGEST_SHOWN = 80

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        allowed: str | None = None,
        fatal: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.value = None if value is None else _shown(value, self.LONGEST_SHOWN)
        self.allowed = allowed
        self.fatal = fatal


class Overloaded(StreamServerError):
    """No room for another session. Raised before any work is done for it."""

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineError(StreamServerError):
    """The engine failed on a stream, or cannot be reached."""


class ModelError(StreamServerError):
    """A model cannot be served. The message is one line: which file, what was found, what is needed."""


class SettingsError(StreamServerError):
    """A setting is outside what is possible. The message names the setting, its value and what is allowed."""


def _shown(value: object, longest: int) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
