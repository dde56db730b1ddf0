"""The load tool against a real server, as its users run it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from stream_client.errors import ConnectionFailed, StreamClientError
from stream_client.load import Load, run
from stream_client.load.client import Client
from stream_client.load.tokens import Transcript
from stream_client.load.wire import audio_frames
from tests.support.server import Server, running_server

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "stream_client", "load", *map(str, arguments)]


@pytest.mark.parametrize(("dialect", "options"), [
    ("native", {"silence": 0.3, "processes": 2}),
    ("funasr", {"start": "burst"}),
])
def test_every_token_comes_and_none_is_different(server: Server, dialect: str, options: dict[str, object]) -> None:
    figures = run(Load(url=server.url, dialect=dialect, files=(SAMPLES,), streams=4, seconds=3, distinct=2, **options))
    assert figures.failures == figures.problems == {}
    assert (figures.streams_finished, figures.streams_refused, figures.streams_failed) == (4, 0, 0)
    assert figures.tokens_compared > 12
    assert (figures.tokens_missing, figures.tokens_different, figures.tokens_extra) == (0, 0, 0)
    assert figures.messages_sent == 4 * 50
    assert figures.first_partial.count == figures.final_lag.count == 4
    assert 0 < figures.partial_lag.count <= figures.tokens_compared
    assert not figures.interrupted


async def test_ctrl_c_gives_the_figures_so_far_and_a_kept_ruler_saves_the_slow_run(server: Server,
                                                                                   tmp_path: Path) -> None:
    ruler = tmp_path / "ruler.json"
    options = ("--url", server.url, "--distinct", 1, "--seconds", 3, "--ruler", ruler, "--json", SAMPLES)
    made = await asyncio.to_thread(subprocess.run, command("--streams", 1, *options), capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    tokens = len(json.loads(ruler.read_text())["rulers"][0]["tokens"])

    process = await asyncio.create_subprocess_exec(
        *command("--streams", 2, "--ramp", 60, "--seed", 5, *options),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        # Where the tests run in the background of a script, Ctrl-C is ignored, and who ignores it passes that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    async with asyncio.timeout(60):
        notes = []
        while not notes or b"2 of 2 streams are open" not in notes[-1]:
            notes.append(await process.stderr.readline())
            assert notes[-1] and b"slow run" not in notes[-1], notes
        await asyncio.sleep(1)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    fields = json.loads(out.splitlines()[-1])
    assert process.returncode == 1, err
    assert fields["interrupted"] is True
    assert fields["tokens_compared"] < 2 * tokens
    assert (fields["streams_failed"], fields["tokens_missing"]) == (0, 0)
    assert b"Traceback" not in err


@pytest.mark.slow
def test_sessions_that_find_no_room_are_refused_and_the_others_are_measured(served_model: str, tmp_path: Path) -> None:
    with running_server(tmp_path / "log", "--model", served_model, "--slots", "2", "--threads", "1") as small:
        done = subprocess.run(
            command("--url", small.url, "--streams", 3, "--distinct", 2, "--seconds", 3, "--json", SAMPLES),
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    fields = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert (fields["streams_finished"], fields["streams_refused"], fields["streams_failed"]) == (2, 1, 0)
    assert (fields["tokens_missing"], fields["tokens_different"]) == (0, 0)
    assert list(fields["failures"].values()) == [1]


def test_no_server_is_one_sentence(unused_port: int) -> None:
    with pytest.raises(ConnectionFailed, match="no server answers"):
        run(Load(url=f"ws://127.0.0.1:{unused_port}", files=(SAMPLES,)))
    done = subprocess.run(command("--url", f"ws://127.0.0.1:{unused_port}", SAMPLES), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("stream-client: no server answers")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("options", "said"), [
    ({"url": "http://["}, "is no address of a server"),
    ({"url": "wss://127.0.0.1:1", "cafile": "/away.pem"}, "/away.pem is not a readable file of certificates"),
    ({"files": ("/away.wav",)}, "/away.wav: there is no such file"),
])
def test_what_cannot_be_used_is_told_before_any_work(options: dict[str, object], said: str) -> None:
    with pytest.raises(StreamClientError, match=re.escape(said)):
        run(Load(**options))


def test_misuse_is_one_clear_line() -> None:
    done = subprocess.run(command("--streams", 0), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("streams cannot be 0; allowed: 1 to 100000")


async def test_a_socket_that_takes_no_more_is_seen_and_nothing_is_kept_in_memory_for_it() -> None:
    frame = audio_frames(bytes(64_000), "native", 1000)[0]
    released = asyncio.Event()

    async def read_nothing(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"type": "ready"}')
        await released.wait()

    async with serve(read_nothing, "127.0.0.1", 0, close_timeout=0.2) as server:
        port = server.sockets[0].getsockname()[1]
        client = Client(Load(url=f"ws://127.0.0.1:{port}").target, Transcript(asyncio.get_running_loop().time))
        await client.open(None)
        taken = 0
        while client.write(frame):
            taken += len(frame)
            assert taken < 256 << 20
            await asyncio.sleep(0)
        assert taken > 0
        assert client._transport.get_write_buffer_size() <= len(frame)
        client.abort()
        released.set()
        await client.listen()
    assert client.error is not None
    assert not client.ended
