"""What the processes are: a door, and the engine. Each is started by the supervisor with a Role on its standard input.

A process ends when its supervisor does: it watches for the end of its standard input.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import msgspec

from stream_server import logs
from stream_server.audio.windows import Window
from stream_server.config import ServeSettings
from stream_server.engine.runner import Runner, SecondRunner
from stream_server.engine.wire import EngineInfo
from stream_server.engine.workers import THREAD_NAME
from stream_server.errors import EngineError, ModelError, SettingsError
from stream_server.interpreter import prepare_process
from stream_server.speech.hotwords import EMPTY, HotwordList
from stream_server.speech.punctuated import Words
from stream_server.speech.scribe import Scribe
from stream_server.speech.written import Writer

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger("stream_server.app")

EXIT_SETTINGS = 2
"""The operator has to change something: starting again will not help."""

LISTEN_BACKLOG = 1024


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is to be. `settings` is ServeSettings as JSON; descriptors are inherited.

    `engines` are the names of all engines, the same for every process of a server; `hotwords` are what the operator's
    file has.
    """

    kind: Literal["door", "engine"]
    name: str
    engines: tuple[str, ...]
    settings: str
    runtime: str
    news_fd: int
    listen_fd: int = -1
    certfile: str | None = None
    keyfile: str | None = None
    hotwords: HotwordList = EMPTY


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What a process tells its supervisor, one JSON line each: whether it can work, and with which engines."""

    ready: bool
    engines: dict[str, EngineInfo] = {}


def main() -> int:
    """The whole life of a process that the supervisor started; its exit status."""
    role = msgspec.json.decode(sys.stdin.buffer.readline(), type=Role)
    settings = ServeSettings.model_validate_json(role.settings)
    logs.configure(role.name, settings.log_level)
    # A Ctrl-C reaches everyone in the terminal; only the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if role.kind == "door":
            _run_door(_Door(role, settings))
        else:
            _run_engine(role, settings)
    except (ModelError, SettingsError) as error:
        print(f"stream-server: {error}", file=sys.stderr, flush=True)
        return EXIT_SETTINGS
    except EngineError as error:
        log.error("the engine ends: %s", error)
        return 1
    return 0


def _run_door(door: _Door) -> None:
    try:
        import uvloop
    except ImportError:  # not made for every platform
        asyncio.run(door.run())
    else:
        uvloop.run(door.run())


def _tell(role: Role, news: News) -> None:
    try:
        os.write(role.news_fd, msgspec.json.encode(news) + b"\n")
    except BrokenPipeError:
        log.debug("the supervisor no longer listens")


def _run_engine(role: Role, settings: ServeSettings) -> None:
    from stream_server.engine.costs import SECOND_PASS_S, measure, measure_second
    from stream_server.engine.endpoint import engine_endpoint
    from stream_server.engine.finals import SecondOptions
    from stream_server.engine.process import serve, stop_on_signals
    from stream_server.engine.statistics import Statistics
    from stream_server.metrics import observe_step

    _exit_with_supervisor()
    settings = _share(role, settings)
    # Its weights are there before the slots take what memory is left.
    second = make_second(settings)
    runner, info = make_runner(settings)
    _warn_of_unspelt(role.hotwords, runner)
    runner.warm_up()
    second_costs, options = None, None
    scribe = make_scribe(settings)
    if second is not None:
        second.warm_up()
        second_costs = measure_second(second)
        log.info("a second pass takes %.0f ms a second of speech", 1000 * second_costs.seconds / SECOND_PASS_S)
        options = SecondOptions(runner=second, patience_s=settings.limits.final_deadline_ms / 1000,
                                most_samples=second_costs.most_samples, most_guesses=second_costs.together)
    costs = measure(runner, runner.windows[0], second=second_costs)
    log.info("best batch %d of window %s; streams in real time: %d", costs.best_batch, costs.window, costs.streams)
    capacity = settings.sessions or settings.slots or min(runner.slots, costs.streams)
    info = msgspec.structs.replace(info, capacity=capacity)
    prepare_process()
    stop = stop_on_signals()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    statistics = Statistics(observe_step=observe_step)
    serve(runner, engine_endpoint(Path(role.runtime), role.name), info, stop=stop, capacity=capacity,
          max_batch=costs.best_batch, second=options, scribe=scribe, statistics=statistics,
          on_bound=lambda: _tell(role, News(ready=True, engines={role.name: info})))


def _warn_of_unspelt(hotwords: HotwordList, runner: Runner) -> None:
    from stream_server.speech.spelling import Speller

    if unspelt := Speller(runner.vocabulary).spell(hotwords).unspellable:
        log.warning("hotwords that the model's vocabulary cannot spell: %s", ", ".join(unspelt))


def _share(role: Role, settings: ServeSettings) -> ServeSettings:
    """The settings of one engine among several: a CUDA device of its own, or its part of the cores."""
    import torch

    count, number, devices = len(role.engines), role.engines.index(role.name), torch.cuda.device_count()
    if count == 1:
        return settings
    if settings.device in ("auto", "cuda") and devices:
        return settings.model_copy(update={"device": f"cuda:{number % devices}"})
    return settings.model_copy(update={"threads": settings.threads or max(1, usable_cores() // count)})


def make_runner(settings: ServeSettings) -> tuple[Runner, EngineInfo]:
    """The model that the settings ask for, on its device, not yet warmed up. Raises ModelError and SettingsError."""
    import torch

    from stream_server.models.checkpoint import load
    from stream_server.models.devices import choose_device, choose_dtype
    from stream_server.models.memory import slots_that_fit
    from stream_server.models.streaming import MOST_ROWS, ParaformerRunner

    # On a CPU each worker computes its operators by itself.
    torch.set_num_threads(1)
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    model = load(settings.model, dtype, device)
    windows = tuple(_window(spec) for spec in settings.windows)
    workers = settings.threads or usable_cores()
    slots = settings.slots or slots_that_fit(model, windows, MOST_ROWS[torch.device(device).type], workers)
    runner = ParaformerRunner(model, windows, slots, workers=workers)
    kind = settings.model if settings.model in ("demo", "random") else \
        "directory" if Path(settings.model).is_dir() else "hub"
    return runner, EngineInfo(model=_name(settings.model), model_kind=kind, windows=windows, slots=runner.slots,
                              device=device, dtype=str(dtype).removeprefix("torch."),
                              second_model=_name(settings.second_model),
                              punctuation_model=_name(settings.punctuation_model), itn=settings.itn)


def _name(model: str) -> str:
    """What clients are told; of a directory its name, not where it lies, and of none nothing."""
    if model == "none":
        return ""
    return Path(model).resolve().name if Path(model).is_dir() else model


def make_second(settings: ServeSettings) -> SecondRunner | None:
    """The second pass's model, if the settings ask for one, not yet warmed up. Raises ModelError and SettingsError."""
    if settings.second_model == "none":
        return None
    import torch

    from stream_server.models.devices import choose_device, choose_dtype
    from stream_server.models.offline_checkpoint import load_offline
    from stream_server.models.second_runner import OfflineRunner

    torch.set_num_threads(1)
    device = choose_device(settings.device)
    return OfflineRunner(load_offline(settings.second_model, choose_dtype(settings.dtype, device), device))


def make_scribe(settings: ServeSettings) -> Scribe | None:
    """What writes finals as people read them, if the settings ask for it. Raises ModelError and SettingsError."""
    punctuator = None
    if settings.punctuation_model != "none":
        import torch

        from stream_server.models.devices import choose_device
        from stream_server.models.punctuation_checkpoint import load_punctuation

        device = choose_device(settings.device)
        punctuator = load_punctuation(settings.punctuation_model, torch.float32, device).punctuator()
        punctuator.step([Words(["好"])])
    writer = Writer() if settings.itn else None
    return None if punctuator is writer is None else Scribe(punctuator, writer)


def _window(spec: str) -> Window:
    _, *frames = (int(number) for number in spec.split(","))
    window = Window(*frames)
    if window.hop < 1:
        raise SettingsError(f"--windows {spec}: the hop must be at least 1 frame")
    return window


def usable_cores() -> int:
    """Cores that this process may run on, fewer than the machine's in a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _exit_with_supervisor() -> None:
    def watch() -> None:
        # Past Python's own reader, whose lock a thread must not hold when the interpreter ends.
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()


class _Door:
    """A door's process: one loop with the HTTP server, the WebSockets and the links to the engines."""

    def __init__(self, role: Role, settings: ServeSettings) -> None:
        self._role = role
        self._settings = settings

    async def run(self) -> None:
        from stream_server.dialects.funasr import FunasrDialect
        from stream_server.dialects.native import NativeDialect
        from stream_server.dialects.track import TrackDialect
        from stream_server.doors.gathering import Gathering
        from stream_server.doors.http import Health
        from stream_server.doors.listener import Listener
        from stream_server.doors.neighbours import Neighbours
        from stream_server.doors.parking import Parking
        from stream_server.doors.reception import Reception
        from stream_server.doors.seats import NoRooms
        from stream_server.doors.webrtc import WebRtc
        from stream_server.doors.whip import OFFER, answer_neighbour
        from stream_server.doors.whip import PATH as WEBRTC_PATH
        from stream_server.engine.endpoint import engine_endpoint
        from stream_server.engine.pool import EnginePool
        from stream_server.metrics import DoorMetrics
        from stream_server.speech import detectors

        sockets_speak = {"/": ("funasr", FunasrDialect), "/v1/stream": ("native", NativeDialect)}
        self._health = Health()
        metrics = DoorMetrics(asyncio.get_running_loop().call_later)
        limits = self._settings.limits
        doors = tuple(f"door-{number}" for number in range(self._settings.doors))
        self._rooms = self._open_rooms(doors) if self._settings.rooms.offered == "on" else None
        parking = Parking(self._role.name, metrics, resume_s=limits.resume_s, most=limits.most_parked)
        self._reception = Reception({**sockets_speak, WEBRTC_PATH: ("webrtc", TrackDialect)}, metrics,
                                    self._settings.session, self._settings.limits,
                                    detectors.load(self._settings.vad_model), self._role.hotwords, parking,
                                    self._rooms or NoRooms())
        self._webrtc = WebRtc(partial(self._reception.serve, WEBRTC_PATH), self._settings.webrtc, limits, metrics)
        self._neighbours = Neighbours(Path(self._role.runtime), self._role.name, doors, self._webrtc.end,
                                      {**self._reception.services,
                                       OFFER: partial(answer_neighbour, self._webrtc)})
        self._reception.neighbours = self._neighbours
        endpoints = {name: engine_endpoint(Path(self._role.runtime), name) for name in self._role.engines}
        self._engines = EnginePool(endpoints, self._role.name, on_hypothesis=self._reception.receive_hypothesis,
                                   on_lost=self._reception.engine_lost, on_back=self._reception.engine_back,
                                   on_refused=self._reception.engine_refused, on_change=self._engines_changed,
                                   on_second_pass=self._reception.receive_second_pass,
                                   on_written=self._reception.receive_written)
        self._reception.engine = self._engines
        self._gathering = Gathering(self._settings.gather_ms / 1000, lambda: self._engines.descriptors)
        stop = self._stop_event()
        link = asyncio.create_task(self._engines.run())
        await self._neighbours.listen()
        server, sockets = self._make_server(list(sockets_speak))
        await server.startup(sockets=[])
        protocol = partial(server.config.http_protocol_class, config=server.config, server_state=server.server_state,
                           app_state=server.lifespan.state)
        listener = Listener(socket.socket(fileno=self._role.listen_fd), protocol, server.config.ssl)
        ticks = asyncio.create_task(_tick(server))
        await stop.wait()
        listener.close()
        sockets.draining = True
        await self._drain()
        server.should_exit = True
        ticks.cancel()
        await server.shutdown()
        link.cancel()

    async def _drain(self) -> None:
        self._health.draining = self._webrtc.draining = True
        await self._reception.drain(self._settings.drain_s)
        await self._webrtc.close()
        if self._rooms is not None:
            await self._rooms.close()
        self._neighbours.close()

    def _open_rooms(self, doors: tuple[str, ...]):
        from stream_server.metrics import RoomMetrics
        from stream_server.rooms.rooms import Rooms

        return Rooms(self._settings.rooms, Path(self._role.runtime), self._role.name, doors,
                     patience_s=self._settings.limits.write_timeout_s, observer=RoomMetrics())

    def _make_server(self, paths: list[str]):
        import uvicorn

        from stream_server.doors import meetings, whip
        from stream_server.doors.http import PatientHttp, create_http
        from stream_server.doors.websocket import Sockets
        from stream_server.metrics import render

        limits = self._settings.limits
        sockets = Sockets(self._reception.serve, paths, limits.max_message_bytes, self._gathering.heard)
        config = uvicorn.Config(
            create_http(self._health, lambda: render(self._engines.statistics),
                        [*whip.routes(self._webrtc, self._neighbours), *meetings.routes(self._rooms)]),
            http=partial(PatientHttp, patience_s=limits.start_timeout_s), ws=sockets.protocol, lifespan="off",
            log_config=None, access_log=False, server_header=False,
            ssl_certfile=self._role.certfile, ssl_keyfile=self._role.keyfile, timeout_graceful_shutdown=1,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        # All that a door needs is loaded by now.
        prepare_process()
        return server, sockets

    def _stop_event(self) -> asyncio.Event:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        _exit_with_supervisor()
        return stop

    def _engines_changed(self) -> None:
        self._health.engines = self._engines.ready
        _tell(self._role, News(ready=bool(self._engines.ready), engines=self._engines.ready))


async def _tick(server: uvicorn.Server) -> None:
    """Does once a second what uvicorn would ten times, and needs once: it keeps the headers' date."""
    while not await server.on_tick(0):
        await asyncio.sleep(1.0)


def _leave(status: int) -> NoReturn:
    """Ends the process, past a step that does not end: the interpreter would abort in it."""
    if any(thread.name.startswith(THREAD_NAME) for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    _leave(main())
