"""Requests' bodies and refusals, without a server."""

from __future__ import annotations

import asyncio
import gc
import json
from http import HTTPStatus
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from stream_server.doors import requests
from stream_server.doors.meetings import PATH, routes
from stream_server.doors.requests import Body, Refusal, answering, read_body
from stream_server.errors import ClientError, Overloaded
from tests.rooms.onlooker import Onlooker
from tests.rooms.test_rooms import a_door

BODY = Body("text/plain", 1_000, "the letter", "letter", not_text="bad_json")


class Sender:
    """Sends its pieces, then says nothing more."""

    def __init__(self, *pieces: bytes, gone: bool = False, kind: str = "Text/Plain; charset=utf-8",
                 whole: bool = False) -> None:
        self.pieces = list(pieces)
        self._gone = gone
        self._whole = whole
        self.request = Request({"type": "http", "method": "POST", "path": "/",
                                "headers": [(b"content-type", kind.encode())]}, self._receive)

    async def _receive(self) -> dict:
        await asyncio.sleep(0)
        if self.pieces:
            piece = self.pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or not self._whole}
        if self._gone:
            return {"type": "http.disconnect"}
        return await asyncio.Event().wait()


async def told(sender: Sender) -> tuple[int, dict]:
    """Status and error of what reads the sender's letter."""
    async def answer(request: Request) -> Response:
        return Response(await read_body(request, BODY))

    answered = await answering(answer)(sender.request)
    assert answered.headers["cache-control"] == "no-store"
    return answered.status_code, json.loads(answered.body)


async def test_a_body_comes_in_pieces() -> None:
    assert await read_body(Sender("你".encode()[:1], "你".encode()[1:], b"!", whole=True).request, BODY) == "你!"


async def test_no_more_is_read_than_may_be() -> None:
    sender = Sender(*[bytes(600)] * 1_000)
    status, error = await told(sender)
    assert (status, error["code"], error["field"], error["allowed"]) == (413, "too_large", "letter", "1000 bytes")
    assert error["message"] == "the letter is too long" and len(sender.pieces) == 998


@pytest.mark.parametrize(("sender", "status", "code", "field"), [
    (Sender(b"x", whole=True, kind="application/json"), 415, "bad_field", "Content-Type"),
    (Sender(b"\xff", whole=True), 400, "bad_json", "letter"),
    (Sender(b"x", gone=True), 400, "bad_state", None),
], ids=["type", "no text", "gone"])
async def test_what_cannot_be_read_is_told(sender: Sender, status: int, code: str, field: str | None) -> None:
    answer, error = await told(sender)
    assert (answer, error["code"], error["field"]) == (status, code, field)


async def test_a_body_is_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_WITHIN_S", 0.05)
    async with asyncio.timeout(30):
        status, error = await told(Sender(b"x"))
    assert (status, error["code"], error["allowed"]) == (408, "start_timeout", "within 0.05 s")


@pytest.mark.parametrize(("raised", "status", "code", "retry"), [
    (Refusal(HTTPStatus.NOT_FOUND, ClientError("bad_state", "none")), 404, "bad_state", None),
    (ClientError("bad_field", "no"), 400, "bad_field", None),
    (Overloaded("full", retry_after_s=7), 503, "overloaded", "7"),
])
async def test_errors_are_answers(raised: Exception, status: int, code: str, retry: str | None) -> None:
    async def answer(request: Request) -> Response:
        raise raised

    answered = await answering(answer)(Sender().request)
    error = json.loads(answered.body)
    assert (answered.status_code, error["code"], error["fatal"]) == (status, code, True)
    assert (answered.headers.get("retry-after"), error["retry_after_s"]) == (retry, retry and int(retry))


@pytest.mark.parametrize("offered", [True, False])
async def test_who_was_refused_is_forgotten(tmp_path: Path, offered: bool) -> None:
    async with a_door(tmp_path, Onlooker()) as rooms:
        about = next(route for route in routes(rooms if offered else None)
                     if route.path == PATH + "/{token}" and "GET" in route.methods)
        for number in range(20):
            scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "path_params": {"token": str(number)}}
            assert (await about.endpoint(Request(scope))).status_code == 404
    gc.collect()
    kept = [each for each in gc.get_objects() if type(each) is Request and "path_params" in each.scope]
    assert len(kept) <= 1
