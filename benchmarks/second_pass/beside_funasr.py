"""The second pass beside FunASR's own SeacoParaformer, in one process: segments a second, in turns.

Both have the same seeded weights at full size, hear the same recordings, and for each of these another list of
hotwords, which neither has seen before. FunASR knows one list for all rows of a call, so that it hears one segment at a
time, with all threads; ours goes through the engine's final lane, which hears segments of like lengths together, a
worker a thread.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import torch

from stream_server.audio.windows import Window
from stream_server.engine.costs import measure_second
from stream_server.engine.finals import Finals
from stream_server.engine.statistics import Statistics
from stream_server.engine.stream import Stream
from stream_server.models.offline_architecture import SEACO_LARGE, OfflineArchitecture
from stream_server.models.offline_checkpoint import random_offline_model
from stream_server.models.second_runner import OfflineRunner
from stream_server.speech.hotwords import DEFAULT_WEIGHT, HotwordList
from stream_server.speech.recognition import SecondPass, Span

WORDS = 10
DOOR = b"benchmark"
NEVER_S = 1e9


def compare(segments: Sequence[np.ndarray], dtype: torch.dtype, threads: int, turns: int,
            say: Callable[[str], None], architecture: OfflineArchitecture = SEACO_LARGE) -> dict[str, float]:
    """Segments of int16 samples at 16 kHz through both, `turns` times, on so many `threads`. Rates are of the best
    turn of each; `ratio_funasr` says how many times as fast ours is, `ratio_funasr_cpu` in how many times less of the
    processors' time, which other work on the machine changes less."""
    from tests.support.offline_reference import OfflineReference

    former = torch.get_num_threads()
    exact = random_offline_model(architecture)
    reference = OfflineReference(exact.network)
    runner = OfflineRunner(random_offline_model(architecture, dtype))
    torch.set_num_threads(1)
    most_samples = measure_second(runner).most_samples
    lists = [_lists(len(segments), runner.vocabulary, turn) for turn in range(turns + 1)]
    # One round that does not count: the first call of each pays for what later ones find ready.
    ours, theirs = [], []
    for turn, hotwords in enumerate(lists):
        torch.set_num_threads(threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.append(_timed(_funasr, reference, runner, segments[:2] if turn == 0 else segments, hotwords))
        torch.set_num_threads(1)
        ours.append(_timed(_lane, runner, segments[:2] if turn == 0 else segments, hotwords, threads, most_samples))
        if turn:
            rates = [len(segments) / each[-1][0] for each in (ours, theirs)]
            say(f"turn {turn}: {rates[0]:.2f} segments a second, FunASR {rates[1]:.2f}")
    torch.set_num_threads(former)
    (took, cpu), (their, their_cpu) = (map(min, zip(*each[1:], strict=True)) for each in (ours, theirs))
    count = len(segments)
    return {"ratio_funasr": their / took, "segments_per_s": count / took, "funasr_segments_per_s": count / their,
            "ratio_funasr_cpu": their_cpu / cpu, "segment_cpu_s": cpu / count,
            "funasr_segment_cpu_s": their_cpu / count,
            "ratio_segments": count}


def _timed(hear: Callable[..., None], *arguments: object) -> tuple[float, float]:
    """Seconds, by the clock and of all processors."""
    began, cpu = time.perf_counter(), time.process_time()
    hear(*arguments)
    return time.perf_counter() - began, time.process_time() - cpu


def _lists(count: int, vocabulary: Sequence[str], seed: int) -> list[HotwordList]:
    random = Random(f"hotwords {seed}")
    characters = [piece for piece in vocabulary if len(piece) == 1 and "\u4e00" <= piece <= "\u9fff"]
    return [HotwordList.of([("".join(random.sample(characters, random.randint(2, 4))), DEFAULT_WEIGHT)
                            for _ in range(WORDS)]) for _ in range(count)]


def _funasr(reference: object, runner: OfflineRunner, segments: Sequence[np.ndarray],
            lists: Sequence[HotwordList]) -> None:
    for samples, own in zip(segments, lists, strict=False):
        reference.recognise(samples, runner.spelt(own))


def _lane(runner: OfflineRunner, segments: Sequence[np.ndarray], lists: Sequence[HotwordList], workers: int,
          most_samples: int) -> None:
    """Through the final lane, where all segments have ended at once."""
    answers: list[SecondPass] = []
    finals = Finals(runner, Statistics(), lambda _, each: answers.append(each), patience_s=NEVER_S,
                    most_waiting=len(segments), most_samples=most_samples, most_running=workers)
    for number, (samples, own) in enumerate(zip(segments, lists, strict=False)):
        stream = Stream((DOOR, str(number)), 0, Window(10, 5))
        finals.keep(stream, samples, 0)
        finals.add(stream, 0, Span(0, len(samples)), 0.0, own)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                begun = finals.begin(0.0)
            if begun is None:
                return
            outcome = begun.run()
            with lock:
                finals.finish(begun, outcome)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = [answer.error for answer in answers if answer.error is not None]
    if failed or len(answers) != len(segments):
        raise RuntimeError(f"{len(answers)} of {len(segments)} segments were answered, {len(failed)} failed: {failed}")
