"""The engine's second pass over offline Paraformer."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stream_server.engine.pieces import Pieces, finished
from stream_server.engine.runner import Heard, Segment
from stream_server.errors import EngineError
from stream_server.models.offline import Recognised
from stream_server.models.offline_checkpoint import OfflineModel
from stream_server.speech.context_graph import ContextGraph, GraphCache
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.recognition import Span
from stream_server.speech.spelling import Speller
from stream_server.units import SAMPLE_RATE, ms_to_samples

MOST_ROWS = {"cuda": 64, "cpu": 16}
"""Segments of a pass beyond which a device gains nothing."""

WORDS_AT_ONCE = 50
"""Hotwords that are read in a piece of work."""

LISTS_KEPT = 256
"""Lists of hotwords whose vectors are kept, the latest used; a list of 1,000 words takes 2 MB."""


class OfflineRunner:
    """A model of the second pass on its device; see `engine.runner.SecondRunner`."""

    def __init__(self, model: OfflineModel) -> None:
        self.network = model.network
        self.vocabulary = model.vocabulary
        self._device = torch.device(model.device)
        self.max_batch = MOST_ROWS[self._device.type]
        self._knows_hotwords = model.network.architecture.bias is not None
        self._speller = Speller(model.vocabulary)
        self._graphs = GraphCache(self._speller)
        self._words: OrderedDict[HotwordList, Tensor | None] = OrderedDict()
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Hears noise once, alone and with a neighbour. Raises EngineError."""
        noise = np.random.default_rng(0).normal(0, 3000, SAMPLE_RATE).astype(np.int16)
        for count in (1, 2):
            try:
                heard = finished(self.hear([Segment(noise)] * count))
            except Exception as error:
                raise EngineError(f"warm-up of the second pass failed: {error}") from error
            if heard[0].error is not None:
                raise EngineError(f"warm-up of the second pass failed: {heard[0].error}")

    def hear(self, segments: Sequence[Segment]) -> Pieces[list[Heard]]:
        """See `SecondRunner.hear`: a piece is a layer over all segments."""
        words: list[Tensor | None] = []
        for segment in segments:
            words.append((yield from self._vectors(segment.hotwords)))
        graphs: list[ContextGraph | None] = []
        for segment in segments:
            graphs.append((yield from self._graph(segment.hotwords)))
        work = self.network.recognise_in_pieces([segment.samples for segment in segments], words, graphs)
        while True:
            try:
                parts = next(work)
            except StopIteration as end:
                results: list[Recognised] = end.value
                break
            if self._device.type == "cuda":
                # What was asked for is to be done by then, or all of the pass would lie before the next step.
                torch.cuda.current_stream(self._device).synchronize()
            yield parts
        return [self._heard(result, len(segment.samples)) for result, segment in zip(results, segments, strict=True)]

    def _heard(self, result: Recognised, samples: int) -> Heard:
        if result.error is not None:
            return Heard(error=result.error)
        spans = [Span(*(min(ms_to_samples(ms), samples) for ms in time)) for time in result.times]
        confidences = [round(100 * probability) for probability in result.confidences]
        return Heard([self.vocabulary[id_] for id_ in result.ids], spans, confidences)

    def spelt(self, hotwords: HotwordList) -> list[list[int]]:
        """The ids of each word of a list, of each way to write it; words that the vocabulary lacks are left out."""
        return [list(ids) for word in self._speller.spell(hotwords).words for ids in word.spellings]

    def _graph(self, hotwords: HotwordList | None) -> Pieces[ContextGraph | None]:
        if not hotwords:
            return None
        with self._lock:
            graph = self._graphs.find(hotwords)
        if graph is None:
            for graph in self._graphs.building(hotwords):
                if graph is None:
                    yield
            with self._lock:
                self._graphs.keep(hotwords, graph)
        return graph if graph.words else None

    def _vectors(self, hotwords: HotwordList | None) -> Pieces[Tensor | None]:
        """A list's vectors, so many words in a piece; of no list and of one that cannot be spelt, None."""
        if not hotwords or not self._knows_hotwords:
            return None
        with self._lock:
            if hotwords in self._words:
                self._words.move_to_end(hotwords)
                return self._words[hotwords]
        words = self.spelt(hotwords)
        vectors = None
        if words:
            read = []
            for start in range(0, len(words), WORDS_AT_ONCE):
                read.append(self.network.encode_words(words[start : start + WORDS_AT_ONCE]))
                yield
            # Each slice has the vector for "no hotword" last; one is enough.
            vectors = torch.cat([*(part[:-1] for part in read), read[-1][-1:]])
        with self._lock:
            self._words[hotwords] = vectors
            while len(self._words) > LISTS_KEPT:
                self._words.popitem(last=False)
        return vectors
