"""The plain HTTP side of the port: health, metrics, the captions page for people, and for programs
what this is."""

from __future__ import annotations

from asyncio import BaseTransport
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from stream_server import __version__
from stream_server.doors.pages import Pages
from stream_server.doors.sse import TRANSPORT
from stream_server.engine.wire import EngineInfo

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PatientHttp(H11Protocol):
    """uvicorn's HTTP, which by itself would wait for ever for a connection's first request."""

    def __init__(self, *arguments: object, patience_s: float, **named: object) -> None:
        super().__init__(*arguments, **named)
        self._patience_s = patience_s

    def connection_made(self, transport: BaseTransport) -> None:
        self.app_state = {**self.app_state, TRANSPORT: transport}
        super().connection_made(transport)
        self.loop.call_later(self._patience_s, self._check_patience)

    def _check_patience(self) -> None:
        if self.scope is None and not self.transport.is_closing():
            self.transport.abort()


class Health:
    """What the health pages answer from."""

    def __init__(self) -> None:
        self.engines: dict[str, EngineInfo] = {}
        """Those that can be used now, by name: sessions are served where there is one."""
        self.draining = False

    @property
    def trouble(self) -> str | None:
        """Why no session can be served now; None where it can."""
        if self.draining:
            return "the server is ending: it takes no new connections"
        if not self.engines:
            return "the engine is loading its model and warming up"
        return None


def create_http(health: Health, render_metrics: Callable[[], bytes], more: Sequence[BaseRoute] = ()) -> Starlette:
    """The HTTP application of a door; `more`: what is served beside health and metrics."""

    pages = Pages()

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        trouble = health.trouble
        if trouble is not None:
            return JSONResponse({"status": "not ready", "reason": trouble}, 503, {"Retry-After": "2"})
        return JSONResponse({"status": "ready", **describe(health.engines)})

    async def metrics(_: Request) -> Response:
        # In a thread: it reads one small file per process and kind of number, and sessions must not wait for that.
        return Response(await run_in_threadpool(render_metrics), media_type=METRICS_TYPE)

    async def page(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            answer = pages.answer(request, "index.html")
        else:
            answer = PlainTextResponse(_page(request, health))
        answer.headers["Vary"] = "Accept"
        return answer

    def file(name: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return pages.answer(request, name)

        return answer

    return Starlette(routes=[
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/metrics", metrics),
        Route("/", page),
        Route("/room", file("room.html")),
        Route("/overlay", file("overlay.html")),
        *pages.routes,
        *more,
    ])


def describe(engines: Mapping[str, EngineInfo]) -> dict[str, object]:
    """What is served by at least one engine, for people and programs. All serve the same, each on its device."""
    info = next(iter(engines.values()))
    return {
        "version": __version__,
        "model": info.model,
        "demonstration": info.model_kind in ("demo", "random"),
        "window": list(info.windows[0].triple),
        "windows": [list(window.triple) for window in info.windows],
        "device": info.device,
        "dtype": info.dtype,
        "engines": {name: each.device for name, each in engines.items()},
        "streams_at_once": sum(each.slots for each in engines.values()),
    }


def _page(request: Request, health: Health) -> str:
    scheme = "wss" if request.url.scheme == "https" else "ws"
    address = f"{scheme}://{request.url.netloc}"
    devices = ", ".join(info.device for info in health.engines.values())
    model = next((info.model for info in health.engines.values()), "")
    state = health.trouble or f"ready: model {model} on {devices}"
    return (
        f"stream-server {__version__}: streaming speech recognition. It is {state}.\n\n"
        f"WebSockets\n"
        f"  {address}/             what FunASR's clients speak (subprotocol binary or none)\n"
        f"  {address}/v1/stream    the server's own dialect: JSON messages, binary audio\n\n"
        f"Browsers\n"
        f"  {request.url.scheme}://{request.url.netloc}/    a page with live captions\n\n"
        f"HTTP\n"
        f"  /v1/webrtc             offers of WebRTC: POST application/sdp\n"
        f"  /v1/rooms              meetings: POST application/json\n"
        f"  /health/live /health/ready /metrics\n\n"
        f"Try: stream-client file RECORDING.wav --url {address}/v1/stream\n"
    )
