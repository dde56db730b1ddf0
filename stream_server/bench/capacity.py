"""`stream-server bench capacity`: how many sockets a server on this machine carries, all speaking all the time."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from stream_client import StreamClientError
from stream_server.bench.plot import Curve, Panel, check_plotting, draw
from stream_server.bench.report import json_line, progress, table
from stream_server.bench.search import most
from stream_server.bench.server import Server, check_psutil, running_server
from stream_server.bench.sockets import Crowd, Point
from stream_server.config import ServeSettings
from stream_server.errors import StreamServerError

MOST_SOCKETS = 16384
FIRST_SOCKETS = {"cpu": 2, "cuda": 256}
LOW, HIGH = 0.2, 0.8
"""Shares of the capacity at which lags are told besides."""


def run(settings: ServeSettings, options: argparse.Namespace) -> int:
    """Measures and prints; the exit status. Raises StreamServerError where nothing can be measured."""
    check_psutil()
    if options.plot:
        check_plotting()
    say = progress(options.json)
    # What the machine carries is asked, not how many the server would admit of its own.
    settings = settings.model_copy(update={"sessions": settings.sessions or MOST_SOCKETS})
    say(f"model {settings.model}: a server of our own is started")
    try:
        with running_server(settings) as server, tempfile.TemporaryDirectory() as folder:
            crowd = Crowd(server, options.audio, options.seconds, Path(folder))
            crowd.prepare(say)
            return _measure(server, crowd, options)
    except StreamClientError as error:
        raise StreamServerError(f"the load cannot be brought: {error}") from error


def _measure(server: Server, crowd: Crowd, options: argparse.Namespace) -> int:
    say = progress(options.json)
    points: dict[int, Point] = {}

    def measure(sockets: int) -> Point:
        if sockets not in points:
            points[sockets] = crowd.measure(sockets)
            say(str(points[sockets]))
        return points[sockets]

    carried = carries(measure, server, options.lag_ms, say)
    low, high, at = (measure(max(1, round(share * carried))) for share in (LOW, HIGH, 1))
    in_order = [points[sockets] for sockets in sorted(points)]
    if options.plot:
        _draw(options.plot, server, in_order, options.lag_ms)
        say(f"drawn: {options.plot}")
    _print(server, in_order, carried, low, high, at, options)
    return 0


def carries(measure: Callable[[int], Point], server: Server, lag_ms: float, say: Callable[[str], None]) -> int:
    """The most sockets with text within `lag_ms` and nothing amiss; 0 where one is too many."""
    say(f"sockets that speak all the time, the most with text within {lag_ms:g} ms (p99) of its sound")
    first = FIRST_SOCKETS[server.engine.device.partition(":")[0]]
    return most(lambda sockets: measure(sockets).within(lag_ms), first, MOST_SOCKETS)


def _print(server: Server, points: Sequence[Point], carried: int, low: Point, high: Point, at: Point,
           options: argparse.Namespace) -> None:
    if options.json:
        for point in points:
            print(json_line({name.replace(" ", "_").replace("/", "_per_"): value
                             for name, value in point.row().items()}))
        print(json_line({
            "sockets": carried, "partial_lag_p99_ms": at.lag_p99_ms, "door_us_per_message": at.door_us_per_message,
            "partial_lag_p99_ms_at_20": low.lag_p99_ms, "partial_lag_p99_ms_at_80": high.lag_p99_ms}))
        return
    print("\n" + table([point.row() for point in points]))
    print(f"\n{carried} sockets that speak all the time are carried by {server.engine.model} on {server.engine.device} "
          f"in {server.engine.dtype}: p99 {at.lag_p99_ms:.0f} ms (limit {options.lag_ms:g} ms); at {LOW:.0%} of them "
          f"{low.lag_p99_ms:.0f} ms, at {HIGH:.0%} {high.lag_p99_ms:.0f} ms; a door takes "
          f"{at.door_us_per_message:.0f} us a message of 60 ms")


def _draw(file: Path, server: Server, points: Sequence[Point], lag_ms: float) -> None:
    heard = [point for point in points if point.figures.partial_lag.p99 is not None]
    sockets = [point.sockets for point in heard]
    lags = [point.figures.partial_lag for point in heard]
    curves = [Curve(f"p{percent}", sockets, [getattr(lag, f"p{percent}") for lag in lags]) for percent in (50, 95, 99)]
    draw(file, f"{server.engine.model} on {server.engine.device}, {server.engine.dtype}, "
               f"window {server.engine.windows[0]}", [
        Panel("How late text is", "sockets, all speaking", "ms from the last needed sample to the text",
              curves, limit=lag_ms)])
