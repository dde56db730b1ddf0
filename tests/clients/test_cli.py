"""The commands as a user runs them: processes, exit codes, what is printed where."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.scripted_server import Script, scripted_server
from tests.clients.sounds import write_audio, write_video

CLIENTS = Path(__file__).parents[2] / "clients"
FAKE_SOUNDDEVICE = '''
import threading
class PortAudioError(Exception): pass
class RawInputStream:
    def __init__(self, samplerate, blocksize, channels, dtype, device, callback):
        if device == 9: raise PortAudioError("Error querying device 9")
        self.callback, self.over, self.device = callback, threading.Event(), device
    def __enter__(self):
        if self.device == 8: raise PortAudioError("Device 8 unavailable")
        threading.Thread(target=self.run, daemon=True).start()
    def run(self):
        while not self.over.wait(0.005): self.callback(memoryview(bytes(1920)), 960, None, None)
    def __exit__(self, *error): self.over.set()
'''


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


async def client(*arguments: object, path: Path | None = None) -> Outcome:
    process = await start(*arguments, path=path)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return Outcome(process.returncode, out.decode(), err.decode())


async def start(*arguments: object, path: Path | None = None, stdout: int = asyncio.subprocess.PIPE):
    places = os.pathsep.join(str(place) for place in (path, CLIENTS) if place is not None)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stream_client", *map(str, arguments),
        stdout=stdout, stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": places, "COLUMNS": "60"},
    )  # fmt: skip


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    return write_audio(tmp_path / "speech.wav", "pcm_s16le", seconds=2.1)


async def test_finals_are_plain_lines_where_there_is_no_terminal(speech: Path) -> None:
    async with scripted_server(Script()) as url:
        outcome = await client("file", speech, "--fast", "--url", url)
    assert outcome == Outcome(0, "[00:00.0 – 00:01.8] 今天天气很好。\n", "")


async def test_a_terminal_shows_partials_too(speech: Path) -> None:
    controller, terminal = pty.openpty()
    try:
        async with scripted_server(Script()) as url:
            process = await start("file", speech, "--fast", "--url", url, stdout=terminal)
            await asyncio.wait_for(process.communicate(), 30)
        shown = os.read(controller, 10_000).decode()
    finally:
        os.close(controller)
        os.close(terminal)
    assert "今天天气\x1b[0m\r\x1b[2K" in shown
    assert shown.endswith("[00:00.0 – 00:01.8] 今天天气很好。\r\n")


async def test_json_is_one_object_a_line(speech: Path) -> None:
    async with scripted_server(Script()) as url:
        outcome = await client("file", speech, "--fast", "--json", "--timings", "--url", url)
    assert outcome.code == 0
    kinds = [fields["type"] for fields in outcome.objects]
    assert kinds == ["ready", "partial", "partial", "partial", "final", "ended", "timings"]
    assert outcome.objects[3] == {
        "type": "partial", "segment": 0, "revision": 3, "text": "今天天气很好", "stable": 4, "start_ms": 0,
        "end_ms": 1800, "tokens": [], "confidences": [], "source": str(speech),
    }  # fmt: skip
    assert outcome.objects[4]["tokens"] == [["今", 0, 300]]
    timings = outcome.objects[-1]
    assert timings["audio_s"] == 2.1
    assert timings["first_partial_ms"] >= 0
    assert timings["final_ms"] is not None


async def test_funasr_dialect_prints_the_same_texts(speech: Path) -> None:
    async with scripted_server(Script(funasr_python_style=True)) as url:
        native = await client("file", speech, "--fast", "--json", "--url", url)
        funasr = await client("file", speech, "--fast", "--json", "--url", url, "--dialect", "funasr")
    assert funasr.code == 0
    assert [(o["type"], o.get("text")) for o in funasr.objects] == [(o["type"], o.get("text")) for o in native.objects]


async def test_wishes_reach_the_server(speech: Path) -> None:
    script = Script()
    async with scripted_server(script) as url:
        options = "--vad none --end-silence-ms 500 --max-segment-ms 9000 --chunk-size 3200 --hop-size 1600"
        await client("file", speech, "--fast", "--url", url, *options.split())
    wishes = script.seen[0]
    assert (wishes["vad"], wishes["end_silence_ms"], wishes["max_segment_ms"]) == ("none", 500, 9000)
    assert (wishes["chunk_size"], wishes["hop_size"]) == (3200, 1600)


@pytest.mark.parametrize("room", ["tok-en_1", "https://host:8443/?speak=tok-en_1", "host/?speak=tok-en_1#top"])
async def test_a_meeting_is_spoken_in_by_its_token_or_link(speech: Path, room: str) -> None:
    script = Script(room={"name": "晨会", "read": "r", "speaker": 7, "recorded": True})
    async with scripted_server(script) as url:
        outcome = await client("file", speech, "--fast", "--url", url, "--room", room, "--name", "小王")
    assert (script.seen[0]["room"], script.seen[0]["name"]) == ("tok-en_1", "小王")
    assert (outcome.code, outcome.err) == (0, "speaking in the meeting 晨会; its sound is kept\n")


async def test_files_go_one_after_another_past_a_bad_one(speech: Path, tmp_path: Path) -> None:
    silent = write_video(tmp_path / "silent.mp4", with_audio=False)
    async with scripted_server(Script()) as url:
        outcome = await client("file", speech, silent, tmp_path / "away.wav", speech, "--fast", "--url", url)
    assert outcome.code == 1
    assert outcome.out.count("今天天气很好。") == 2
    assert outcome.err == (
        f"stream-client: {silent}: there is no audio in this file\n"
        f"stream-client: {tmp_path}/away.wav: there is no such file\n"
    )


async def test_files_together_are_named(speech: Path, tmp_path: Path) -> None:
    other = write_audio(tmp_path / "other.wav", "pcm_s16le", seconds=2.1)
    async with scripted_server(Script()) as url:
        outcome = await client("file", speech, other, "--fast", "--together", "--url", url)
    assert outcome.code == 0
    line = "[00:00.0 – 00:01.8] 今天天气很好。"
    assert sorted(outcome.out.splitlines()) == sorted([f"{other}: {line}", f"{speech}: {line}"])


async def test_of_files_together_those_that_fail_are_named(speech: Path, tmp_path: Path) -> None:
    other = write_audio(tmp_path / "other.wav", "pcm_s16le", seconds=0.2)
    full = {"code": "overloaded", "message": "full", "fatal": True, "retry_after_s": 5}
    async with scripted_server(Script(refuse=full)) as url:
        outcome = await client("file", speech, other, tmp_path / "away.wav", "--fast", "--together", "--url", url)
    assert outcome.code == 1
    assert sorted(outcome.err.splitlines()) == sorted([
        f"stream-client: {other}: full; try again in 5 s", f"stream-client: {speech}: full; try again in 5 s",
        f"stream-client: {tmp_path}/away.wav: there is no such file"])


async def test_real_time_takes_as_long_as_the_speech(tmp_path: Path) -> None:
    short = write_audio(tmp_path / "short.wav", "pcm_s16le", seconds=0.9)
    async with scripted_server(Script()) as url:
        outcome = await client("file", short, "--json", "--timings", "--url", url)
    assert 0.9 <= outcome.objects[-1]["elapsed_s"] < 1.6


async def test_no_server_is_one_sentence(speech: Path, unused_port: int) -> None:
    outcome = await client("file", speech, "--url", f"ws://127.0.0.1:{unused_port}")
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err == (
        f"stream-client: no server answers at ws://127.0.0.1:{unused_port}/v1/stream (connection refused); "
        "start it with `stream-server serve`\n"
    )


async def test_a_refusal_is_one_sentence_or_object(speech: Path) -> None:
    refusal = {"code": "bad_field", "message": "end_silence_ms is out of range", "field": "end_silence_ms",
               "value": "7", "allowed": "100 to 6000", "fatal": True}
    async with scripted_server(Script(refuse=refusal)) as url:
        text = await client("file", speech, "--url", url)
        object_ = await client("file", speech, "--url", url, "--json")
    assert (text.code, object_.code) == (1, 1)
    assert text.err == (
        "stream-client: end_silence_ms is out of range; got end_silence_ms 7; allowed: 100 to 6000\n"
    )
    assert object_.objects[0]["field"] == "end_silence_ms"
    assert object_.objects[0]["allowed"] == "100 to 6000"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["file"],
        ["file", "a.wav", "--chunk-size", "0,10"],
        ["file", "a.wav", "--chunk-size", "3200"],
        ["file", "a.wav", "--vad", "loud"],
        ["file", "a.wav", "--dialect", "funasr", "--vad", "none"],
        ["file", "a.wav", "--room", "token"],
        ["file", "a.wav", "--room", "http://host/room?read=token", "--name", "x"],
        ["file", "a.wav", "--room", "token", "--name", "x", "--dialect", "funasr"],
    ],
)
async def test_misuse_is_exit_code_2(arguments: list[str]) -> None:
    outcome = await client(*arguments)
    assert outcome.code == 2
    assert "usage:" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.fixture
def fake_microphone(tmp_path: Path) -> Path:
    place = tmp_path / "fake"
    place.mkdir()
    (place / "sounddevice.py").write_text(FAKE_SOUNDDEVICE)
    return place


async def test_the_microphone_is_heard_until_ctrl_c_and_then_its_final(fake_microphone: Path) -> None:
    script = Script(hops_per_segment=10_000)
    async with scripted_server(script) as url:
        process = await start("mic", "--json", "--url", url, path=fake_microphone)
        kinds = []
        async with asyncio.timeout(20):
            while kinds.count("partial") < 2:
                kinds.append(json.loads(await process.stdout.readline())["type"])
        process.send_signal(signal.SIGINT)
        rest, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, err
    assert [json.loads(line)["type"] for line in rest.splitlines()][-2:] == ["final", "ended"]
    assert script.seen[-1] == {"type": "stop"}


async def test_no_microphone_is_one_sentence(fake_microphone: Path, tmp_path: Path) -> None:
    broken = await client("mic", "--device", "9", path=fake_microphone)
    assert (broken.code, broken.err.count("\n")) == (1, 1)
    assert "no microphone can be opened (Error querying device 9)" in broken.err

    taken = await client("mic", "--device", "8", path=fake_microphone)
    assert (taken.code, taken.err.count("\n")) == (1, 1)
    assert "no microphone can be opened (Device 8 unavailable)" in taken.err

    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "sounddevice.py").write_text("raise ImportError")
    absent = await client("mic", path=tmp_path / "none")
    assert (absent.code, absent.err.count("\n")) == (1, 1)
    assert "pip install sounddevice" in absent.err


def test_the_client_loads_neither_the_server_nor_torch() -> None:
    heavy = {"torch", "stream_server", "numpy", "av", "sounddevice"}
    code = f"import sys, stream_client.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(CLIENTS)},
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
