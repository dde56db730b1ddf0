"""The process that the command line starts: it runs the engines and the doors, brings back what dies, and ends them."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from stream_server import tls
from stream_server.app import EXIT_SETTINGS, LISTEN_BACKLOG, News, Role
from stream_server.config import ServeSettings
from stream_server.engine.wire import EngineInfo
from stream_server.errors import SettingsError
from stream_server.rooms.files import make_store
from stream_server.speech.hotwords import EMPTY, HotwordList, from_lines

log = logging.getLogger(__name__)

FIRST_BACK_OFF_S = 0.5
LONGEST_BACK_OFF_S = 30.0
LONG_LIFE_S = 60.0
"""A process that lived this long had no trouble starting: the next pause is the shortest again."""

STARTS_BEFORE_READY = 3
"""Deaths of a process before it was ever ready after which the server gives up."""

LONGEST_HOTWORDS = 1 << 20
"""Bytes of the operator's file; its words have a limit of their own, which tells more."""

KILL_AFTER_S = 5.0
HUNG_AFTER_S = 10.0
"""How long an engine's process may live on after every door has lost it."""


class Child:
    """One process, started again whenever it ends, until told otherwise."""

    def __init__(self, make_role: Callable[[int], Role], inherited: tuple[int, ...], runtime: Path,
                 on_news: Callable[[Child, News], None], on_hopeless: Callable[[Child, int], None]) -> None:
        self.ready = False
        self.was_ready = False
        self.engines: frozenset[str] = frozenset()
        """Those that a door can use, or the engine itself."""
        self.process: asyncio.subprocess.Process | None = None
        self._make_role = make_role
        self._inherited = inherited
        self._metrics = runtime / "metrics"
        self._on_news = on_news
        self._on_hopeless = on_hopeless
        self._over = asyncio.Event()

    async def live(self) -> None:
        """Runs the process and brings it back; returns once it has ended for good."""
        back_off, fruitless, loop = FIRST_BACK_OFF_S, 0, asyncio.get_running_loop()
        while True:
            started = loop.time()
            name, status = await self._run_once()
            if self._over.is_set():
                return
            if not self.was_ready:
                fruitless += 1
                if status == EXIT_SETTINGS or fruitless >= STARTS_BEFORE_READY:
                    self._on_hopeless(self, status)
                    return
            if loop.time() - started > LONG_LIFE_S:
                back_off = FIRST_BACK_OFF_S
            log.warning("%s ended with status %s; it is started again in %g s", name, status, back_off)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), back_off)
                return
            back_off = min(2 * back_off, LONGEST_BACK_OFF_S)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Sends a signal, and does not start the process again."""
        self._over.set()
        self.signal(number)

    def signal(self, number: signal.Signals) -> None:
        # Not process.send_signal: that looks after the child itself and may take its status from whoever waits for it.
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    async def _run_once(self) -> tuple[str, int]:
        news, news_fd = os.pipe()
        role = self._make_role(news_fd)
        # Threads of the engine's that spin while they wait take the cores from the doors, and from each other.
        environment = {"OMP_WAIT_POLICY": "passive", **os.environ, "PROMETHEUS_MULTIPROC_DIR": str(self._metrics)}
        if role.kind == "door":
            # numpy's matrices: a door is one loop on one core, and so are its networks.
            environment["OPENBLAS_NUM_THREADS"] = "1"
        self.process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stream_server.app", role.name, stdin=asyncio.subprocess.PIPE, env=environment,
            pass_fds=(news_fd, *self._inherited), process_group=0)
        os.close(news_fd)
        process.stdin.write(msgspec.json.encode(role) + b"\n")
        hearing = asyncio.create_task(self._hear(news))
        status = await process.wait()
        await hearing
        self.ready, self.engines = False, frozenset()
        _forget_gauges(self._metrics, process.pid)
        return role.name, status

    async def _hear(self, descriptor: int) -> None:
        reader = asyncio.StreamReader()
        with os.fdopen(descriptor, "rb", 0) as pipe:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), pipe)
            async for line in reader:
                news = msgspec.json.decode(line, type=News)
                self.ready, self.engines = news.ready, frozenset(news.engines)
                self.was_ready = self.was_ready or news.ready
                self._on_news(self, news)
            transport.close()


class Supervisor:
    """One server: its socket, its runtime directory, its processes."""

    def __init__(self, settings: ServeSettings, announce: Callable[[str, EngineInfo], None]) -> None:
        self._settings = settings
        self._announce = announce
        self._announced = False
        self._status = 0
        self._engines: dict[str, Child] = {}
        self._doors: list[Child] = []
        self._end: asyncio.Event = asyncio.Event()
        self._signals = 0
        self._hotwords = EMPTY

    async def run(self) -> int:
        """Serves until a signal; the exit status. Raises SettingsError where it cannot begin."""
        certfile, keyfile = self._certificate()
        self._settings = with_detectors(self._settings)
        self._hotwords = read_hotwords(self._settings.hotwords)
        listener = listen(self._settings.host, self._settings.port)
        self._address = address(self._settings.host, listener.getsockname()[1], certfile is not None)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        runtime = make_runtime_directory()
        try:
            if self._settings.rooms.offered == "on":
                make_store(self._settings.rooms, runtime)
            self._make_children(runtime, listener, certfile, keyfile)
            engines = [asyncio.create_task(engine.live()) for engine in self._engines.values()]
            doors = [asyncio.create_task(door.live()) for door in self._doors]
            await self._end.wait()
            listener.close()
            await self._finish(engines, doors)
        finally:
            for child in self._children:
                child.signal(signal.SIGKILL)
            shutil.rmtree(runtime, ignore_errors=True)
        return self._status

    @property
    def _children(self) -> list[Child]:
        return [*self._engines.values(), *self._doors]

    def _certificate(self) -> tuple[Path | None, Path | None]:
        settings = self._settings
        if settings.tls == "auto":
            return tls.own_certificate(tls.state_directory(), settings.host)
        if settings.certfile is not None:
            tls.check_certificate(settings.certfile, settings.keyfile)
        return settings.certfile, settings.keyfile

    def _make_children(self, runtime: Path, listener: socket.socket, certfile: Path | None,
                       keyfile: Path | None) -> None:
        engines = tuple(f"engine-{number}" for number in range(count_engines(self._settings)))
        common = {"settings": self._settings.model_dump_json(), "runtime": str(runtime), "engines": engines,
                  "hotwords": self._hotwords}

        def engine_role(name: str) -> Callable[[int], Role]:
            return lambda news_fd: Role(kind="engine", name=name, news_fd=news_fd, **common)

        def door_role(number: int) -> Callable[[int], Role]:
            return lambda news_fd: Role(
                kind="door", name=f"door-{number}", news_fd=news_fd, listen_fd=listener.fileno(),
                certfile=certfile and str(certfile), keyfile=keyfile and str(keyfile), **common)

        def child(make_role: Callable[[int], Role], *inherited: int) -> Child:
            return Child(make_role, inherited, runtime, self._on_news, self._on_hopeless)

        self._engines = {name: child(engine_role(name)) for name in engines}
        self._doors = [child(door_role(number), listener.fileno()) for number in range(self._settings.doors)]

    def _on_news(self, child: Child, news: News) -> None:
        if child in self._engines.values():
            return
        if not self._announced and all(door.ready for door in self._doors):
            self._announced = True
            self._announce(self._address, next(iter(news.engines.values())))
        for name, engine in self._engines.items():
            if engine.process is not None and not self._is_used(name):
                # Every door has lost it; a dead one is noticed at once, so that one which lives on may be hung.
                asyncio.get_running_loop().call_later(HUNG_AFTER_S, self._kill_if_hung, name, engine.process)

    def _is_used(self, engine: str) -> bool:
        return any(engine in door.engines for door in self._doors)

    def _kill_if_hung(self, name: str, suspect: asyncio.subprocess.Process) -> None:
        engine = self._engines[name]
        if engine.process is suspect and suspect.returncode is None and engine.ready and not self._is_used(name):
            log.error("%s lives but answers no door: it is killed", name)
            engine.signal(signal.SIGKILL)

    def _on_hopeless(self, child: Child, status: int) -> None:
        if status != EXIT_SETTINGS:
            what = "an engine" if child in self._engines.values() else "a door"
            print(f"stream-server: {what} ended with status {status} before it was ready; see its last lines above",
                  file=sys.stderr, flush=True)
        self._status = EXIT_SETTINGS if status == EXIT_SETTINGS else 1
        self._end.set()

    def _on_signal(self, number: signal.Signals) -> None:
        self._signals += 1
        if self._signals == 1:
            log.info("%s: ending within %g s; another signal ends at once", number.name, self._settings.drain_s)
            self._end.set()
            return
        for child in self._children:
            child.end(signal.SIGKILL)

    async def _finish(self, engine_lives: list[asyncio.Task[None]], door_lives: list[asyncio.Task[None]]) -> None:
        """Ends the doors, which drain, and then the engines that they need until then."""
        engines = list(self._engines.values())
        if not self._announced:
            for engine in engines:
                engine.end(signal.SIGKILL)
        for door in self._doors:
            door.end()
        await self._wait(door_lives, self._doors, self._settings.drain_s + KILL_AFTER_S)
        for engine in engines:
            engine.end()
        await self._wait(engine_lives, engines, KILL_AFTER_S)
        if self._signals > 1:
            self._status = 1

    async def _wait(self, lives: list[asyncio.Task[None]], children: list[Child], within_s: float) -> None:
        _, alive = await asyncio.wait(lives, timeout=within_s)
        if alive:
            for child in children:
                child.end(signal.SIGKILL)
            for life in alive:
                life.cancel()
            await asyncio.gather(*alive, return_exceptions=True)


def with_detectors(settings: ServeSettings) -> ServeSettings:
    """The settings with all networks of `vad_model` fetched, and named by directories that were tried once.

    Raises ModelError, and SettingsError where the default is a detector that is not among them.
    """
    from stream_server.models.detectors import locate
    from stream_server.speech import detectors

    models = locate(settings.vad_model)
    kinds = detectors.load(models).kinds
    if settings.session.vad not in kinds:
        raise SettingsError(f"session-vad is {settings.session.vad}; allowed: {', '.join(kinds)}, or name its network "
                            "by --vad-model")
    return settings.model_copy(update={"vad_model": models})


def count_engines(settings: ServeSettings) -> int:
    """How many engines there are to be: as many as asked for, else one for each CUDA device in use, else one.

    The devices are counted without PyTorch, which takes seconds to load: by the driver's files, and by the variable
    with which CUDA hides some of them.
    """
    if settings.engines:
        return settings.engines
    if settings.device not in ("auto", "cuda"):
        return 1
    devices = sum(path.name.removeprefix("nvidia").isdecimal() for path in Path("/dev").glob("nvidia*"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        devices = min(devices, len([name for name in visible.split(",") if name.strip()]))
    return max(devices, 1)


def read_hotwords(file: Path | None) -> HotwordList:
    """The operator's list. Raises SettingsError, which names the line."""
    if file is None:
        return EMPTY
    try:
        with file.open("rb") as opened:
            data = opened.read(LONGEST_HOTWORDS + 1)
        if len(data) > LONGEST_HOTWORDS:
            raise SettingsError(f"hotwords {file}: more than {LONGEST_HOTWORDS} bytes")
        return from_lines(data.decode(), f"hotwords {file}")
    except OSError as error:
        raise SettingsError(f"hotwords {file}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"hotwords {file}: not UTF-8 at byte {error.start}") from None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError where host and port cannot be had."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        raise SettingsError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    listener.setblocking(False)
    return listener


def address(host: str, port: int, secure: bool) -> str:
    """What a client on this machine connects to."""
    shown = "localhost" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"{'wss' if secure else 'ws'}://{shown}:{port}"


def make_runtime_directory() -> Path:
    """A fresh directory that only this user may enter, for sockets and numbers; short, for the sockets' sake."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    usable = base is not None and len(base) < 60 and os.access(base, os.W_OK | os.X_OK)
    directory = Path(tempfile.mkdtemp(prefix="stream-server-", dir=base if usable else None))
    (directory / "metrics").mkdir(mode=0o700)
    return directory


def _forget_gauges(directory: Path, pid: int) -> None:
    # What prometheus_client's mark_process_dead does; importing it here would give this process numbers of its own.
    for kind in ("livesum", "liveall", "livemostrecent", "livemin", "livemax"):
        (directory / f"gauge_{kind}_{pid}.db").unlink(missing_ok=True)
