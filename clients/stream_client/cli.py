"""`stream-client file`, `stream-client mic` and `stream-client load`."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any

from stream_client.connection import DEFAULT_URL
from stream_client.dialects import DIALECTS
from stream_client.errors import StreamClientError
from stream_client.load import command as load_command
from stream_client.media import read_blocks
from stream_client.microphone import Microphone
from stream_client.pace import real_time
from stream_client.report import JsonReport, Report, TextReport
from stream_client.timings import Stopwatch
from stream_client.transcription import begin, called, transcribe
from stream_client.wishes import Wishes, parse_chunk_size, parse_room

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        wishes = _wishes(arguments)
        if arguments.command == "load":
            return _run_load(load_command.read(arguments, wishes), arguments.json)
        DIALECTS[arguments.dialect](wishes)
    except ValueError as error:
        parser.error(str(error))
    report: Report = JsonReport(sys.stdout) if arguments.json else TextReport(sys.stdout, sys.stderr)
    run = _run_files if arguments.command == "file" else _run_microphone
    try:
        return asyncio.run(run(arguments, wishes, report))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; nothing is left to tell anyone, not even at exit.
        sys.stdout = None  # type: ignore[assignment]
        return FAILED


def _run_load(load: load_command.Load, as_json: bool) -> int:
    try:
        return DONE if load_command.execute(load, as_json, sys.stdout, sys.stderr) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


async def _run_files(arguments: argparse.Namespace, wishes: Wishes, report: Report) -> int:
    several = len(arguments.paths) > 1
    if arguments.together:
        runs = (_run_file(path, arguments, wishes, report, path if several else "") for path in arguments.paths)
        succeeded = await asyncio.gather(*runs)
        return DONE if all(succeeded) else FAILED
    code = DONE
    for path in arguments.paths:
        if several:
            report.heading(path)
        if not await _run_file(path, arguments, wishes, report, ""):
            code = FAILED
    return code


async def _run_file(path: str, arguments: argparse.Namespace, wishes: Wishes, report: Report, shown_as: str) -> bool:
    try:
        blocks = await begin(read_blocks(path))
        paced = blocks if arguments.fast else real_time(blocks)
        await _recognise(paced, path, arguments, called(wishes, path), report, shown_as)
    except StreamClientError as error:
        report.error(error, path, shown_as)
        return False
    return True


async def _run_microphone(arguments: argparse.Namespace, wishes: Wishes, report: Report) -> int:
    try:
        microphone = Microphone(_device(arguments.device))
        with _stopped_by_interrupt(microphone, report):
            blocks = await begin(microphone.blocks())
            report.note("listening; Ctrl-C ends")
            await _recognise(blocks, "microphone", arguments, wishes, report, "")
    except StreamClientError as error:
        report.error(error, "microphone", "")
        return FAILED
    if microphone.dropped:
        report.note(f"the server was too slow: {microphone.dropped} blocks of 60 ms were not sent")
    return DONE


async def _recognise(
    blocks: AsyncIterator[bytes],
    source: str,
    arguments: argparse.Namespace,
    wishes: Wishes,
    report: Report,
    shown_as: str,
) -> None:
    stopwatch = Stopwatch()
    session = transcribe(
        stopwatch.watch_sent(blocks), url=arguments.url, dialect=arguments.dialect, wishes=wishes,
        insecure=arguments.insecure, cafile=arguments.cafile,
    )  # fmt: skip
    try:
        async with aclosing(session) as events:
            async for event in events:
                stopwatch.received(event)
                report.event(event, source, shown_as)
    finally:
        if arguments.timings and stopwatch.started:
            report.timings(stopwatch.timings(), source, shown_as)


@contextmanager
def _stopped_by_interrupt(microphone: Microphone, report: Report) -> Any:
    """The first Ctrl-C ends the speech and waits for its final; the second ends the program."""
    loop = asyncio.get_running_loop()

    def end_speech() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        report.note("waiting for the last words; Ctrl-C again does not wait")
        microphone.stop()

    try:
        loop.add_signal_handler(signal.SIGINT, end_speech)
    except NotImplementedError:  # Windows: Ctrl-C ends the program at once
        pass
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _wishes(arguments: argparse.Namespace) -> Wishes:
    return Wishes(
        chunk_size=arguments.chunk_size,
        hop_size=arguments.hop_size,
        vad=arguments.vad,
        end_silence_ms=arguments.end_silence_ms,
        max_segment_ms=arguments.max_segment_ms,
        hotwords=tuple(word for word in re.split("[,，、]", arguments.hotwords or "") if word.strip()),
        **_seat(arguments),
    )


def _seat(arguments: argparse.Namespace) -> dict[str, str]:
    """Where and as whom to speak."""
    room, name = getattr(arguments, "room", None), getattr(arguments, "name", None)
    if room is not None and not name:
        raise ValueError("--room needs --name: who speaks")
    return {**({"room": parse_room(room)} if room is not None else {}), **({"name": name} if name else {})}


def _device(text: str | None) -> str | int | None:
    return int(text) if text is not None and text.isdigit() else text


def _chunk_size(text: str) -> tuple[int, int, int] | int:
    try:
        return parse_chunk_size(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither three numbers as 0,10,5 nor a number of samples"
        ) from None


def _parser() -> argparse.ArgumentParser:
    about = "Speech to text through a running stream-server."
    parser = argparse.ArgumentParser(prog="stream-client", description=about)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    file = commands.add_parser("file", help="recognise audio or video files", description=about)
    add = file.add_argument
    add("paths", nargs="+", metavar="PATH", help="any file that FFmpeg reads; .pcm and .raw are 16 kHz s16le")
    add("--fast", action="store_true", help="send as fast as the server takes it, not at the pace of speech")
    add("--together", action="store_true", help="all files at once, each in a session of its own")
    microphone = commands.add_parser("mic", help="recognise the microphone", description=about)
    microphone.add_argument("--device", help="name or number of the microphone; the system's default otherwise")
    for command in (file, microphone):
        _add_output(command)
        _add_common(command)
    load = commands.add_parser("load", help="measure a server under many streams", description=load_command.ABOUT)
    load_command.add_arguments(load)
    _add_common(load)
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--dialect", choices=sorted(DIALECTS), default="native", help="protocol (default: %(default)s)")
    add("--json", action="store_true", help="one JSON object a line: ready, speech, partial, final, ended, error")
    add("--timings", action="store_true", help="say at the end how long it took")
    add("--room", metavar="LINK", help="speak in a meeting: its link to speak by, or the token in it")
    add("--name", help="who speaks, in a meeting; else a name for the session")


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--url", default=DEFAULT_URL, help="address of the server (STREAM_CLIENT_URL, or %(default)s)")
    add("--chunk-size", type=_chunk_size, metavar="SIZE", help="0,10,5 in frames of 60 ms, or samples at 16 kHz")
    add("--hop-size", type=int, metavar="SAMPLES", help="with a chunk size in samples: samples per step")
    add("--vad", choices=("webrtc", "fsmn", "silero", "none"),
        help="what finds the end of a segment; none: only the end of the audio")
    add("--end-silence-ms", type=int, metavar="MS", help="silence that ends a segment")
    add("--max-segment-ms", type=int, metavar="MS", help="longest segment")
    add("--hotwords", metavar="WORDS", help="words that are likely to be said, between commas")
    add("--insecure", action="store_true", help="with wss: accept any certificate")
    add("--cafile", metavar="PEM", help="with wss: certificates to trust")
