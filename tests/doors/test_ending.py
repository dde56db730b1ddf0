"""How a server ends: sessions first, then processes, then itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import websockets

from tests.doors.conversations import NATIVE, START, pieces, speech
from tests.support.server import running_server


async def test_at_sigterm_open_sessions_get_their_finals(tmp_path: Path, small_model: Path,
                                                         utterance: np.ndarray) -> None:
    with running_server(tmp_path / "log", "--model", str(small_model), "--threads", "1") as server:
        children = [pid for name in ("engine-0", "door-0") for pid in server.process_ids(name)]
        client = await websockets.connect(server.url + NATIVE)
        quiet = await websockets.connect(server.url + NATIVE)
        for message in [START, *pieces(utterance)]:
            await client.send(message)
        while json.loads(await client.recv())["type"] != "speech":
            pass
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        answers = [json.loads(answer) async for answer in client]
        assert [answer["type"] for answer in answers][-2:] == ["final", "ended"]
        assert client.close_code in (1000, 1001)
        await quiet.wait_closed()
        assert (quiet.close_code, quiet.close_reason) == (1001, "the server is going away")
        assert await asyncio.to_thread(server.process.wait, 20) == 0
        assert time.monotonic() - began < 15
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        assert "Traceback" not in server.log


async def test_a_second_signal_ends_at_once(tmp_path: Path, small_model: Path) -> None:
    with running_server(tmp_path / "log", "--model", str(small_model), "--threads", "1", "--drain-s", "60") as server:
        (engine,) = server.process_ids("engine-0")
        client = await websockets.connect(server.url + NATIVE)
        await client.send(START)
        await client.recv()
        # Without an engine the session cannot end, and the server waits for it.
        os.kill(engine, signal.SIGSTOP)
        for piece in pieces(speech(2)):
            await client.send(piece)
        while json.loads(await client.recv())["type"] != "speech":
            pass
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(server.process.wait, 10) == 1
        await client.wait_closed()
        assert not Path(f"/proc/{engine}").exists()
