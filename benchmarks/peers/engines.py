"""One step of each engine, 600 ms of real speech for every stream that it advances."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.peers.sherpa_files import SherpaModel
from benchmarks.peers.speech import all_hops, speaker
from stream_server.audio.windows import DEFAULT_WINDOWS

WINDOW = DEFAULT_WINDOWS[0]


@dataclass(frozen=True, slots=True)
class Form:
    """How an engine is run.

    engine     ours, funasr or sherpa
    numbers    fp32, bf16, fp16 or auto; sherpa's are fp32 or int8
    processes  each with the weights of its own, on `threads` threads
    batches    ours alone: streams that advance together, to be tried one after the other
    """

    engine: str
    numbers: str
    processes: int
    threads: int
    batches: tuple[int, ...] = (1,)

    def __str__(self) -> str:
        return f"{self.engine} {self.numbers}, {self.processes} x {self.threads}"


@dataclass(frozen=True, slots=True)
class Material:
    """What engines are made of: the model by the name that `load` takes, and its export."""

    model: str
    sherpa: Path


class Lane(Protocol):
    """Steps, one after the other, in a thread of its own."""

    def step(self) -> int:
        """Hops that it took."""


def lanes(form: Form, material: Material, process: int) -> dict[int, Sequence[Lane]]:
    """For every batch size of `form` what the process `process` is to run at the same time."""
    if form.engine == "sherpa":
        return {1: _sherpa_lanes(form, material)}
    import torch

    from stream_server.models.checkpoint import load
    from stream_server.models.devices import choose_dtype

    torch.set_num_threads(form.threads if form.engine == "funasr" else 1)
    model = load(material.model, choose_dtype(form.numbers, "cpu"))
    if form.engine == "funasr":
        return {1: [FunasrLane(model, process)]}
    return {batch: [OurLane(model, batch, process * form.threads + number) for number in range(form.threads)]
            for batch in form.batches}


def _sherpa_lanes(form: Form, material: Material) -> Sequence[Lane]:
    import sherpa_onnx

    files = SherpaModel(material.sherpa)
    recogniser = sherpa_onnx.OnlineRecognizer.from_paraformer(
        tokens=str(files.tokens), encoder=str(files.encoder(form.numbers)), decoder=str(files.decoder(form.numbers)),
        num_threads=1,
    )
    return [SherpaLane(recogniser, number) for number in range(form.threads)]


class OurLane:
    """The engine's runner with a batch of streams: one of its workers."""

    def __init__(self, model: object, batch: int, lane: int) -> None:
        from stream_server.engine.runner import Row
        from stream_server.models.streaming import ParaformerRunner

        self._row = Row
        self._runner = ParaformerRunner(model, [WINDOW], batch)
        self._speakers = [speaker(all_hops(), lane * batch + slot) for slot in range(batch)]

    def step(self) -> int:
        hops = [next(stream) for stream in self._speakers]
        rows = [self._row(slot, hop.samples, first=hop.first) for slot, hop in enumerate(hops)]
        failed = [result.error for result in self._runner.run(WINDOW, rows) if result.error]
        if failed:
            raise RuntimeError(failed[0])
        return len(rows)


class FunasrLane:
    """FunASR's frontend, encoder, CIF and decoder as they are, for the one stream that they allow."""

    def __init__(self, model: object, process: int) -> None:
        from tests.support.reference import Reference

        # FunASR says on stdout what it did not find when it is loaded.
        with contextlib.redirect_stdout(sys.stderr):
            self._reference = Reference(model)
        self._speaker = speaker(all_hops(), process)
        self._cache: dict = {}

    def step(self) -> int:
        import torch

        hop = next(self._speaker)
        if hop.first:
            self._cache = self._reference.new_cache(WINDOW)
        with torch.inference_mode():
            self._recognise(hop.samples)
        return 1

    def _recognise(self, samples: np.ndarray) -> list[int]:
        import torch

        model, cache = self._reference.model, self._cache
        features = self._reference.features(samples, cache, last=False)
        encoded, lengths = model.encode_chunk(features, torch.tensor([features.shape[1]]), cache=cache)
        embeddings, count, _, _ = model.calc_predictor_chunk(encoded, lengths, cache=cache, is_final=False)
        if not int(count):
            return []
        scores, _ = model.cal_decoder_with_predictor_chunk(encoded, lengths, embeddings, count, cache=cache)
        return scores.argmax(-1).flatten().tolist()


class SherpaLane:
    """sherpa-onnx's recogniser, shared by the lanes of a process; one stream at a time, as its server's threads do."""

    def __init__(self, recogniser: object, number: int) -> None:
        self._recogniser = recogniser
        self._speaker = speaker(all_hops(), number)
        self._stream = recogniser.create_stream()

    def step(self) -> int:
        hop = next(self._speaker)
        if hop.first:
            self._stream = self._recogniser.create_stream()
        self._stream.accept_waveform(16_000, hop.samples.astype(np.float32) / 32768)
        while self._recogniser.is_ready(self._stream):
            self._recogniser.decode_stream(self._stream)
            self._recogniser.get_result(self._stream)
        return 1
