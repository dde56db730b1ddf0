"""One process of a load run: opens its share of the streams, sends by the clock, measures what comes back."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from stream_client.load.client import Client, tls
from stream_client.load.figures import Tally
from stream_client.load.ruler import Ruler, compare
from stream_client.load.tokens import Transcript
from stream_client.load.wheel import Sender, turn
from stream_client.load.wire import Target, audio_frames

OPENED_AT_ONCE = 32
FILES_BESIDE_SOCKETS = 64
REASON_CHARACTERS = 160


@dataclass(frozen=True)
class Stream:
    """What a stream says, and when it begins after the run does."""

    content: int
    start_s: float


@dataclass(frozen=True)
class Job:
    """A process's share of the run."""

    target: Target
    contents: tuple[bytes, ...]
    rulers: tuple[Ruler, ...]
    streams: tuple[Stream, ...]
    message_ms: int
    patience_s: float


def work(job: Job, pipe: Connection) -> None:
    """Runs in a process of its own. Says how many streams are open, is told when to begin (time.monotonic, which all
    processes of a machine share) or None, sends its Tally; whatever else it is told means to end at once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    _allow_files(len(job.streams))
    with suppress(BrokenPipeError):  # the parent is gone
        asyncio.run(_work(job, pipe))


async def _work(job: Job, pipe: Connection) -> None:
    clients = [Client(job.target, Transcript(time.monotonic)) for _ in job.streams]
    context = tls(job.target)
    await _in_turn([lambda client=client: client.open(context) for client in clients])
    pipe.send(sum(client.error is None for client in clients))
    begin = await asyncio.to_thread(_told, pipe)
    if begin is not None:
        pipe.send(await _measure(job, clients, begin, pipe))
    for client in clients:
        client.abort()


async def _measure(job: Job, clients: Sequence[Client], begin: float, pipe: Connection) -> Tally:
    tally = Tally()
    message_s = job.message_ms / 1000
    frames = [audio_frames(content, job.target.dialect, job.message_ms) for content in job.contents]
    senders = [(Sender(client, frames[stream.content], message_s, job.patience_s, tally.lateness),
                begin + stream.start_s)
               for client, stream in zip(clients, job.streams, strict=True) if client.error is None]
    listeners = [asyncio.create_task(_listen(client)) for client in clients]
    gc.freeze()  # thousands of connections live as long as the run: no use looking through them again and again
    await asyncio.sleep(max(0.0, begin - time.monotonic()))
    cpu, wall = time.process_time(), time.monotonic()
    wheel = asyncio.create_task(turn(senders))
    ending = asyncio.create_task(asyncio.to_thread(_told, pipe))
    whole = asyncio.gather(wheel, *listeners)
    await asyncio.wait({whole, ending}, return_when=asyncio.FIRST_COMPLETED)
    until = time.monotonic()
    tally.cpu_s = time.process_time() - cpu
    tally.busiest = tally.cpu_s / (until - wall)
    whole.cancel()  # in vain if it is done
    with suppress(asyncio.CancelledError):
        await whole
    for client, stream in zip(clients, job.streams, strict=True):
        _add(tally, client, job.rulers[stream.content], begin + stream.start_s, message_s, until)
    return tally


async def _listen(client: Client) -> None:
    await client.listen()
    await client.close()


def _add(tally: Tally, client: Client, ruler: Ruler, start: float, message_s: float, until: float) -> None:
    tally.problems.update(text[:REASON_CHARACTERS] for text in client.problems)
    if client.error is not None:
        tally.failures[str(client.error)[:REASON_CHARACTERS]] += 1
        tally.refused += client.refused
        if client.refused:
            return
    tally.finished += client.ended
    found = compare(ruler, client.transcript, start, message_s, until=until, ended=client.ended,
                    failed=client.error is not None)
    stopped_at = start + (ruler.messages - 1) * message_s
    last = client.transcript.last_final
    tally.add(found, last - stopped_at if client.ended and last is not None and last >= stopped_at else None)


async def _in_turn(opens: Sequence[Callable[[], object]]) -> None:
    """Calls all, a few at a time: a server's backlog of connections is short."""
    waiting = iter(opens)

    async def next_ones() -> None:
        for call in waiting:
            await call()

    await asyncio.gather(*(next_ones() for _ in range(OPENED_AT_ONCE)))


def _told(pipe: Connection) -> float | None:
    try:
        return pipe.recv()
    except (EOFError, OSError):  # the parent is gone
        return None


def _allow_files(streams: int) -> None:
    """Raises this process's limit of open files as far as it has to and may."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = streams + FILES_BESIDE_SOCKETS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def share(job: Job, processes: int) -> list[Job]:
    """The job divided: streams are dealt out one by one."""
    return [replace(job, streams=job.streams[number::processes]) for number in range(processes)]
