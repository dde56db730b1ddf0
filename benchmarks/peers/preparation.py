"""The export, made in a process of its own, so that the one that measures has never held the weights."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from benchmarks.peers.engines import Material


def prepared(model: str, cache: Path, with_sherpa: bool) -> Material:
    """What the engines are made of. Raises RuntimeError where the export failed; what it said is on stderr."""
    if not with_sherpa:
        return Material(model, cache)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_export, args=(theirs, model, cache.resolve()))
    process.start()
    theirs.close()
    try:
        folder = ours.recv()
    except EOFError:
        raise RuntimeError("the export for sherpa-onnx failed; what it said is above") from None
    finally:
        process.join()
    return Material(model, folder)


def _export(connection: object, model: str, cache: Path) -> None:
    from benchmarks.peers.sherpa_model import exported
    from stream_server.models.checkpoint import load

    connection.send(exported(load(model), cache).folder)
