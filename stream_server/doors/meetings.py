"""Meetings over HTTP: made, read, saved and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from stream_server.dialects.document import read_object
from stream_server.dialects.ranges import is_name
from stream_server.doors.sse import EventStream
from stream_server.errors import ClientError, Overloaded
from stream_server.rooms.events import described, moment
from stream_server.rooms.rooms import Rooms
from stream_server.rooms.store import Transcript
from stream_server.speech import subtitles

PATH = "/v1/rooms"
LONGEST_NAME = 100
LONGEST_BODY = 4 << 10
BODY_WITHIN_S = 10.0
LARGEST_ID = (1 << 63) - 1
NO_STORE = {"Cache-Control": "no-store"}


class _Refusal(Exception):
    """An answer other than the one hoped for."""

    def __init__(self, status: HTTPStatus, error: ClientError) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error

    @property
    def answer(self) -> Response:
        return _told(self.status, self.error)


NO_ROOM = _Refusal(HTTPStatus.NOT_FOUND, ClientError("bad_state", "there is no such room, or no more", field="room"))
NO_ROOMS = _Refusal(HTTPStatus.NOT_FOUND, ClientError("unsupported", "there are no rooms here"))


def routes(rooms: Rooms | None) -> list[BaseRoute]:
    """What is served under PATH. Errors are JSON like the native protocol's."""

    def answering(answer: Callable[[Rooms, Request], object]) -> Callable[[Request], object]:
        async def endpoint(request: Request) -> Response:
            try:
                if rooms is None:
                    raise NO_ROOMS
                return await answer(rooms, request)
            except _Refusal as refusal:
                return refusal.answer
            except ClientError as error:
                return _told(HTTPStatus.BAD_REQUEST, error)
            except Overloaded as error:
                return _told(HTTPStatus.SERVICE_UNAVAILABLE, ClientError("overloaded", str(error)), error.retry_after_s)

        return endpoint

    return [Route(PATH, answering(_create), methods=["POST"]),
            Route(PATH + "/{token}", answering(_about), methods=["GET"]),
            Route(PATH + "/{token}", answering(_end), methods=["DELETE"]),
            Route(PATH + "/{token}/live", answering(_live), methods=["GET"]),
            *(Route(PATH + "/{token}/transcript." + kind, answering(_saved(kind)), methods=["GET"]) for kind in KINDS)]


async def _create(rooms: Rooms, request: Request) -> Response:
    fields = read_object(await _body(request), LONGEST_BODY)
    for field in fields:
        if field not in ("name", "record"):
            raise ClientError("bad_field", "no such field", field=field, allowed="name, record")
    name, record = fields.get("name"), fields.get("record", False)
    if not is_name(name, LONGEST_NAME):
        raise ClientError("bad_field", "name cannot be this", field="name", value="nothing" if name is None else name,
                          allowed=f"1 to {LONGEST_NAME} printable characters")
    if not isinstance(record, bool):
        raise ClientError("bad_field", "record cannot be this", field="record",
                          value="null" if record is None else record, allowed="true or false")
    made = await rooms.create(name, record)
    about = described(made.room, ())
    return JSONResponse({"room": made.room.public, "name": name, "began": about["began"],
                         "recorded": made.room.recorded, "speak": made.speak, "read": made.room.read},
                        HTTPStatus.CREATED, {**NO_STORE, "Location": f"{PATH}/{made.room.read}"})


async def _about(rooms: Rooms, request: Request) -> Response:
    scene = await rooms.scene(_token(request))
    if scene is None:
        raise NO_ROOM
    return JSONResponse(described(scene.room, scene.speakers), headers=NO_STORE)


async def _end(rooms: Rooms, request: Request) -> Response:
    if not await rooms.end(_token(request)):
        raise NO_ROOM
    return Response(status_code=HTTPStatus.NO_CONTENT)


class _Live(Response):
    """A room's events, from the first that the viewer does not have."""

    def __init__(self, rooms: Rooms, token: str, after: int) -> None:
        self.background = None
        self._rooms = rooms
        self._token = token
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = EventStream(scope, receive, send)
        try:
            room = await self._rooms.find(self._token)
            place = None if room is None else await self._rooms.enter(room, stream, self._after, stream.over)
        except Overloaded as error:
            refusal = _told(HTTPStatus.SERVICE_UNAVAILABLE, ClientError("overloaded", str(error)), error.retry_after_s)
            await refusal(scope, receive, send)
            return
        if place is None:
            await NO_ROOM.answer(scope, receive, send)
            return
        try:
            await stream.run()
        finally:
            self._rooms.leave(place)


async def _live(rooms: Rooms, request: Request) -> Response:
    token, after = _token(request), _after(request)
    if request.method == "HEAD":
        # Starlette takes it for GET; an answer without a body has no events.
        if await rooms.find(token) is None:
            raise NO_ROOM
        return Response(headers=NO_STORE, media_type="text/event-stream")
    return _Live(rooms, token, after)


def _after(request: Request) -> int:
    """The last final that the viewer has."""
    for field, said in (("Last-Event-ID", request.headers.get("last-event-id")),
                        ("after", request.query_params.get("after"))):
        if said:
            if not (said.isascii() and said.isdecimal() and len(said) < 20 and int(said) <= LARGEST_ID):
                raise ClientError("bad_field", f"{field} cannot be this", field=field, value=said,
                                  allowed="the id of a final")
            return int(said)
    return 0


def _saved(kind: str) -> Callable[[Rooms, Request], object]:
    async def answer(rooms: Rooms, request: Request) -> Response:
        found = await rooms.transcript(_token(request))
        if found is None:
            raise NO_ROOM
        media_type, render = KINDS[kind]
        # In a thread: a day's meeting takes a while, and sessions must not wait for that.
        content = await run_in_threadpool(render, found)
        name = quote(f"{found[0].name}.{kind}", safe="")
        return Response(content, headers={
            **NO_STORE, "X-Content-Type-Options": "nosniff",
            "Content-Disposition": f"attachment; filename=\"meeting.{kind}\"; filename*=UTF-8''{name}",
        }, media_type=media_type)

    return answer


def _lines(found: Transcript) -> list[subtitles.Line]:
    return [said.line(pieces) for said, pieces in found[1]]


def _as_json(found: Transcript) -> bytes:
    room, captions = found
    about = {"name": room.name, "began": moment(room.began_ms), "recorded": room.recorded,
             "ended": None if room.ended_ms is None else moment(room.ended_ms)}
    return msgspec.json.format(msgspec.json.encode(
        {**about, "captions": [{**said._asdict(), "pieces": pieces} for said, pieces in captions]}), indent=1) + b"\n"


KINDS: dict[str, tuple[str, Callable[[Transcript], str | bytes]]] = {
    "txt": ("text/plain; charset=utf-8", lambda found: subtitles.as_text(_lines(found))),
    "srt": ("application/x-subrip; charset=utf-8", lambda found: subtitles.as_srt(_lines(found))),
    "vtt": ("text/vtt; charset=utf-8", lambda found: subtitles.as_vtt(_lines(found))),
    "json": ("application/json", _as_json),
}


def _token(request: Request) -> str:
    return request.path_params["token"][:128]


async def _body(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A page of another site cannot send this type unasked.
        raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, ClientError(
            "bad_field", "the room is described in another type", field="Content-Type", value=kind,
            allowed="application/json"))
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for piece in request.stream():
                body += piece
                if len(body) > LONGEST_BODY:
                    raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ClientError(
                        "too_large", "the description is too long", allowed=f"{LONGEST_BODY} bytes"))
        return body.decode()
    except TimeoutError:
        raise _Refusal(HTTPStatus.REQUEST_TIMEOUT, ClientError(
            "start_timeout", "the description did not come in time", allowed=f"within {BODY_WITHIN_S:g} s")) from None
    except ClientDisconnect:
        raise _Refusal(HTTPStatus.BAD_REQUEST, ClientError("bad_state", "the client is gone")) from None
    except UnicodeDecodeError:
        raise ClientError("bad_json", "the description is not Unicode", allowed="a JSON object in UTF-8") from None


def _told(status: HTTPStatus, error: ClientError, retry_after_s: int | None = None) -> Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return JSONResponse({"type": "error", "code": error.code, "message": error.message, "fatal": True,
                         "field": error.field, "value": error.value, "allowed": error.allowed,
                         "retry_after_s": retry_after_s}, status, headers | NO_STORE)
