"""How many sockets that speak all the time a server of each kind carries on the same cores, the load beside it.

Both serve the same weights and are sent the same audio, 60 ms a message, in an open loop at the pace of speech. A
token's lag counts from the moment when the message that completes what it was waiting for was due. Neither looks for
pauses: ours is told `vad` none, sherpa-onnx's endpointing is off, so that a stream is one segment and every hop costs
both a step.
"""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.sherpa_files import SherpaModel
from stream_client import Wishes
from stream_client.load import Figures, Load, run
from stream_client.load.ruler import Ruler, fingerprint, write_rulers
from stream_client.load.run import prepare
from stream_server.bench.search import most
from tests.support import recordings
from tests.support.server import running_server

HOP_MS = 600
MESSAGE_MS = 60
SHERPA_OVERLAP_MS = 27.5
"""Its step begins when there are more than 61 fbank frames beyond the last one's 60; the 62nd, whose middle lies at
615 ms, is 25 ms long."""

SHERPA_SERVER = "sherpa-onnx-online-websocket-server"
READY_WITHIN_S = 90.0
MOST_SOCKETS = 1024
MISSING_SHARE = 0.01
"""Of the tokens. sherpa-onnx's server lacked one of 136 once, well within its time."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Address:
    """A server that is ready, and how it is spoken to.

    `overlap_ms`: audio past a hop's end that its step needs besides, less than a message.
    """

    url: str
    dialect: str
    wishes: Wishes
    overlap_ms: float


@contextmanager
def our_server(model: str, dtype: str, log: Path) -> Iterator[Address]:
    """`stream-server serve`, that admits whoever comes."""
    with running_server(log, "--model", model, "--dtype", dtype, "--sessions", str(MOST_SOCKETS)) as server:
        yield Address(server.url, "native", Wishes(vad="none"), 0)


@contextmanager
def sherpa_server(files: SherpaModel, precision: str, cores: int, log: Path) -> Iterator[Address]:
    """sherpa-onnx's WebSocket server with a decoding thread for each core and one more to take audio meanwhile.

    Its batches are loops over streams that make the first wait for the last: it is given none.
    """
    port = _free_port()
    command = [
        _executable(), f"--port={port}", f"--tokens={files.tokens}", f"--paraformer-encoder={files.encoder(precision)}",
        f"--paraformer-decoder={files.decoder(precision)}", f"--num-work-threads={cores + 1}", "--num-threads=1",
        "--max-batch-size=1", "--enable-endpoint=false", f"--log-file={log.with_suffix('.own')}",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_for(port, process, log)
        yield Address(f"ws://127.0.0.1:{port}", "sherpa", Wishes(), SHERPA_OVERLAP_MS)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def carried(server: Address, name: str, seconds: float, lag_ms: float, folder: Path, say: Say) -> int:
    """The most sockets whose text is within `lag_ms` (p99), none of it missing; 0 where one is too many.

    Each says the same `seconds` of speech from a moment of its own. Raises StreamClientError where the server cannot
    be used at all.
    """
    ruler = folder / f"{name}.ruler.json"
    make_ruler(server, seconds, ruler, say)

    def holds(sockets: int) -> bool:
        figures = trial(server, seconds, sockets, ruler)
        say(f"{name}, {sockets} sockets: {_told(figures)}")
        p99 = figures.partial_lag.p99
        return p99 is not None and p99 < lag_ms and not faults(figures)

    return most(holds, 4, MOST_SOCKETS)


def make_ruler(server: Address, seconds: float, path: Path, say: Say) -> None:
    """Which message completes what a token was waiting for.

    The load tool's own way is to wait after every message. Here it waits after every hop, which is ten times as quick
    and tells as much, since both servers step by the hop. Were that wrong, tokens would come early, which is a fault.
    """
    slow = prepare(_load(server, seconds, HOP_MS), say)
    fine = _load(server, seconds, MESSAGE_MS)
    rulers = [_refined(ruler, server.overlap_ms) for ruler in slow.rulers]
    write_rulers(path, rulers, fingerprint(slow.audios, fine.dialect, fine.message_ms, fine.wishes))


def trial(server: Address, seconds: float, sockets: int, ruler: Path) -> Figures:
    """What so many sockets find."""
    return run(_load(server, seconds, MESSAGE_MS, sockets, ruler))


def _refined(ruler: Ruler, overlap_ms: float) -> Ruler:
    """The same for short messages. A step that needs some audio past its hop waited for the whole of the next one."""
    times = HOP_MS // MESSAGE_MS
    messages = ruler.messages * times
    back = times - math.ceil(overlap_ms / MESSAGE_MS) if overlap_ms else 0
    due = (due * times - back if due <= ruler.messages else messages + 1 for due in ruler.due)
    return Ruler(messages, ruler.tokens, tuple(due))


def _load(server: Address, seconds: float, message_ms: int, sockets: int = 1, ruler: Path | None = None) -> Load:
    hops = max(4, round(1000 * seconds / HOP_MS))
    return Load(url=server.url, dialect=server.dialect, streams=sockets, seconds=hops * HOP_MS / 1000,
                files=(recordings.FOLDER / "aishell",), message_ms=message_ms, distinct=1, wishes=server.wishes,
                ruler=ruler)


def faults(figures: Figures) -> str:
    """What went wrong besides lateness; empty where nothing did."""
    missing = figures.tokens_missing
    excused = missing <= MISSING_SHARE * (figures.tokens_compared + missing)
    counts = {"refused": figures.streams_refused, "failed": figures.streams_failed,
              "tokens missing": 0 if excused else missing, "tokens early": figures.tokens_early}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _told(figures: Figures) -> str:
    lag = figures.partial_lag
    said = f"lag p50 {lag.p50} ms, p99 {lag.p99} ms over {lag.count} tokens"
    return "; ".join(filter(None, (said, f"load {figures.tool_cpu_share:.0%} of a core", faults(figures))))


def _executable() -> str:
    beside = Path(sys.executable).with_name(SHERPA_SERVER)
    found = str(beside) if beside.exists() else shutil.which(SHERPA_SERVER)
    if not found:
        raise RuntimeError(f"{SHERPA_SERVER} is absent; needed package sherpa-onnx-bin: pip install '.[bench]'")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"{SHERPA_SERVER} ended with {process.returncode}:\n{log.read_text('utf-8', 'replace')}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{SHERPA_SERVER} is not ready after {READY_WITHIN_S:.0f} s") from None
            time.sleep(0.1)
