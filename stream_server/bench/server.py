"""A server of our own to measure: supervisor, doors and engine as `serve` starts them, in processes of their own.

`python -m stream_server.bench.server` is such a supervisor: it reads settings from the first line of its standard
input, says on standard output where it listens, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from stream_server import logs
from stream_server.config import ServeSettings
from stream_server.engine.wire import EngineInfo
from stream_server.errors import SettingsError, StreamServerError

if TYPE_CHECKING:
    import psutil

OWN = {"host": "127.0.0.1", "port": 0, "certfile": None, "keyfile": None, "tls": "off", "log_level": "error"}
"""Settings that are the server's own affair while it is measured."""

KILL_AFTER_S = 15.0


class Ready(msgspec.Struct, frozen=True):
    """What the server says once it is ready."""

    address: str
    engine: EngineInfo


class Server:
    """A running server. `known`: the processes that it began with."""

    def __init__(self, process: subprocess.Popen[bytes], ready: Ready) -> None:
        import psutil

        self.address = ready.address
        self.engine = ready.engine
        self._supervisor = psutil.Process(process.pid)
        self.known = list(self.processes().values())

    def processes(self) -> dict[str, psutil.Process]:
        """Its processes by name: supervisor, engine-0, door-0, …"""
        return {"supervisor": self._supervisor,
                **{child.cmdline()[-1]: child for child in self._supervisor.children()}}

    def door_seconds(self) -> float:
        """Processor seconds that its doors have taken so far."""
        times = [process.cpu_times() for name, process in self.processes().items() if name.startswith("door")]
        return sum(time.user + time.system for time in times)


def check_psutil() -> None:
    """Raises SettingsError where psutil is not installed, which says what a server's processes take."""
    try:
        import psutil  # noqa: F401
    except ImportError:
        raise SettingsError("this measurement needs psutil, which is not installed: pip install 'stream-server[bench]'"
                            ", or ./run_stream.sh bench") from None


@contextmanager
def running_server(settings: ServeSettings) -> Iterator[Server]:
    """A server with `settings`, but on a free port of this machine; ready, and ended afterwards.

    Raises StreamServerError where it ends before it is ready; it has said why on standard error.
    """
    settings = settings.model_copy(update=OWN)
    # A group of its own: Ctrl-C is ours to hear, and the server ends in order afterwards.
    process = subprocess.Popen([sys.executable, "-m", "stream_server.bench.server"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, process_group=0)
    try:
        process.stdin.write(settings.model_dump_json().encode() + b"\n")
        process.stdin.flush()
        said = process.stdout.readline()
        if not said:
            raise StreamServerError(f"the server ended with status {process.wait()} before it was ready")
        yield Server(process, msgspec.json.decode(said, type=Ready))
    finally:
        process.stdin.close()
        try:
            process.wait(settings.drain_s + KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def main() -> int:
    """The server's process."""
    from stream_server.supervisor import Supervisor

    settings = ServeSettings.model_validate_json(sys.stdin.buffer.readline())
    logs.configure("supervisor", settings.log_level)
    threading.Thread(target=_end_with_our_parent, name="parent-watch", daemon=True).start()
    try:
        return asyncio.run(Supervisor(settings, _announce).run())
    except StreamServerError as error:
        print(f"stream-server: {error}", file=sys.stderr, flush=True)
        return 2


def _announce(address: str, info: EngineInfo) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(Ready(address, info)) + b"\n")
    sys.stdout.buffer.flush()


def _end_with_our_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
