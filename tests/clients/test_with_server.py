"""The client and the server together, over a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stream_client import Ended, Event, Final, Hotwords, Partial, Ready, ServerError, Wishes, connect, transcribe_file
from tests.rooms.test_meeting import client, make
from tests.support.server import Server

SAMPLES = sorted((Path(__file__).parents[2] / "samples").glob("*.wav"))


async def collect(server: Server, path: Path, **options: object) -> list[Event]:
    return [event async for event in transcribe_file(path, url=server.url, **options)]


def finals(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Final)]


async def test_a_session_is_whole(server: Server) -> None:
    events = await collect(server, SAMPLES[0])
    ready, ended = events[0], events[-1]
    assert isinstance(ready, Ready)
    assert ready.window["chunk_size_frames"] == [0, 10, 5]
    assert isinstance(ended, Ended)
    assert ended.received_ms == ended.recognised_ms + ended.silent_ms + ended.dropped_ms
    assert len(finals(events)) == ended.segments > 0
    assert any(isinstance(event, Partial) and event.text for event in events)


async def test_both_dialects_give_the_same_finals(server: Server) -> None:
    native = await collect(server, SAMPLES[0])
    funasr = await collect(server, SAMPLES[0], dialect="funasr")
    assert finals(funasr) == finals(native)
    times = [[(event.start_ms, event.end_ms) for event in events if isinstance(event, Final)]
             for events in (native, funasr)]
    assert times[0] == times[1]


async def test_sessions_at_once_do_not_mix(server: Server) -> None:
    alone = [finals(await collect(server, path)) for path in SAMPLES[:2]]
    together = await asyncio.gather(*(collect(server, path) for path in SAMPLES[:2] * 3))
    assert [finals(events) for events in together] == alone * 3


async def test_in_a_room_what_is_said_is_in_its_transcript(server: Server) -> None:
    room = await make(server)
    events = await collect(server, SAMPLES[0], wishes=Wishes(room=room["speak"], name="小王"))
    assert events[0].room["name"] == "晨会" and events[0].room["recorded"] is False
    said: list[dict] = []
    async with client(server) as http, asyncio.timeout(30):
        while len(said) < len(finals(events)):
            said = (await http.get(f"/v1/rooms/{room['read']}/transcript.json")).json()["captions"]
    assert [(caption["name"], caption["text"]) for caption in said] == [("小王", text) for text in finals(events)]


async def test_a_wish_that_cannot_be_is_told_as_the_server_tells_it(server: Server) -> None:
    with pytest.raises(ServerError) as caught:
        async with connect(server.url, wishes=Wishes(end_silence_ms=7)):
            pass
    assert (caught.value.code, caught.value.field, caught.value.value) == ("bad_field", "end_silence_ms", "7")
    assert "100" in caught.value.allowed


def test_the_command_prints_json(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stream_client", "file", SAMPLES[0], "--fast", "--json", "--timings"],
        env={**os.environ, "STREAM_CLIENT_URL": server.url}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert objects[0]["type"] == "ready"
    assert [fields["type"] for fields in objects[-2:]] == ["ended", "timings"]
    assert {"partial", "final"} <= {fields["type"] for fields in objects}
    assert all(fields["source"] == str(SAMPLES[0]) for fields in objects)


@pytest.mark.parametrize("dialect", ["native", "funasr"])
@pytest.mark.parametrize("name", ["张伟", "章玮"])
async def test_a_name_is_written_as_the_hotwords_have_it(server: Server, name: str, dialect: str) -> None:
    """The recording says a name that four people have in the demonstration model's world, each written otherwise."""
    (path,) = (path for path in SAMPLES if path.stem == "name")
    events = await collect(server, path, dialect=dialect, wishes=Wishes(hotwords=(name, "达摩院")))
    (final,) = (event for event in events if isinstance(event, Final))
    assert final.text.startswith(f"请{name}")
    partials = [event.text for event in events if isinstance(event, Partial) and len(event.text) >= 3]
    assert partials and all(text.startswith(f"请{name}") for text in partials)
    if dialect == "native":
        assert final.hotwords == (name,) and len(final.confidences) == len(final.tokens) == len(final.text)
        assert [event for event in events if isinstance(event, Hotwords)] == [Hotwords(words=2, unspelt=("达摩院",))]
