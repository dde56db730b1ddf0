"""Parity with FunASR: same weights, same audio, same tokens; alone and in batches of up to 16 streams, and at last the
second pass with lists of hotwords.

Without `--full`: every window and look-back with few layers, as the tests do. With it: the real architecture at full
size on a rotating share of all recordings, and the bundled model on all of them. The last line is one flat JSON object.
"""

from __future__ import annotations

import os

# Threads that spin while they wait are slow where others share the cores. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import dataclasses
import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks._offline_parity import compare as offline_parity
from stream_server.audio.windows import Window
from stream_server.bench.speech import SAMPLES, Speech
from stream_server.engine.runner import Row
from stream_server.models.architecture import PARAFORMER_LARGE
from stream_server.models.checkpoint import DEMO, Model, load, random_model
from stream_server.models.devices import DTYPES
from stream_server.models.hub_files import FILES
from stream_server.models.streaming import ParaformerRunner
from tests.support import recordings
from tests.support.parity import Recorded, Tally, compare_alone, compare_together, listen
from tests.support.reference import Reference, pieces_of

TRIPLES = ((10, 5), (8, 4), (4, 4), (2, 2))
LOOK_BACKS = ((4, 1), (1, 1), (0, 0))
SLOTS = 16
FULL_SECONDS = {10: 150, 8: 80, 4: 50, 2: 30}
"""Audio for each look-back at full size by hop, so that every window costs about the same; FunASR is the slow part."""
QUICK_SECONDS = {10: 40, 8: 32, 4: 16, 2: 8}
SHORT = (800, 801, 1500, 5000, 16_000)
"""Lengths in samples, 50 ms to 1 s, that each window begins with."""


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    if not recordings.present() and not options.dtypes:
        print(recordings.ABSENT, file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    if options.dtypes:
        return _report_dtypes(options)
    windows = [Window(hop, ahead, *back) for hop, ahead in TRIPLES for back in LOOK_BACKS]
    windows = [window for window in windows if _chosen(window, options)]
    total = Tally()
    used: set[str] = set()
    for tally, names in _runs(windows, options):
        total.add(tally)
        used.update(names)
    summary = _summary(total, len(used)) | offline_parity([samples for _, samples in _all_recordings()], options.full)
    _say(options, "second pass: {offline_segments} segments, {offline_tokens} tokens; differ "
                  "{offline_mismatched_tokens}".format_map(summary))
    print(json.dumps(summary))
    names = ("mismatched_tokens", "batched_mismatched_tokens", "offline_mismatched_tokens")
    return 1 if any(summary[name] for name in names) else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks parity", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the real size on many recordings: about half an hour")
    parser.add_argument("--json", action="store_true", help="only the JSON object, no line for each configuration")
    parser.add_argument("--window", help="only this window, e.g. 0,10,5")
    parser.add_argument("--look-back", help="only these look-backs, e.g. 4,1")
    parser.add_argument("--resume", type=Path, help="file that keeps each finished configuration; it is not run again")
    parser.add_argument("--dtypes", action="store_true", help="tokens that differ in bf16, fp16 and int8, instead")
    parser.add_argument("--model", default="demo", help="model for --dtypes")
    parser.add_argument("--device", default="cpu", help="device for --dtypes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args(argv)


def _chosen(window: Window, options: argparse.Namespace) -> bool:
    back = f"{window.encoder_look_back},{window.decoder_look_back}"
    triple = ",".join(map(str, window.triple))
    return options.window in (None, triple) and options.look_back in (None, back)


def _runs(windows: Sequence[Window], options: argparse.Namespace) -> Iterator[tuple[Tally, list[str]]]:
    """Every configuration's tally and the recordings it used, from `--resume`'s file or by comparing."""
    if options.full:
        yield from _over(windows, "full size", lambda: random_model(PARAFORMER_LARGE), FULL_SECONDS, options)
    else:
        small = dataclasses.replace(PARAFORMER_LARGE, encoder_layers=4, decoder_layers=2)
        yield from _over(windows, "4+2 layers", lambda: random_model(small), QUICK_SECONDS, options)
    if not all((DEMO / name).is_file() for name in FILES):
        _say(options, f"bundled model: not there ({DEMO} lacks files)")
        return
    seconds = dict.fromkeys(FULL_SECONDS, 10_000 if options.full else 20)
    only = [window for window in windows if window == Window(10, 5) or not options.full]
    yield from _over(only, "bundled model", lambda: load("demo"), seconds, options)


def _over(
    windows: Sequence[Window], title: str, make: Callable[[], Model], seconds: dict[int, int],
    options: argparse.Namespace,
) -> Iterator[tuple[Tally, list[str]]]:
    rotation = itertools.cycle(_all_recordings())
    model: Model | None = None
    reference: Reference | None = None
    for window in windows:
        # Taken even where the comparison is not run again, so that the next one's share does not depend on it.
        share = _share(rotation, seconds[window.hop])
        kept = _kept(options, f"{title} {window}")
        if kept is None:
            model = model or make()
            reference = reference or Reference(model)
            start = time.perf_counter()
            tally = _compare(model, reference, window, share)
            names = [name for name, _ in share]
            _keep(options, f"{title} {window}", tally, names)
            kept = tally, names, time.perf_counter() - start
        tally, names, took = kept
        _say(options, _line(f"{title}, {window}", tally, took))
        yield tally, names


def _all_recordings() -> list[tuple[str, np.ndarray]]:
    return [
        (entry["audio"], recordings.samples(corpus, entry["audio"]))
        for corpus in ("clips", "fleurs", "aishell")
        for entry in recordings.manifest(corpus)
    ]


def _share(rotation: Iterator[tuple[str, np.ndarray]], seconds: int) -> list[tuple[str, np.ndarray]]:
    """The next recordings, `seconds` of them, none twice."""
    share: dict[str, np.ndarray] = {}
    while sum(map(len, share.values())) < seconds * 16_000:
        name, samples = next(rotation)
        if name in share:
            break
        share[name] = samples
    return list(share.items())


def _compare(
    model: Model, reference: Reference, window: Window, share: Sequence[tuple[str, np.ndarray]]
) -> Tally:
    runner, listener = listen(model, [window], SLOTS)
    random_ = random.Random(str(window))
    streams = [(f"{length} samples of {name}", samples[4000:][:length]) for length, (name, samples) in
               zip(SHORT, itertools.cycle(share), strict=False)]
    tally, recorded = Tally(), list[Recorded]()
    for name, samples in (*streams, *share):
        pieces = pieces_of(samples, window, empty_last=random_.random() < 0.5)
        stream, alone = compare_alone(reference, runner, listener, pieces, window, name)
        recorded.append(stream)
        tally.add(alone)
    tally.add(compare_together(runner, recorded, random_))
    return tally


def _kept(options: argparse.Namespace, key: str) -> tuple[Tally, list[str], float] | None:
    if options.resume is None or not options.resume.exists():
        return None
    for line in options.resume.read_text("utf-8").splitlines():
        entry = json.loads(line)
        if entry["key"] == key:
            return Tally(**entry["tally"]), entry["recordings"], 0.0
    return None


def _keep(options: argparse.Namespace, key: str, tally: Tally, names: list[str]) -> None:
    if options.resume is not None:
        with options.resume.open("a", encoding="utf-8") as file:
            entry = {"key": key, "tally": dataclasses.asdict(tally), "recordings": names}
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _say(options: argparse.Namespace, line: str) -> None:
    if not options.json:
        print(line, flush=True)


def _line(title: str, tally: Tally, took: float) -> str:
    worst = ", ".join(f"{name} {value:.0e}" for name, value in tally.worst.items())
    line = (
        f"{title}: {tally.streams} streams, {tally.seconds:.0f} s, {tally.chunks} chunks, {tally.tokens} tokens; "
        f"differ {tally.mismatched_tokens} alone, {tally.batched_mismatched_tokens} in batches; "
        f"tolerated {tally.tolerated}; largest differences {worst}; took {took:.0f} s"
    )
    return "\n  ".join([line, *tally.places])


def _summary(total: Tally, used: int) -> dict[str, float]:
    names = ("streams", "chunks", "tokens", "mismatched_tokens", "batched_mismatched_tokens", "tolerated",
             "tokens_not_compared")
    summary = {name: getattr(total, name) for name in names}
    return {**summary, "recordings": used, "audio_s": round(total.seconds, 1), **{
        f"worst_{name}": value for name, value in total.worst.items()}}


def _report_dtypes(options: argparse.Namespace) -> int:
    """Tokens of all recordings, or where there are none of the samples, in each kind of numbers that the device has,
    and how many of them differ from fp32's."""
    shares = _all_recordings() if recordings.present() else [
        (file.name, Speech(file).samples) for file in sorted(SAMPLES.glob("*.wav"))]
    window, said, took = Window(10, 5), {}, {}
    for name, dtype in DTYPES.items():
        if name == "int8" and options.device != "cpu":
            continue
        start = time.perf_counter()
        said[name] = _transcribe(load(options.model, dtype, options.device), window, [part for _, part in shares])
        took[name] = time.perf_counter() - start
    summary: dict[str, object] = {"model": options.model, "device": options.device, "recordings": len(shares)}
    for name, texts in said.items():
        edits = sum(_edits(exact, text) for exact, text in zip(said["fp32"], texts, strict=True))
        tokens = sum(map(len, texts))
        _say(options, f"{name}: {tokens} tokens, {edits} differ from fp32's; took {took[name]:.0f} s")
        summary |= {f"{name}_tokens": tokens, f"{name}_differ": edits}
    print(json.dumps(summary))
    return 0


def _transcribe(model: Model, window: Window, streams: Sequence[np.ndarray]) -> list[list[str]]:
    """Each stream's tokens; sixteen at a time, the longest first, so that batches end together."""
    runner = ParaformerRunner(model, [window], SLOTS)
    runner.warm_up()
    texts: list[list[str]] = [[] for _ in streams]
    order = sorted(range(len(streams)), key=lambda index: -len(streams[index]))
    for group in (order[start : start + SLOTS] for start in range(0, len(order), SLOTS)):
        pieces = {index: pieces_of(streams[index], window) for index in group}
        for step in range(max(map(len, pieces.values()))):
            going = [index for index in group if step < len(pieces[index])]
            rows = [Row(group.index(index), pieces[index][step], step == 0, step == len(pieces[index]) - 1)
                    for index in going]
            for index, result in zip(going, runner.run(window, rows), strict=True):
                texts[index] += result.pieces
    return texts


def _edits(expected: Sequence[str], found: Sequence[str]) -> int:
    """Insertions, deletions and replacements between two token sequences."""
    row = list(range(len(found) + 1))
    for above, token in enumerate(expected):
        left, row[0] = row[0], above + 1
        for place, other in enumerate(found):
            left, row[place + 1] = row[place + 1], min(row[place + 1] + 1, row[place] + 1, left + (token != other))
    return row[-1]
