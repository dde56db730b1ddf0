"""Offers and answers of WebRTC over HTTP, after WHIP (RFC 9725)."""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus

from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stream_server.doors import parcels
from stream_server.doors.neighbours import Neighbours
from stream_server.doors.webrtc import WebRtc
from stream_server.errors import ClientError, Overloaded

log = logging.getLogger(__name__)

PATH = "/v1/webrtc"
OFFER = "offer"
"""The service of `answer_neighbour`."""
SDP_TYPE = "application/sdp"
LONGEST_OFFER = 64 << 10
BODY_WITHIN_S = 10.0
ANSWER_WITHIN_S = 12.0
LONGEST_NAME = 64


class _Refusal(Exception):
    """An answer other than the one hoped for."""

    def __init__(self, status: HTTPStatus, error: ClientError) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error


def routes(webrtc: WebRtc, neighbours: Neighbours) -> list[Route]:
    """What is served under PATH. Errors are JSON like the native protocol's."""

    async def about(_: Request) -> Response:
        # Who asks this makes an offer soon: aiortc is loaded meanwhile.
        settings = webrtc.settings
        server = {"username": settings.turn_username, "credential": settings.turn_credential}
        return JSONResponse({"offered": settings.offered == "on",
                             "ice_servers": [{"urls": url, **(server if url.startswith("turn") else {})}
                                             for url in settings.ice_servers]}, headers={"Cache-Control": "no-store"},
                            background=BackgroundTask(webrtc.load) if settings.offered == "on" else None)

    async def offer(request: Request) -> Response:
        try:
            if webrtc.settings.offered == "off":
                raise _Refusal(HTTPStatus.NOT_FOUND, ClientError("unsupported", "WebRTC is switched off here",
                                                                 allowed="the WebSocket at /v1/stream"))
            door, name, answer = await _answer(webrtc, neighbours, await _body(request), _peer(request),
                                               request.query_params.get("resume", ""))
        except _Refusal as refusal:
            return _told(refusal.status, refusal.error)
        except ClientError as error:
            return _told(HTTPStatus.BAD_REQUEST, error)
        except Overloaded as error:
            return _told(HTTPStatus.SERVICE_UNAVAILABLE, ClientError("overloaded", str(error)), error.retry_after_s)
        return Response(answer, HTTPStatus.CREATED, {"Location": f"{PATH}/{door}/{name}"},
                        media_type=SDP_TYPE)

    async def end(request: Request) -> Response:
        door, name = request.path_params["door"], request.path_params["name"]
        if len(name) <= LONGEST_NAME and name.isascii() and await neighbours.end(door, name):
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return _told(HTTPStatus.NOT_FOUND, ClientError("bad_state", "there is no such connection, or no more"))

    return [Route(PATH, about, methods=["GET"]), Route(PATH, offer, methods=["POST"]),
            Route(PATH + "/{door}/{name}", end, methods=["DELETE"])]


async def answer_neighbour(webrtc: WebRtc, peer: str, reader: asyncio.StreamReader,
                           writer: asyncio.StreamWriter) -> None:
    """The service by which another door passes on an offer whose session is here."""
    parcel = await parcels.read(reader)
    if parcel is None:
        return
    try:
        name, answer = await webrtc.answer(parcel[1].decode(), peer)
        said = {"name": name, "answer": answer}
    except ClientError as error:
        said = {"refused": [error.code, error.message, error.field, error.value, error.allowed]}
    except Overloaded as error:
        said = {"overloaded": [str(error), error.retry_after_s]}
    parcels.write(writer, parcels.TEXT, json.dumps(said).encode())
    await writer.drain()


async def _answer(webrtc: WebRtc, neighbours: Neighbours, sdp: str, peer: str, token: str) -> tuple[str, str, str]:
    """Door, name and answer for an offer: by the door that has the session to be resumed, so that media goes there.

    Where that door is away this one answers; it says then that the session is gone. Raises ClientError and Overloaded.
    """
    door = neighbours.elsewhere(token)
    said = None if door is None else await _ask(neighbours, door, sdp, peer)
    if said is None:
        return neighbours.name, *await webrtc.answer(sdp, peer)
    if "refused" in said:
        code, message, field, value, allowed = said["refused"]
        raise ClientError(code, message, field=field, value=value, allowed=allowed)
    if "overloaded" in said:
        message, retry_after_s = said["overloaded"]
        raise Overloaded(message, retry_after_s=retry_after_s)
    return door, said["name"], said["answer"]


async def _ask(neighbours: Neighbours, door: str, sdp: str, peer: str) -> dict | None:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            reader, writer = await neighbours.ask(door, OFFER, peer)
            try:
                parcels.write(writer, parcels.TEXT, sdp.encode())
                parcel = await parcels.read(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        log.warning("%s does not answer an offer: %s", door, error)
        return None
    return None if parcel is None else json.loads(parcel[1])


async def _body(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != SDP_TYPE:
        raise _Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, ClientError(
            "bad_field", "the offer is of another type", field="Content-Type", value=kind, allowed=SDP_TYPE))
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for piece in request.stream():
                body += piece
                if len(body) > LONGEST_OFFER:
                    raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ClientError(
                        "too_large", "the offer is too long", field="offer", allowed=f"{LONGEST_OFFER} bytes"))
        return body.decode()
    except TimeoutError:
        raise _Refusal(HTTPStatus.REQUEST_TIMEOUT, ClientError(
            "start_timeout", "the offer did not come in time", field="offer",
            allowed=f"within {BODY_WITHIN_S:g} s")) from None
    except ClientDisconnect:
        raise _Refusal(HTTPStatus.BAD_REQUEST, ClientError("bad_state", "the client is gone")) from None
    except UnicodeDecodeError:
        raise ClientError("bad_field", "the offer is no text", field="offer", allowed="UTF-8") from None


def _peer(request: Request) -> str:
    return "{}:{}".format(*request.client) if request.client else "?"


def _told(status: HTTPStatus, error: ClientError, retry_after_s: int | None = None) -> Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return JSONResponse({"type": "error", "code": error.code, "message": error.message, "fatal": True,
                         "field": error.field, "value": error.value, "allowed": error.allowed,
                         "retry_after_s": retry_after_s}, status, headers)
