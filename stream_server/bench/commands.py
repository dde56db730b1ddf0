"""The options of `stream-server bench`, and which measurement they start. Loads nothing heavy until it does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from stream_server.bench.speech import NEEDED, SAMPLES
from stream_server.config import ServeSettings

DEFAULTS = {"model": "random", "windows": ("0,10,5",)}
"""Where they differ from serve's: the full-size model costs the same with random weights, and needs no download."""

ENGINE_SETTINGS = ("model", "device", "dtype", "threads", "slots", "windows")
"""What of serve's settings concerns an engine alone."""

SERVER_SETTINGS = (*ENGINE_SETTINGS, "doors", "engines", "sessions", "session", "limits")
"""What of serve's settings concerns a server that is measured on this machine."""

SUMMARIES = {
    "engine": "what a step costs, and how many streams the engine carries in real time, without sockets",
    "capacity": "how many sockets a server on this machine carries, all of them speaking all the time",
}


def add_measurements(parser: argparse.ArgumentParser,
                     add_settings: Callable[[argparse.ArgumentParser, tuple[str, ...]], None]) -> None:
    """Gives `bench` its measurements; `add_settings` adds serve's options of those names."""
    measurements = parser.add_subparsers(dest="measurement", metavar="MEASUREMENT", required=True)
    engine = _add(measurements, "engine")
    add_settings(engine, ENGINE_SETTINGS)
    engine.add_argument("--buckets", type=_count, nargs="+", metavar="N",
                        help="chunks in a step, each size in turn (default: 1 2 4 8 16, on CUDA 1 4 16 64 256 512 "
                             "1024, as far as there are slots)")
    engine.add_argument("--seconds", type=_positive, default=60.0,
                        help="how long steps are measured, and then streams (default: 60)")
    engine.add_argument("--step-seconds", type=_positive, help="how long steps are measured, where not as long")
    engine.add_argument("--streams", type=_count, help="hold so many streams (default: search for the most)")
    engine.add_argument("--lag-ms", type=_positive, help="p99 from complete chunk to tokens that still counts as "
                                                         "carried (default: 300, on CUDA 100)")
    engine.add_argument("--audio", type=Path, default=SAMPLES,
                        help=f"a folder of recordings, or one, {NEEDED} (default: samples/)")
    _add_output(engine)
    capacity = _add(measurements, "capacity")
    add_settings(capacity, SERVER_SETTINGS)
    capacity.add_argument("--seconds", type=_positive, default=6.0,
                          help="how long each number of sockets is tried (default: 6)")
    capacity.add_argument("--lag-ms", type=_positive, default=300.0,
                          help="p99 from sound to text that still counts as carried (default: 300)")
    capacity.add_argument("--audio", type=Path, default=SAMPLES,
                          help="a folder of recordings, or one (default: samples/)")
    _add_output(capacity)


def measure(settings: ServeSettings, options: argparse.Namespace) -> int:
    """Runs the measurement that was asked for; its exit status."""
    # Threads that spin while they wait are slow where others share the cores. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if options.measurement == "engine":
        from stream_server.bench.engine import run
    else:
        from stream_server.bench.capacity import run
    return run(settings, options)


def _add(measurements, name: str) -> argparse.ArgumentParser:
    summary = SUMMARIES[name]
    return measurements.add_parser(name, help=summary, description=f"Measures {summary}.", allow_abbrev=False)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true",
                        help="print one JSON object a line; the last is the result in short")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the result; needs matplotlib")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65536:
        raise argparse.ArgumentTypeError(f"{text!r}: needed a whole number from 1 to 65536")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: needed a number above 0 and below 1000000")
    return number
