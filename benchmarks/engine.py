"""`stream-server bench engine` by another name, so that `./run_stream.sh bench engine` installs what it needs."""

from __future__ import annotations

from collections.abc import Sequence

from stream_server import cli


def main(argv: Sequence[str]) -> int:
    return cli.main(["bench", "engine", *argv])
