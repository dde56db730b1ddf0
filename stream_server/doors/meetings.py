"""Meetings over HTTP: made, read, saved and ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import quote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from stream_server.dialects.document import read_object
from stream_server.dialects.ranges import is_name
from stream_server.doors.requests import NO_STORE, Body, Endpoint, Refusal, answering, read_body, refused
from stream_server.doors.sse import EventStream
from stream_server.errors import ClientError, Overloaded
from stream_server.rooms.events import described, moment
from stream_server.rooms.rooms import Rooms
from stream_server.rooms.store import Transcript
from stream_server.speech import subtitles

PATH = "/v1/rooms"
LONGEST_NAME = 100
DESCRIPTION = Body("application/json", 4 << 10, "the description", not_text="bad_json")
"""A page of another site cannot send this type unasked."""
LARGEST_ID = (1 << 63) - 1

Answer = Callable[[Rooms, Request], Awaitable[Response]]


def routes(rooms: Rooms | None) -> list[BaseRoute]:
    """What is served under PATH. Errors are JSON like the native protocol's."""

    def of_rooms(answer: Answer) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            if rooms is None:
                raise Refusal(HTTPStatus.NOT_FOUND, ClientError("unsupported", "there are no rooms here"))
            return await answer(rooms, request)

        return answering(endpoint)

    return [Route(PATH, of_rooms(_create), methods=["POST"]),
            Route(PATH + "/{token}", of_rooms(_about), methods=["GET"]),
            Route(PATH + "/{token}", of_rooms(_end), methods=["DELETE"]),
            Route(PATH + "/{token}/live", of_rooms(_live), methods=["GET"]),
            *(Route(PATH + "/{token}/transcript." + kind, of_rooms(_saved(kind)), methods=["GET"]) for kind in KINDS)]


def _no_room() -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, ClientError("bad_state", "there is no such room, or no more", field="room"))


async def _create(rooms: Rooms, request: Request) -> Response:
    fields = read_object(await read_body(request, DESCRIPTION), DESCRIPTION.longest)
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
        raise _no_room()
    return JSONResponse(described(scene.room, scene.speakers), headers=NO_STORE)


async def _end(rooms: Rooms, request: Request) -> Response:
    if not await rooms.end(_token(request)):
        raise _no_room()
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
            await refused(error)(scope, receive, send)
            return
        if place is None:
            await refused(_no_room())(scope, receive, send)
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
            raise _no_room()
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


def _saved(kind: str) -> Answer:
    async def answer(rooms: Rooms, request: Request) -> Response:
        found = await rooms.transcript(_token(request))
        if found is None:
            raise _no_room()
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
