"""Offers over HTTP and what is answered, in this process and without an engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiortc
import httpx2
import pytest

from stream_server.config import ServeSettings, SessionLimits, WebRtcSettings
from stream_server.doors import whip
from stream_server.doors.http import Health, create_http
from stream_server.doors.link import Link
from stream_server.doors.neighbours import Neighbours
from stream_server.doors.webrtc import WebRtc
from tests.doors.test_driver import Counter

TURN = {"ice_servers": ("stun:127.0.0.1:9", "turn:127.0.0.1:9?transport=tcp"), "turn_username": "u",
        "turn_credential": "p"}
SDP = {"Content-Type": "application/sdp"}


class Door:
    """The HTTP side of a door whose connections last until their client goes."""

    def __init__(self, runtime: Path, name: str = "door-0", **settings: object) -> None:
        self.counter = Counter()
        self.served: list[Link] = []
        self.webrtc = WebRtc(self._serve, WebRtcSettings(**settings), SessionLimits(), self.counter)
        self.neighbours = Neighbours(runtime, name, ("door-0", "door-1"), self.webrtc.end)
        app = create_http(Health(), lambda: b"", whip.routes(self.webrtc, self.neighbours))
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://door")

    async def _serve(self, link: Link) -> None:
        self.served.append(link)
        await link.lost

    async def offer(self, sdp: str | bytes) -> httpx2.Response:
        return await self.http.post(whip.PATH, content=sdp, headers=SDP)


@asynccontextmanager
async def door(runtime: Path, name: str = "door-0", **settings: object) -> AsyncIterator[Door]:
    made = Door(runtime, name, **settings)
    await made.neighbours.listen()
    try:
        yield made
    finally:
        made.neighbours.close()
        await made.webrtc.close()
        await made.http.aclose()


@asynccontextmanager
async def client() -> AsyncIterator[aiortc.RTCPeerConnection]:
    """A client with an offer made."""
    connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    connection.addTransceiver(aiortc.mediastreams.AudioStreamTrack(), direction="sendonly")
    connection.createDataChannel("captions")
    await connection.setLocalDescription(await connection.createOffer())
    try:
        yield connection
    finally:
        await connection.close()


async def until(holds) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("body", "kind", "status", "code"), [
    ("v=0", "text/plain", 415, "bad_field"),
    ("v=0\r\n", "application/sdp", 400, "bad_field"),
    (b"\xff\xfe", "application/sdp", 400, "bad_field"),
    ("a=x\r\n" * 20_000, "application/sdp", 413, "too_large"),
    ("v=0\r\nm=audio 9 x 111\r\nm=video 9 x 96\r\nm=application 9 x y\r\n", "application/sdp", 400, "bad_field"),
    ("v=0\r\nm=audio 9 x 111\r\nm=application 9 x webrtc-datachannel\r\n", "application/sdp", 400, "bad_field"),
], ids=["type", "no media", "no text", "too long", "video", "broken"])
async def test_offers_that_cannot_be_answered_are_told_why(tmp_path: Path, body: str | bytes, kind: str, status: int,
                                                           code: str) -> None:
    async with door(tmp_path) as made:
        answer = await made.http.post(whip.PATH, content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["allowed"]


async def test_an_offer_names_a_bounded_number_of_addresses(tmp_path: Path) -> None:
    async with door(tmp_path) as made, client() as connection:
        offer = connection.localDescription.sdp + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 33
        answer = await made.offer(offer)
    assert (answer.status_code, answer.json()["field"], answer.json()["allowed"]) == (400, "offer", "32 candidates")
    assert answer.json()["value"].endswith("candidates")


async def test_without_opus_there_is_no_answer(tmp_path: Path) -> None:
    async with door(tmp_path) as made, client() as connection:
        offer = connection.localDescription.sdp.replace("opus/48000/2", "speex/16000")
        answer = await made.offer(offer)
    assert answer.status_code == 400 and "Opus" in answer.json()["allowed"]


async def test_an_offer_is_answered_connects_and_ends_when_the_client_says_so(tmp_path: Path) -> None:
    async with door(tmp_path) as made, client() as connection:
        answer = await made.offer(connection.localDescription.sdp)
        assert (answer.status_code, answer.headers["Content-Type"]) == (201, "application/sdp")
        await connection.setRemoteDescription(aiortc.RTCSessionDescription(answer.text, "answer"))
        await until(lambda: made.served)
        assert (await made.http.delete(answer.headers["Location"])).status_code == 204
        await until(lambda: made.served[0].lost.done())
        assert (await made.http.delete(answer.headers["Location"])).status_code in (204, 404)
        await until(lambda: connection.connectionState == "closed")


async def test_a_client_that_just_goes_is_noticed(tmp_path: Path) -> None:
    async with door(tmp_path) as made, client() as connection:
        answer = await made.offer(connection.localDescription.sdp)
        await connection.setRemoteDescription(aiortc.RTCSessionDescription(answer.text, "answer"))
        await until(lambda: made.served)
        await connection.close()
        await until(lambda: made.served[0].lost.done())


async def test_any_door_ends_a_connection_and_knows_no_other_names(tmp_path: Path) -> None:
    async with door(tmp_path) as first, door(tmp_path, "door-1") as second, client() as connection:
        location = (await first.offer(connection.localDescription.sdp)).headers["Location"]
        name = location.rsplit("/", 1)[1]
        for wrong in (f"door-1/{name}", f"door-2/{name}", "door-0/nonesuch", f"..%2Fdoor-0/{name}",
                      "door-0/" + "a" * 1000):
            assert (await second.http.delete(f"{whip.PATH}/{wrong}")).status_code == 404
        assert (await second.http.delete(location)).status_code == 204
        first.neighbours.close()
        (tmp_path / "door-0.neighbours").unlink()
        assert (await second.http.delete(location)).status_code == 404


async def test_offers_that_never_connect_are_let_go_and_too_many_are_refused(tmp_path: Path) -> None:
    async with door(tmp_path, connect_timeout_s=0.5, most_connecting=1) as made, client() as connection:
        offer = connection.localDescription.sdp
        answers = await asyncio.gather(*(made.offer(offer) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [201, 503, 503]
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert refused.headers["Retry-After"] == "2" and refused.json()["code"] == "overloaded"
        await until(lambda: made.counter.errors == ["never_connected"])
        async with asyncio.timeout(20):
            while (await made.offer(offer)).status_code != 201:
                await asyncio.sleep(0.05)
    assert made.served == []


@pytest.mark.parametrize("fault", ["raises", "hangs"])
async def test_connections_that_do_not_close_are_forgotten(tmp_path: Path, monkeypatch, fault: str) -> None:
    class Broken:
        peer, connected = "client", False

        def end(self) -> None:
            pass

        async def link(self, within_s: float) -> None:
            return None

        async def close(self) -> None:
            if fault == "raises":
                raise OSError("no socket")
            await asyncio.Event().wait()

    monkeypatch.setattr("stream_server.doors.webrtc.CLOSE_TIMEOUT_S", 0.05)
    async with door(tmp_path) as made:
        made.webrtc._connections["a"] = Broken()
        await made.webrtc._hold("a", made.webrtc._connections["a"])
        assert made.webrtc._connections == {}
        made.webrtc._connections["b"] = Broken()
        await made.webrtc.close()


async def test_a_door_that_ends_takes_no_offers(tmp_path: Path) -> None:
    async with door(tmp_path) as made, client() as connection:
        made.webrtc.draining = True
        assert (await made.offer(connection.localDescription.sdp)).status_code == 503


async def test_switched_off_it_says_so(tmp_path: Path) -> None:
    async with door(tmp_path, offered="off") as made:
        answer = await made.offer("v=0")
        assert (answer.status_code, answer.json()["code"]) == (404, "unsupported")
        assert not (await made.http.get(whip.PATH)).json()["offered"]


async def test_clients_are_told_the_ice_servers(tmp_path: Path) -> None:
    async with door(tmp_path, **TURN) as made:
        said = (await made.http.get(whip.PATH)).json()
    assert said == {"offered": True, "ice_servers": [
        {"urls": "stun:127.0.0.1:9"}, {"urls": "turn:127.0.0.1:9?transport=tcp", "username": "u", "credential": "p"}]}


@pytest.mark.parametrize("wrong", [{"ice_servers": ["stun:"]}, {"ice_servers": ["https://x"]},
                                   {"ice_servers": ["turn:host"]}, {"ice_servers": ["turn:host?transport=sctp"]}])
def test_ice_servers_are_checked_when_the_server_starts(wrong: dict) -> None:
    with pytest.raises(ValueError, match="ice_servers|webrtc-turn-username"):
        ServeSettings.model_validate_json(json.dumps({"webrtc": wrong}))
