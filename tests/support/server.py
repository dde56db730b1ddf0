"""A real server for tests: `stream-server serve` as a process on a free port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEMO = Path(__file__).resolve().parents[2] / "stream_server" / "data" / "demo"
READY_WITHIN_S = 90.0
READY_AT = "Ready at "


class Server:
    """A running server; `log` is everything it has said."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self.process = process
        self.url = ""
        self._log_file = log_file

    @property
    def http(self) -> str:
        return self.url.replace("ws", "http", 1)

    @property
    def log(self) -> str:
        return self._log_file.read_text("utf-8", "replace")

    def metrics(self) -> dict[str, float]:
        """Every number of /metrics by its name and labels."""
        with urllib.request.urlopen(f"{self.http}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in
                (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))}

    def process_ids(self, name: str) -> list[int]:
        """The processes of this server that are called `name`: engine-0, door-0."""
        found = []
        for child in _children(self.process.pid):
            if name.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                found.append(child)
        return found

    def wait_until_ready(self) -> None:
        """Returns once it has said that it is ready."""
        deadline = time.monotonic() + READY_WITHIN_S
        while READY_AT not in self.log:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the server is not ready after {READY_WITHIN_S} s:\n{self.log}")
            time.sleep(0.05)
        self.url = self.log.split(READY_AT, 1)[1].split()[0]

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = 60) -> int:
        """Sends a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(within_s)


@contextmanager
def running_server(log_file: Path, *options: str, **environment: str) -> Iterator[Server]:
    """`stream-server serve --port 0 OPTIONS`, ready; ended afterwards."""
    command = [sys.executable, "-m", "stream_server", "serve", "--port", "0", *options]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    server = Server(process, log_file)
    try:
        server.wait_until_ready()
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                process.wait(10)


def _children(parent: int) -> list[int]:
    return [int(number) for task in Path(f"/proc/{parent}/task").iterdir()
            for number in (task / "children").read_text().split()]
