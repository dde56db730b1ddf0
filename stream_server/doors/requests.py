"""Requests over HTTP: their bodies read within bounds, and what is answered where it is not what was hoped for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from stream_server.errors import ClientError, Overloaded

BODY_WITHIN_S = 10.0
NO_STORE = {"Cache-Control": "no-store"}

Endpoint = Callable[[Request], Awaitable[Response]]


class Refusal(Exception):
    """An answer other than the one hoped for. Made anew each time: an exception that is kept and raised again keeps
    every request that it was raised for."""

    def __init__(self, status: HTTPStatus, error: ClientError) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error


@dataclass(frozen=True)
class Body:
    """What a request's body must be: text of `media_type` in UTF-8, of at most `longest` bytes. `name` and `field` are
    what it is called towards the client, `not_text` the code for bytes that are no text."""

    media_type: str
    longest: int
    name: str
    field: str | None = None
    not_text: str = "bad_field"


def answering(answer: Endpoint) -> Endpoint:
    """The same, with Refusal, ClientError and Overloaded as answers."""

    async def endpoint(request: Request) -> Response:
        try:
            return await answer(request)
        except (Refusal, ClientError, Overloaded) as error:
            return refused(error)

    return endpoint


def refused(error: Refusal | ClientError | Overloaded) -> Response:
    """JSON like an error of the native protocol."""
    if isinstance(error, Overloaded):
        return _told(HTTPStatus.SERVICE_UNAVAILABLE, ClientError("overloaded", str(error)), error.retry_after_s)
    if isinstance(error, ClientError):
        return _told(HTTPStatus.BAD_REQUEST, error)
    return _told(error.status, error.error)


async def read_body(request: Request, expected: Body) -> str:
    """The body; no more of it is read than may be. Raises Refusal."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != expected.media_type:
        raise _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "bad_field", f"{expected.name} is of another type",
                       "Content-Type", expected.media_type, value=kind)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for piece in request.stream():
                body += piece
                if len(body) > expected.longest:
                    raise _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"{expected.name} is too long",
                                   expected.field, f"{expected.longest} bytes")
        return body.decode()
    except TimeoutError:
        raise _refusal(HTTPStatus.REQUEST_TIMEOUT, "start_timeout", f"{expected.name} did not come in time",
                       expected.field, f"within {BODY_WITHIN_S:g} s") from None
    except ClientDisconnect:
        raise _refusal(HTTPStatus.BAD_REQUEST, "bad_state", "the client is gone") from None
    except UnicodeDecodeError:
        raise _refusal(HTTPStatus.BAD_REQUEST, expected.not_text, f"{expected.name} is no text", expected.field,
                       "UTF-8") from None


def _refusal(status: HTTPStatus, code: str, message: str, field: str | None = None, allowed: str | None = None,
             value: str | None = None) -> Refusal:
    return Refusal(status, ClientError(code, message, field=field, value=value, allowed=allowed))


def _told(status: HTTPStatus, error: ClientError, retry_after_s: int | None = None) -> Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return JSONResponse({"type": "error", "code": error.code, "message": error.message, "fatal": True,
                         "field": error.field, "value": error.value, "allowed": error.allowed,
                         "retry_after_s": retry_after_s}, status, headers | NO_STORE)
