"""Offers and answers of WebRTC over HTTP, after WHIP (RFC 9725)."""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stream_server.doors import parcels
from stream_server.doors.neighbours import Neighbours
from stream_server.doors.requests import NO_STORE, Body, Refusal, answering, read_body
from stream_server.doors.webrtc import WebRtc
from stream_server.errors import ClientError, Overloaded

log = logging.getLogger(__name__)

PATH = "/v1/webrtc"
OFFER = "offer"
"""The service of `answer_neighbour`."""
SDP_TYPE = "application/sdp"
OFFER_BODY = Body(SDP_TYPE, 64 << 10, "the offer", "offer")
ANSWER_WITHIN_S = 12.0
LONGEST_NAME = 64


def routes(webrtc: WebRtc, neighbours: Neighbours) -> list[Route]:
    """What is served under PATH. Errors are JSON like the native protocol's."""

    async def about(_: Request) -> Response:
        # Who asks this makes an offer soon: aiortc is loaded meanwhile.
        settings = webrtc.settings
        server = {"username": settings.turn_username, "credential": settings.turn_credential}
        return JSONResponse({"offered": settings.offered == "on",
                             "ice_servers": [{"urls": url, **(server if url.startswith("turn") else {})}
                                             for url in settings.ice_servers]}, headers=NO_STORE,
                            background=BackgroundTask(webrtc.load) if settings.offered == "on" else None)

    async def offer(request: Request) -> Response:
        if webrtc.settings.offered == "off":
            raise Refusal(HTTPStatus.NOT_FOUND, ClientError("unsupported", "WebRTC is switched off here",
                                                            allowed="the WebSocket at /v1/stream"))
        sdp = await read_body(request, OFFER_BODY)
        door, name, answer = await _answer(webrtc, neighbours, sdp, _peer(request),
                                           request.query_params.get("resume", ""))
        return Response(answer, HTTPStatus.CREATED, {"Location": f"{PATH}/{door}/{name}"}, media_type=SDP_TYPE)

    async def end(request: Request) -> Response:
        door, name = request.path_params["door"], request.path_params["name"]
        if len(name) <= LONGEST_NAME and name.isascii() and await neighbours.end(door, name):
            return Response(status_code=HTTPStatus.NO_CONTENT)
        raise Refusal(HTTPStatus.NOT_FOUND, ClientError("bad_state", "there is no such connection, or no more"))

    return [Route(PATH, about, methods=["GET"]), Route(PATH, answering(offer), methods=["POST"]),
            Route(PATH + "/{door}/{name}", answering(end), methods=["DELETE"])]


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


def _peer(request: Request) -> str:
    return "{}:{}".format(*request.client) if request.client else "?"
