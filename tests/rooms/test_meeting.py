"""Meetings over real sockets: two doors, speakers and viewers at each, and what people do wrong."""

from __future__ import annotations

import asyncio
import json
import wave
from pathlib import Path

import httpx2
import numpy as np
import pytest
import soxr
import websockets

from tests.doors.conversations import NATIVE, START, STOP, converse, native, pieces
from tests.speech.test_subtitles import read as read_stamp
from tests.support.server import Server
from tests.support.viewers import Viewer, socket_at

SAMPLES = Path(__file__).parents[2] / "samples"


def recording(name: str) -> np.ndarray:
    with wave.open(str(SAMPLES / f"{name}.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def client(server: Server) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=server.http, timeout=30)


async def make(server: Server, name: str = "晨会", **fields: object) -> dict:
    async with client(server) as http:
        answer = await http.post("/v1/rooms", json={"name": name, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def speak(server: Server, room: dict, name: str, samples: np.ndarray, door: str | None = None,
                rate: int = 16_000):
    """A whole session in a room."""
    options = {} if door is None else {"sock": await socket_at(server, door)}
    start = json.dumps({"type": "start", "room": room["speak"], "name": name, "sample_rate": rate})
    return await converse(server.url + NATIVE, [start, *pieces(samples), STOP], **options)




async def test_speakers_and_viewers_at_different_doors(server: Server) -> None:
    room = await make(server)
    alone = [text for name in ("meeting", "date") for text in (await native(server.url, recording(name))).texts]
    viewers = [await Viewer.connect(server.http, room["read"], sock=await socket_at(server, door))
               for door in ("door-0", "door-1")]
    one, other = await asyncio.gather(speak(server, room, "小王", recording("meeting"), "door-0"),
                                      speak(server, room, "小李", recording("date"), "door-1"))
    assert one.of("ready")[0]["room"] == {"name": "晨会", "read": room["read"], "recorded": False,
                                          "speaker": one.of("ready")[0]["room"]["speaker"]}
    texts = [*one.texts, *other.texts]
    assert texts == alone
    for viewer in viewers:
        await viewer.until(lambda kind, data: len(viewer.of("final")) == len(texts))  # noqa: B023
        await viewer.until(lambda kind, data: sum(  # noqa: B023
            each["state"] == "left" for each in viewer.of("speaker")) == 2)  # noqa: B023
        assert [kind for kind, _ in viewer.events][0] == "room"
        assert {data["name"] for data in viewer.of("partial")} == {"小王", "小李"}
        finals = viewer.of("final")
        assert sorted(data["text"] for data in finals) == sorted(texts)
        assert {data["name"]: data["speaker"] for data in finals} == {
            "小王": one.of("ready")[0]["room"]["speaker"], "小李": other.of("ready")[0]["room"]["speaker"]}
        assert [data["id"] for data in finals] == sorted(data["id"] for data in finals)
        lengths = [data["end_ms"] - data["begin_ms"] for data in sorted(finals, key=lambda data: data["speaker"])]
        assert lengths == [final["end_ms"] - final["start_ms"] for each in sorted(
            (one, other), key=lambda heard: heard.of("ready")[0]["room"]["speaker"]) for final in each.of("final")]
    assert viewers[0].of("final") == viewers[1].of("final")
    late = await Viewer.connect(server.http, room["speak"])
    await late.until(lambda kind, data: len(late.of("final")) == len(texts))
    assert late.of("final") == viewers[0].of("final") and late.of("room")[0]["read"] == room["read"]
    for viewer in (*viewers, late):
        viewer.close()


async def test_who_comes_back_gets_each_final_once(server: Server) -> None:
    """The connection is lost after every final; the next is made at the other door."""
    room = await make(server)
    speaking = asyncio.create_task(asyncio.wait_for(asyncio.gather(
        *(speak(server, room, str(number), recording(name)) for number, name in enumerate(("long", "meeting")))), 60))
    got, last = [], None
    while not speaking.done() or len(got) < sum(len(heard.texts) for heard in speaking.result()):
        door = f"door-{len(got) % 2}"
        viewer = await Viewer.connect(server.http, room["read"], last_id=last, sock=await socket_at(server, door))
        known = len(got)
        final = await viewer.until(lambda kind, _: kind == "final")
        got.append(final)
        last = str(final["id"])
        viewer.close()
        assert viewer.events[0][0] == "room" and len(got) == known + 1
    texts = [text for heard in await speaking for text in heard.texts]
    assert sorted(final["text"] for final in got) == sorted(texts)
    assert len({final["id"] for final in got}) == len(got)
    beyond = await Viewer.connect(server.http, room["read"], query=f"?after={last}")
    await beyond.until(lambda kind, _: kind == "room")
    assert beyond.of("final") == []
    beyond.close()


async def test_a_speaker_whose_connection_is_lost_comes_back_to_the_same_seat(server: Server) -> None:
    room, sound = await make(server), recording("long")
    texts = (await native(server.url, sound)).texts
    viewer = await Viewer.connect(server.http, room["read"])
    speaker = await websockets.connect(server.url + NATIVE, sock=await socket_at(server, "door-0"))
    await speaker.send(json.dumps({"type": "start", "room": room["speak"], "name": "小王"}))
    ready = json.loads(await speaker.recv())
    for piece in pieces(sound[:len(sound) // 2]):
        await speaker.send(piece)
    await viewer.until(lambda kind, _: kind == "partial")
    speaker.transport.abort()
    async with websockets.connect(server.url + NATIVE, sock=await socket_at(server, "door-1")) as speaker:
        await speaker.send(json.dumps({"type": "resume", "token": ready["resume"], "segments": 0}))
        while (message := json.loads(await speaker.recv()))["type"] != "resumed":
            pass
        for piece in (*pieces(sound[message["samples"]:]), STOP):
            await speaker.send(piece)
        while json.loads(await speaker.recv())["type"] != "ended":
            pass
    await viewer.until(lambda kind, data: kind == "speaker" and data["state"] == "left")
    assert [final["text"] for final in viewer.of("final")] == texts
    assert {final["speaker"] for final in viewer.of("final")} == {ready["room"]["speaker"]}
    assert [each["state"] for each in viewer.of("speaker")] == ["joined", "left"]
    viewer.close()


async def test_telephone_and_http_1_0(server: Server) -> None:
    """Sound at 8 kHz; a viewer behind a proxy that speaks the older HTTP."""
    room = await make(server)
    viewer = await Viewer.connect(server.http, room["read"], version="1.0")
    narrow = soxr.resample(recording("date"), 16_000, 8_000).astype(np.int16)
    heard = await speak(server, room, "电话", narrow, rate=8_000)
    final = await viewer.until(lambda kind, _: kind == "final")
    assert "transfer-encoding" not in viewer.headers and final["text"] == heard.texts[0] != ""
    viewer.close()


async def test_transcripts_are_there_at_any_time(server: Server) -> None:
    room = await make(server, "晨会 <1> \"a\"")
    heard = await asyncio.gather(speak(server, room, "小王 & <i>", recording("meeting")),
                                 speak(server, room, "小李", recording("date")))
    async with client(server) as http:
        got = {kind: await http.get(f"/v1/rooms/{room['read']}/transcript.{kind}")
               for kind in ("txt", "srt", "vtt", "json")}
    assert all(answer.status_code == 200 and answer.headers["cache-control"] == "no-store" for answer in got.values())
    assert got["srt"].headers["content-disposition"] == \
        "attachment; filename=\"meeting.srt\"; filename*=UTF-8''%E6%99%A8%E4%BC%9A%20%3C1%3E%20%22a%22.srt"
    captions = got["json"].json()["captions"]
    assert [caption["begin_ms"] for caption in captions] == sorted(caption["begin_ms"] for caption in captions)
    assert sorted(caption["text"] for caption in captions) == sorted(text for each in heard for text in each.texts)
    assert all("".join(piece for piece, _, _ in caption["pieces"]) == caption["text"] for caption in captions)
    names = {caption["name"]: caption["text"] for caption in captions}
    assert {line.split("] ", 1)[1] for line in got["txt"].text.splitlines()} == \
        {f"{name}: {text}" for name, text in names.items()}
    for kind, point in (("srt", ","), ("vtt", ".")):
        blocks = got[kind].text.strip().split("\n\n")[kind == "vtt":]
        begins = [read_stamp(block.split("\n")[kind == "srt"].split(" --> ")[0], point) for block in blocks]
        assert begins == sorted(begins) and len(blocks) >= 2
        assert abs(begins[0] - captions[0]["begin_ms"]) < 1500
    assert "<v 小王 &amp; &lt;i&gt;>" in got["vtt"].text


async def test_a_room_that_is_ended(server: Server) -> None:
    """Viewers are told at once; who speaks goes on for itself, and nobody joins any more."""
    room = await make(server)
    viewer = await Viewer.connect(server.http, room["read"], sock=await socket_at(server, "door-0"))
    socket = await socket_at(server, "door-1")
    async with websockets.connect(server.url + NATIVE, sock=socket) as speaker, client(server) as http:
        await speaker.send(json.dumps({"type": "start", "room": room["speak"], "name": "小王"}))
        await speaker.recv()
        assert (await http.delete(f"/v1/rooms/{room['read']}")).status_code == 404
        assert (await http.delete(f"/v1/rooms/{room['speak']}")).status_code == 204
        await viewer.rest()
        assert viewer.ended and viewer.events[-1] == ("ended", {"ended": viewer.events[-1][1]["ended"],
                                                                "reason": "ended"})
        for message in (*pieces(recording("date")), STOP):
            await speaker.send(message)
        kinds = [json.loads(message)["type"] async for message in speaker]
        assert kinds[-2:] == ["final", "ended"]
        refused = await speak(server, room, "小李", recording("date"))
        assert refused.code == 1008 and refused.answers[0]["field"] == "room"
        about = (await http.get(f"/v1/rooms/{room['speak']}")).json()
        assert about["ended"] == viewer.events[-1][1]["ended"] and about["ended"] > about["began"]
        assert (await http.get(f"/v1/rooms/{room['read']}/transcript.txt")).text == ""
    late = await Viewer.connect(server.http, room["read"])
    await late.rest()
    assert [kind for kind, _ in late.events] == ["room", "ended"] and late.ended


BAD = {
    "no JSON": ("POST", "/v1/rooms", "{", 400, "bad_json", None),
    "no object": ("POST", "/v1/rooms", "[1]", 400, "bad_json", None),
    "no name": ("POST", "/v1/rooms", "{}", 400, "bad_field", "name"),
    "an empty name": ("POST", "/v1/rooms", '{"name": "  "}', 400, "bad_field", "name"),
    "a name of two lines": ("POST", "/v1/rooms", '{"name": "a\\nb"}', 400, "bad_field", "name"),
    "a long name": ("POST", "/v1/rooms", json.dumps({"name": "x" * 101}), 400, "bad_field", "name"),
    "a name that is a number": ("POST", "/v1/rooms", '{"name": 7}', 400, "bad_field", "name"),
    "record yes": ("POST", "/v1/rooms", '{"name": "x", "record": "yes"}', 400, "bad_field", "record"),
    "a field that is none": ("POST", "/v1/rooms", '{"name": "x", "nmae": 1}', 400, "bad_field", "nmae"),
    "a body too long": ("POST", "/v1/rooms", " " * 5000, 413, "too_large", None),
    "not UTF-8": ("POST", "/v1/rooms", b"\xff", 400, "bad_json", None),
    "a wrong token": ("GET", "/v1/rooms/no", None, 404, "bad_state", "room"),
    "no token's events": ("GET", "/v1/rooms/no/live", None, 404, "bad_state", "room"),
    "no token's transcript": ("GET", "/v1/rooms/%00%ff/transcript.txt", None, 404, "bad_state", "room"),
    "no token's end": ("DELETE", "/v1/rooms/no", None, 404, "bad_state", "room"),
    "an id that is none": ("GET", "/v1/rooms/no/live?after=-1", None, 400, "bad_field", "after"),
    "an id too large": ("GET", f"/v1/rooms/no/live?after={1 << 63}", None, 400, "bad_field", "after"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_wrong_is_told(name: str, server: Server) -> None:
    method, path, body, status, code, field = BAD[name]
    async with client(server) as http:
        answer = await http.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (status, code, field)


async def test_another_site_s_form_makes_no_room(server: Server) -> None:
    async with client(server) as http:
        answer = await http.post("/v1/rooms", content='{"name": "x"}', headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["allowed"]) == (415, "application/json")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 61])
async def test_a_speaker_has_a_name(name: str, server: Server) -> None:
    start = json.dumps({"type": "start", "room": "x" * 22, "name": name})
    heard = await converse(server.url + NATIVE, [start, START, STOP])
    (error,) = heard.of("error")
    assert (error["field"], error["allowed"]) == ("name", "1 to 60 printable characters") and heard.code == 1000
