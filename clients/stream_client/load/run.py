"""A load run from beginning to end: the slow run, then the streams in processes of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from stream_client.errors import StreamClientError
from stream_client.load.client import tls
from stream_client.load.figures import Figures, Tally, figures
from stream_client.load.plan import Load
from stream_client.load.ruler import Ruler, fingerprint, read_rulers, write_rulers
from stream_client.load.slow import make_rulers
from stream_client.load.wire import audio_frames
from stream_client.load.worker import Job, share, work

LEAD_S = 0.3
"""From telling the processes when to begin to that moment."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Content:
    """What the streams say, and what it is measured with."""

    audios: tuple[bytes, ...]
    rulers: tuple[Ruler, ...]


def run(load: Load, note: Note = lambda _: None) -> Figures:
    """The figures of one run; `note` hears what is going on. Ctrl-C under load gives the figures so far.

    Raises StreamClientError where the server, the files or the ruler cannot be used. Starts processes by spawning:
    a script that calls it needs the usual `if __name__ == "__main__"`.
    """
    tls(load.target)  # an address or certificates that cannot be are told before any work
    content = prepare(load, note)
    job = Job(load.target, content.audios, content.rulers, tuple(load.plan()), load.message_ms, load.patience_s)
    workers = [_Worker(part) for part in share(job, load.worker_count)]
    try:
        return _drive(load, workers, note)
    finally:
        for worker in workers:
            worker.end()


def prepare(load: Load, note: Note = lambda _: None) -> Content:
    """The audio and its rulers: kept ones where there are, else by a slow run against the idle server."""
    audios, greeting = load.contents()
    made_for = fingerprint(audios, load.dialect, load.message_ms, load.wishes)
    rulers = read_rulers(load.ruler, made_for) if load.ruler is not None else None
    if rulers is None:
        note(f"slow run of {len(audios)} x {load.seconds:g} s on the idle server: when is which token due?")
        cut = [audio_frames(audio, load.dialect, load.message_ms) for audio in [*audios, greeting]]
        began = time.monotonic()
        slow = asyncio.run(make_rulers(load.target, cut[:-1], cut[-1], load.patience_s))
        note(f"slow run took {time.monotonic() - began:.0f} s; a message waited for {slow.quiet_s * 1000:.0f} ms "
             f"without text; {sum(len(ruler.tokens) for ruler in slow.rulers)} tokens")
        if slow.fickle:
            note(f"the idle server gave two texts for the same audio in {slow.fickle} of {len(audios)} contents: "
                 "expect different tokens under load")
        rulers = list(slow.rulers)
        if load.ruler is not None:
            write_rulers(load.ruler, rulers, made_for)
    if not any(ruler.tokens for ruler in rulers):
        note("no token ever came: there is nothing to measure lags by")
    return Content(tuple(audios), tuple(rulers))


class _Worker:
    """A process of the run, seen from its parent."""

    def __init__(self, job: Job) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawning.Pipe()
        self.process: BaseProcess = spawning.Process(target=work, args=(job, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def receive(self) -> object:
        """What the process says next; raises StreamClientError where it died instead."""
        try:
            return self._pipe.recv()
        except EOFError:
            self.process.join(5)
            raise StreamClientError(f"a process of the load ended with exit code {self.process.exitcode}") from None

    def tell(self, moment: float | None) -> None:
        with suppress(OSError):
            self._pipe.send(moment)

    @property
    def pipe(self) -> Connection:
        return self._pipe

    def end(self) -> None:
        """Ends the process if it has not ended by itself."""
        self._pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


def _drive(load: Load, workers: list[_Worker], note: Note) -> Figures:
    opened = sum(worker.receive() for worker in workers)
    note(f"{opened} of {load.streams} streams are open, in {len(workers)} processes; "
         f"{load.seconds:g} s of audio each, {load.start}")
    begin = time.monotonic() + LEAD_S
    for worker in workers:
        worker.tell(begin)
    interrupted = False
    tally = Tally()
    for worker in workers:
        try:
            told = worker.receive()
        except KeyboardInterrupt:
            interrupted = True
            for other in workers:
                other.tell(None)
            told = worker.receive()
        tally.merge(told)
    return figures(tally, interrupted)
