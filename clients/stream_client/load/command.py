"""`stream-client load`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from stream_client.errors import StreamClientError
from stream_client.load.plan import STARTS, Load
from stream_client.load.report import flat, table
from stream_client.load.run import run
from stream_client.load.wire import PROTOCOLS
from stream_client.wishes import Wishes

ABOUT = "Many streams at the pace of speech, whether or not the server keeps up, and how late its text is under them."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `stream-client load` takes besides the address and the wishes of all commands."""
    add = parser.add_argument
    plain = Load()
    add("files", nargs="*", default=["samples"], metavar="FILE", help="recordings, or directories (default: samples)")
    add("--dialect", choices=sorted(PROTOCOLS), default=plain.dialect, help="protocol (default: %(default)s)")
    add("--json", action="store_true", help="the figures as one JSON object, last on standard output")
    add("--streams", type=int, default=plain.streams, metavar="N", help="how many at once (default: %(default)s)")
    add("--seconds", type=float, default=plain.seconds, metavar="S", help="audio of each (default: %(default)s)")
    add("--silence", type=float, default=plain.silence, metavar="SHARE",
        help="share of silence between stretches of speech, 0 to 0.95 (default: %(default)s)")
    add("--start", choices=STARTS, default=plain.start,
        help="spread: at random moments; burst: all at once (default: %(default)s)")
    add("--ramp", type=float, default=plain.ramp_s, metavar="S", dest="ramp_s",
        help="seconds that starts are spread over (default: one hop, %(default)s)")
    add("--seed", type=int, default=plain.seed, metavar="N", help="of the random moments (default: %(default)s)")
    add("--message-ms", type=int, default=plain.message_ms, metavar="MS", help="audio a message (default: %(default)s)")
    add("--distinct", type=int, default=plain.distinct, metavar="N",
        help="different contents among the streams, each with a slow run of its own (default: %(default)s)")
    add("--processes", type=int, metavar="N", help="processes to send from (default: one for every four cores)")
    add("--patience", type=float, default=plain.patience_s, metavar="S", dest="patience_s",
        help="seconds to wait for a stream's end (default: %(default)s)")
    add("--ruler", type=Path, metavar="PATH", help="keep what the slow run found here, and use it if it is there")


def read(arguments: argparse.Namespace, wishes: Wishes) -> Load:
    """The load asked for. Raises ValueError."""
    names = set(Load.__dataclass_fields__) - {"files", "wishes"}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    return replace(Load(), **given, files=tuple(arguments.files), wishes=wishes)


def execute(load: Load, as_json: bool, out: TextIO, err: TextIO) -> bool:
    """Runs the load and prints what it found; whether every stream got to its end."""

    def note(text: str) -> None:
        print(text, file=err, flush=True)

    try:
        figures = run(load, note)
    except StreamClientError as error:
        note(f"stream-client: {error}")
        return False
    print(table(load, figures), file=err if as_json else out, flush=True)
    if as_json:
        print(json.dumps(flat(load, figures), ensure_ascii=False), file=out, flush=True)
    return figures.streams_finished == load.streams and not figures.interrupted


