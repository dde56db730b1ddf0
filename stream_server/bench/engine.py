"""`stream-server bench engine`: what a step costs, and how many streams one engine carries in real time."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stream_server import logs
from stream_server.bench.open_loop import Held, hold
from stream_server.bench.report import json_line, percentile, progress, table
from stream_server.bench.search import PRECISION, most
from stream_server.bench.speech import Speech
from stream_server.bench.steps import Bucket, Measured, judge, measure
from stream_server.bench.subject import Subject, make_subject
from stream_server.config import ServeSettings
from stream_server.errors import SettingsError
from stream_server.interpreter import prepare_process
from stream_server.units import SAMPLE_RATE

if TYPE_CHECKING:
    from stream_server.bench.ceilings import Copy, Product

PROBE_S = 8.0
"""How long a number of streams is tried in the search; what it finds is then held for the whole time."""

FEWEST_HOPS = 4
"""A shorter time than this many hops says nothing."""

FIRST_GUESS = 0.6
"""Of the rate of full batches: streams at random phases fill their batches less well, and need some slack."""

BUCKETS = {"cpu": (1, 2, 4, 8, 16), "cuda": (1, 4, 16, 64, 256, 512, 1024)}
LAG_MS = {"cpu": 300.0, "cuda": 100.0}


def run(settings: ServeSettings, options: argparse.Namespace) -> int:
    """Measures and prints; the exit status. Raises StreamServerError where nothing can be measured."""
    from stream_server.bench.plot import check_plotting

    logs.configure("bench", "warning")
    if options.plot:
        check_plotting()
    speech = Speech(options.audio)
    say = progress(options.json)
    say(f"model {settings.model}: loading and warming up")
    subject = make_subject(settings)
    prepare_process()
    buckets = _fitting(options.buckets, subject)
    lag_ms = options.lag_ms or LAG_MS[subject.info.device.partition(":")[0]]
    product, copy = _ceilings(subject, say)
    say(f"the engine's own choice is steps of at most {subject.max_batch} chunks")
    step_s = options.step_seconds or options.seconds
    say(f"steps of {', '.join(map(str, buckets))} chunks for {step_s:g} s, window {subject.window}, "
        f"{speech.seconds:.0f} s of speech")
    measured = measure(subject, speech, buckets, step_s, product, copy)
    judged = judge(subject, measured, product, copy)
    _print_steps(subject, measured, judged, options.json)
    tried, held = _streams(subject, speech, judged, lag_ms, options, say)
    _print_streams(tried, held, lag_ms, options.json)
    if options.plot:
        _draw(options.plot, subject, judged, [*tried, held], lag_ms)
        say(f"drawn: {options.plot}")
    print(_summary(subject, judged, held, lag_ms, options.json))
    return 0


def _fitting(buckets: Sequence[int] | None, subject: Subject) -> list[int]:
    most = min(subject.runner.max_batch, subject.info.slots // subject.runner.workers)
    if buckets is None:
        usual = BUCKETS[subject.info.device.partition(":")[0]]
        return [rows for rows in usual if rows <= most]
    if max(buckets) > most:
        slots = subject.info.slots
        raise SettingsError(f"--buckets {max(buckets)}: with {slots} slots a worker's step has at most {most} chunks")
    return sorted(set(buckets))


def _ceilings(subject: Subject, say: Callable[[str], None]) -> tuple[Product, Copy]:
    """The products and copies that the run is held against; says what other numbers would give."""
    import torch

    from stream_server.bench.ceilings import Copy, Product
    from stream_server.models.devices import DTYPES

    # That of int8 is told only where it is used: not every device has it.
    device, copy = subject.info.device, Copy(subject.info.device, subject.runner.workers)
    wanted = None
    for name, dtype in DTYPES.items():
        if name == "int8" != subject.info.dtype:
            continue
        product = Product(dtype, device, subject.runner.workers)
        seconds = min(product.seconds() for _ in range(5))
        say(f"matrix products in {name}, {product.rows} rows by {product.size} square: "
            f"{product.operations / seconds / 1e9:.4g} GFLOP/s")
        if dtype == getattr(torch, subject.info.dtype):
            wanted = product
    seconds = min(copy.seconds() for _ in range(5))
    say(f"copies: {copy.bytes / seconds / 1e9:.4g} GB/s read and written")
    return wanted, copy


def _print_steps(subject: Subject, measured: Measured, judged: Sequence[Bucket], as_json: bool) -> None:
    if as_json:
        for bucket in judged:
            print(json_line(dataclasses.asdict(bucket)), flush=True)
        return
    spoken = measured.spoken
    work, traffic = subject.work(spoken), subject.traffic(spoken)
    print(f"\na chunk: {work.operations / 1e9:.2f} GFLOP (encoder {2 * work.encoder / 1e9:.2f}, predictor "
          f"{2 * work.predictor / 1e9:.3f}, decoder {2 * work.decoder / 1e9:.2f}) at {spoken.tokens:.1f} tokens; "
          f"state read and written {traffic.state_of_a_row / 1e6:.1f} MB\n"
          f"a step: weights of {traffic.weights / 1e6:.0f} MB; a slot: {subject.slot_bytes / 1e6:.1f} MB\n")
    print(table([bucket.row() for bucket in judged]), flush=True)


def _streams(subject: Subject, speech: Speech, judged: Sequence[Bucket], lag_ms: float, options: argparse.Namespace,
             say: Callable[[str], None]) -> tuple[list[Held], Held]:
    """Everything that was tried, and the last: the number asked for, or the most that held for the whole time."""
    tried: list[Held] = []
    shortest = FEWEST_HOPS * subject.window.hop_samples / SAMPLE_RATE
    seconds = max(options.seconds, shortest)

    def holds(streams: int) -> bool:
        tried.append(hold(subject.runner, speech, streams, min(max(PROBE_S, shortest), seconds),
                          max_batch=subject.max_batch, seed=len(tried)))
        say(f"{streams} streams: p99 {tried[-1].delay_ms(99):.0f} ms")
        return tried[-1].within(lag_ms)

    streams = options.streams
    if not streams:
        say(f"\nstreams at random phases, the most with a p99 within {lag_ms:g} ms from complete chunk to tokens")
        guess = FIRST_GUESS * max(bucket.realtime_streams for bucket in judged)
        streams = most(holds, int(guess), subject.info.slots)
    fewer = PRECISION
    while True:
        say(f"{max(1, streams)} streams for {seconds:g} s")
        held = hold(subject.runner, speech, max(1, streams), seconds, max_batch=subject.max_batch)
        if options.streams or streams <= 1 or held.within(lag_ms):
            return tried, held
        # A short trial may have been lucky; where it was very lucky, one step down after the other would take for ever.
        tried.append(held)
        streams -= max(1, int(fewer * streams))
        fewer *= 2


def _print_streams(tried: Sequence[Held], held: Held, lag_ms: float, as_json: bool) -> None:
    if as_json:
        for each in (*tried, held):
            print(json_line({name.replace(" ", "_"): value for name, value in each.row().items()}), flush=True)
        return
    print("\n" + table([held.row()]))
    print(f"{held.segments} segments began and ended; {held.unanswered} chunks unanswered", flush=True)


def _summary(subject: Subject, judged: Sequence[Bucket], held: Held, lag_ms: float, as_json: bool) -> str:
    best = max(judged, key=lambda bucket: bucket.chunks_per_s)
    carried = held.streams if held.within(lag_ms) else 0
    device, dtype = subject.info.device, subject.info.dtype
    if not as_json:
        limit = "; more were not tried, for want of --slots" if carried == subject.info.slots else ""
        hop_ms = 1000 * subject.window.hop_samples // SAMPLE_RATE
        return (f"\n{carried} streams of {hop_ms} ms hops in real time on {device} in {dtype}: 99 of 100 chunks have "
                f"their tokens {held.delay_ms(99):.0f} ms after they are complete (limit {lag_ms:g} ms){limit}")
    return json_line({
        "streams": carried, "chunk_to_tokens_p99_ms": held.delay_ms(99),
        "step_p99_ms": 1000 * percentile(held.steps, 99), "chunks_per_s": best.chunks_per_s,
        "ceiling_share": best.ceiling_share, "slot_bytes": subject.slot_bytes, "device": device, "dtype": dtype,
    })


def _draw(file: Path, subject: Subject, judged: Sequence[Bucket], tried: Sequence[Held], lag_ms: float) -> None:
    from stream_server.bench.plot import Curve, Panel, draw

    rows = [bucket.rows for bucket in judged]
    chunk = [bucket.chunk_ms for bucket in judged]
    floor = [bucket.chunk_ms * bucket.floor_share for bucket in judged]
    by_streams = sorted(tried, key=lambda held: held.streams)
    streams = [held.streams for held in by_streams]
    draw(file, f"{subject.info.model} on {subject.info.device}, {subject.info.dtype}, window {subject.window}", [
        Panel("Cost of a chunk", "chunks in a step", "ms a chunk",
              [Curve("measured (median)", rows, chunk), Curve("floor: products and memory", rows, floor)],
              logarithmic=True),
        Panel("Streams in real time", "streams", "ms from complete chunk to tokens",
              [Curve(f"p{percent}", streams, [held.delay_ms(percent) for held in by_streams])
               for percent in (50, 95, 99)], limit=lag_ms),
    ])
