"""The measured server, the load on it, and the command: everything real, with a model that is quick."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stream_client.load import Load
from stream_client.load.ruler import earlier
from stream_client.load.run import prepare
from stream_server.cli import main
from stream_server.config import ServeSettings
from stream_server.errors import StreamServerError

psutil = pytest.importorskip("psutil")

from stream_server.bench.server import running_server  # noqa: E402
from stream_server.bench.sockets import Crowd  # noqa: E402
from stream_server.bench.speech import SAMPLES  # noqa: E402

RECORDING = SAMPLES / "long.wav"
GONE_WITHIN_S = 60.0


def settings(small_model: Path, **more: object) -> ServeSettings:
    return ServeSettings(model=str(small_model), threads=1, slots=8, windows=("0,10,5",), **more)


def test_one_message_a_hop_tells_when_tokens_are_due_as_waiting_after_every_message_does(
        small_model: Path, tmp_path: Path) -> None:
    with running_server(settings(small_model)) as server:
        crowd = Crowd(server, RECORDING, 2.4, tmp_path)
        crowd.prepare(lambda _: None)
        fine: Load = crowd.load(1, 60, tmp_path / "ruler.json")
        kept = prepare(fine).rulers
        waited, = prepare(replace(fine, ruler=None)).rulers
        for _ in range(3):
            if waited != kept[0]:
                # A machine held up for longer than the wait dates a token too late, never too early.
                waited = earlier(waited, *prepare(replace(fine, ruler=None)).rulers)
        assert kept == (waited,)
        assert len(kept[0].tokens) > 3
        point = crowd.measure(3)
        assert point.faults == "" and point.figures.streams_finished == 3
        assert point.figures.messages_sent == 3 * 40
        assert point.door_seconds > 0
    assert not [process for process in server.known if process.is_running()]


@pytest.mark.slow
def test_the_search_finds_how_many_are_let_in(small_model: Path, capsys: pytest.CaptureFixture[str],
                                              tmp_path: Path) -> None:
    assert main(["bench", "capacity", "--model", str(small_model), "--threads", "1", "--slots", "8", "--sessions", "3",
                 "--audio", str(RECORDING), "--seconds", "2.4", "--lag-ms", "60000", "--json"]) == 0
    *points, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [point["sockets"] for point in points] == [1, 2, 3, 4]
    assert ["refused" in point["faults"] for point in points] == [False, False, False, True]
    assert summary == {"sockets": 3, "partial_lag_p99_ms": points[2]["p99_ms"],
                       "door_us_per_message": points[2]["door_us_per_message"],
                       "partial_lag_p99_ms_at_20": points[0]["p99_ms"],
                       "partial_lag_p99_ms_at_80": points[1]["p99_ms"]}


def test_a_server_that_cannot_start_is_an_error() -> None:
    with pytest.raises(StreamServerError, match="ended with status 2 before it was ready"):
        with running_server(ServeSettings(model="nonesuch")):
            raise AssertionError("it cannot be ready")


@pytest.mark.slow
def test_a_server_ends_with_the_process_that_measured_it(small_model: Path) -> None:
    script = ("import sys, time\nfrom stream_server.bench.server import running_server\n"
              "from stream_server.config import ServeSettings\n"
              "with running_server(ServeSettings.model_validate_json(sys.argv[1])) as server:\n"
              "    print(*(process.pid for process in server.known), flush=True)\n"
              "    time.sleep(600)\n")
    measuring = subprocess.Popen([sys.executable, "-c", script, settings(small_model).model_dump_json()],
                                 stdout=subprocess.PIPE)
    processes = [psutil.Process(int(number)) for number in measuring.stdout.readline().split()]
    assert len(processes) == 3
    measuring.send_signal(signal.SIGKILL)
    measuring.wait()
    measuring.stdout.close()
    deadline = time.monotonic() + GONE_WITHIN_S
    while any(process.is_running() for process in processes):
        assert time.monotonic() < deadline, "the server outlives the process that measured it"
        time.sleep(0.1)


def test_without_psutil_it_says_what_to_install(capsys: pytest.CaptureFixture[str],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert main(["bench", "capacity"]) == 2
    assert "needs psutil, which is not installed: pip install 'stream-server[bench]'" in capsys.readouterr().err
