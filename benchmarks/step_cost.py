"""What one step costs at full size: ours for batches of streams, and FunASR's own for its one.

All take turns, step by step, over real speech where there is some, so that what else the machine does falls on all
alike. FunASR's step is its frontend, encoder, CIF and decoder, without its audio loading. Threads are those within
PyTorch's operators; the compiled layers of int8 take one in any case. With `--hotwords N` the same steps are measured
again with a list of N made-up words of its own for each row. The last line is one flat JSON object, of best
and median times.
"""

from __future__ import annotations

import os

# Threads that spin while they wait are slow where others share the cores. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import json
import time
from collections.abc import Callable, Sequence
from random import Random
from statistics import median

import numpy as np
import torch

from stream_server.audio.windows import DEFAULT_WINDOWS, Window
from stream_server.bench.speech import Speech
from stream_server.engine.runner import Row
from stream_server.models.architecture import UNSPOKEN
from stream_server.models.checkpoint import Model, load
from stream_server.models.devices import DTYPES
from stream_server.models.streaming import ParaformerRunner
from stream_server.speech.context_graph import ContextGraph, build
from stream_server.speech.decoding import Progress
from stream_server.speech.hotwords import DEFAULT_WEIGHT, Hotword
from stream_server.speech.spelling import SpeltWord
from tests.support import recordings
from tests.support.reference import Reference


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    window = DEFAULT_WINDOWS[0]
    audio = _audio(window, options.repeats + 1)
    models = {dtype: load(options.model, DTYPES[dtype], options.device) for dtype in options.dtype}
    # FunASR's stays what it is: fp32 on the CPU.
    exact = models.get("fp32") if options.device == "cpu" else None
    reference = None if options.without_funasr else Reference(exact or load(options.model))
    clock = time.process_time if options.processor_time else time.perf_counter
    summary: dict[str, object] = {"model": options.model, "device": options.device, "dtypes": options.dtype}
    for threads in options.threads:
        steps = {
            f"ours_{dtype}_batch_{batch}": _ours(_runner(model, window, batch), window, audio, batch, threads)
            for batch in options.batches for dtype, model in models.items()
        }
        if options.hotwords:
            steps |= {
                f"hotwords_{dtype}_batch_{batch}": _ours(_runner(model, window, batch), window, audio, batch, threads,
                                                         options.hotwords)
                for batch in options.batches for dtype, model in models.items()
            }
        if reference:
            steps["funasr"] = _funasr(reference, window, audio, threads)
        for name, took in _times(steps, options.repeats, clock).items():
            _report(summary, f"{name}_threads_{threads}", took, int(name.rpartition("_")[2]) if "_" in name else 1)
    print(json.dumps(summary))
    return 0


def hotwords_cost(words: int, dtype: str = "fp32", *, batch: int = 8, repeats: int = 5) -> float:
    """A step of the large model on one thread, a list of so many words in each row, over a step without lists: the
    median of the processor times of each."""
    window = DEFAULT_WINDOWS[0]
    audio, model = _audio(window, repeats + 1), load("random", DTYPES[dtype], "cpu")
    steps = {str(listed): _ours(ParaformerRunner(model, [window], batch), window, audio, batch, 1, listed)
             for listed in (0, words)}
    took = _times(steps, repeats, time.process_time)
    return median(took[str(words)]) / median(took["0"])


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks step_cost", description=__doc__)
    parser.add_argument("--model", default="random")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", nargs="+", default=["fp32"], choices=DTYPES, help="several take turns")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--hotwords", type=int, default=0, metavar="N", help="words of a list for each row")
    parser.add_argument("--processor-time", action="store_true", help="of all threads, where others use the machine")
    parser.add_argument("--without-funasr", action="store_true")
    return parser.parse_args(argv)


def _runner(model: Model, window: Window, batch: int) -> ParaformerRunner:
    """Warm: on CUDA its steps are captured then."""
    runner = ParaformerRunner(model, [window], batch)
    runner.warm_up()
    return runner


def _audio(window: Window, hops: int) -> list[np.ndarray]:
    if recordings.present():
        samples = recordings.joined(hops * window.hop_samples / 16_000)
    else:
        samples = Speech().take(0, hops * window.hop_samples)
    return np.split(samples, hops)


def _times(steps: dict[str, Callable[[int], None]], repeats: int,
           clock: Callable[[], float]) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(repeats + 1):
        for name, step in steps.items():
            start = clock()
            step(number)
            took[name].append(clock() - start)
    # The first warms up.
    return {name: times[1:] for name, times in took.items()}


def _ours(
    runner: ParaformerRunner, window: Window, audio: Sequence[np.ndarray], batch: int, threads: int, words: int = 0
) -> Callable[[int], None]:
    graphs = [_graph(words, len(runner.vocabulary), slot) if words else None for slot in range(batch)]
    progress: list[Progress | None] = [None] * batch

    def step(number: int) -> None:
        torch.set_num_threads(threads)
        # Each row hears another hop, so that they do not all fire alike.
        rows = [Row(slot, audio[(number + slot) % len(audio)], number == 0, graph=graphs[slot], progress=progress[slot])
                for slot in range(batch)]
        progress[:] = [result.progress for result in runner.run(window, rows)]

    return step


def _graph(words: int, vocabulary: int, seed: int) -> ContextGraph:
    """Words of 2 to 4 tokens of any kind."""
    chance = Random(seed)
    spelt = [[chance.randrange(UNSPOKEN, vocabulary) for _ in range(chance.randint(2, 4))] for _ in range(words)]
    return build([SpeltWord(Hotword(str(ids), DEFAULT_WEIGHT), (tuple(ids),)) for ids in spelt])


def _funasr(
    reference: Reference, window: Window, audio: Sequence[np.ndarray], threads: int
) -> Callable[[int], None]:
    cache = reference.new_cache(window)

    @torch.inference_mode()
    def step(number: int) -> None:
        torch.set_num_threads(threads)
        model, features = reference.model, reference.features(audio[number], cache, last=False)
        encoded, lengths = model.encode_chunk(features, torch.tensor([features.shape[1]]), cache=cache)
        embeddings, count, _, _ = model.calc_predictor_chunk(encoded, lengths, cache=cache, is_final=False)
        if int(count):
            scores, _ = model.cal_decoder_with_predictor_chunk(encoded, lengths, embeddings, count, cache=cache)
            scores.argmax(-1).tolist()

    return step


def _report(summary: dict[str, object], name: str, took: Sequence[float], rows: int) -> None:
    best, middle = 1000 * min(took), 1000 * median(took)
    per_chunk = f"{best / rows:.0f} and {middle / rows:.0f} ms a chunk"
    print(f"{name}: best {best:.0f} ms, median {middle:.0f} ms a step; {per_chunk}", flush=True)
    summary |= {f"{name}_best_ms": round(best, 1), f"{name}_median_ms": round(middle, 1)}
