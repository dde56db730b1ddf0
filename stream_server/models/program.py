"""A step of fixed shapes: so many rows of one window, with room for so many tokens each, and one wait for the device.

On CUDA it is captured once as a graph and then replayed, since launching a thousand small kernels costs more than they
do; elsewhere it runs as it is written, which is how it is tested without a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stream_server.audio.windows import Window
from stream_server.models.caches import Caches, Writes
from stream_server.models.frontend import CARRY_SAMPLES
from stream_server.models.paraformer import Batch, Heard, Paraformer

TOKENS_PER_FRAME = 0.6
"""Room in a step, for each frame of its hop. Speech fires a quarter of a token a frame; a row that fires more than
there is room for costs a second pass of the decoder, over such rows alone."""


def tokens_that_fit(window: Window) -> int:
    """Tokens of a row for which a program has room."""
    return math.ceil(TOKENS_PER_FRAME * window.hop)


class Program:
    """`rows` rows of `window` over `caches`.

    To be filled before each `run`: `samples` [rows, 480 + hop * 960] int16 and `numbers` [5, rows] int64, which are
    the slots, fbanks, new, first and last of `paraformer.Batch`. All begin as rows of nobody.
    """

    def __init__(self, network: Paraformer, caches: Caches, window: Window, rows: int) -> None:
        self.rows = rows
        self.window = window
        self.tokens = tokens_that_fit(window)
        self._network = network
        self._caches = caches
        self._device = caches.position.device
        pinned = self._device.type == "cuda"
        samples = torch.zeros(rows, CARRY_SAMPLES + window.hop_samples, dtype=torch.int16, pin_memory=pinned)
        numbers = torch.zeros(5, rows, dtype=torch.int64, pin_memory=pinned)
        self.samples, self.numbers = samples.numpy(), numbers.numpy()
        self._sent = ((samples, samples.to(self._device)), (numbers, numbers.to(self._device)))
        self._graph: torch.cuda.CUDAGraph | None = None
        self.clear(0)

    def clear(self, after: int) -> None:
        """Rows from `after` on are nobody's: they begin, hear nothing, and write to the scratch slot."""
        self.numbers[:, after:] = np.array([self._caches.slots, 0, 0, 1, 0])[:, None]

    @torch.inference_mode()
    def capture(self, stream: torch.cuda.Stream, pool: tuple[int, int] | None = None) -> tuple[int, int]:
        """Make the graph, over rows of nobody; CUDA only. Graphs that share a memory `pool` must not run at once, and
        are to be captured on one `stream`: they share what cuBLAS keeps for it, too."""
        self.clear(0)
        # PyTorch waits for the current device, which else need not be that of the stream.
        with torch.cuda.device(self._device):
            here = torch.cuda.current_stream()
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                self._send()
                self._compute()
            here.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                self._compute()
        self._result = torch.zeros(self._packed.shape, dtype=self._packed.dtype, pin_memory=True)
        self._graph = graph
        return graph.pool()

    @torch.inference_mode()
    def run(self) -> np.ndarray:
        """The step: `pack`ed numbers of each row, of which `scores` [rows, tokens, vocabulary] stay on the device until
        any program runs again. A row with a greater count than `tokens` is to be asked again by `say_rest`."""
        self._send()
        if self._graph is None:
            self._compute()
            return self._packed.cpu().numpy()
        self._graph.replay()
        self._result.copy_(self._packed, non_blocking=True)
        torch.cuda.current_stream(self._device).synchronize()
        return self._result.numpy()

    @torch.inference_mode()
    def say_rest(self, rows: Sequence[int], tokens: int) -> tuple[np.ndarray, Tensor]:
        """What `run` would have given for `rows`, which fire at most `tokens` each, had there been room for them; and
        their scores."""
        chosen = torch.tensor(rows, device=self._device)
        heard = self._heard
        fired = replace(heard.tokens, count=heard.tokens.count[chosen], embeddings=heard.tokens.embeddings[chosen],
                        frames=heard.tokens.frames[chosen], carry=heard.tokens.carry[chosen],
                        carried=heard.tokens.carried[chosen])
        some = Heard(*(getattr(heard, name)[chosen] for name in ("features", "encoded", "inside", "alphas")),
                     fired, heard.frames[chosen], heard.finite[chosen])
        batch = Batch(*(getattr(self._batch(), name)[chosen] for name in Batch.__dataclass_fields__))
        writes = Writes()
        scores = self._say(batch, some, tokens, writes)
        packed = pack(some, scores)
        writes.commit()
        return packed.cpu().numpy(), scores

    def _send(self) -> None:
        for here, there in self._sent:
            there.copy_(here, non_blocking=True)

    def _batch(self) -> Batch:
        (_, samples), (_, (slots, fbanks, new, first, last)) = self._sent
        return Batch(samples, slots, fbanks, new, first.bool(), last.bool())

    def _compute(self) -> None:
        batch, writes = self._batch(), Writes()
        self._heard = self._network.hear(self.window, batch, self._caches, writes)
        self.scores = self._say(batch, self._heard, self.tokens, writes)
        self._packed = pack(self._heard, self.scores)
        writes.commit()

    def _say(self, batch: Batch, heard: Heard, tokens: int, writes: Writes) -> Tensor:
        return self._network.say(self.window, batch, self._caches, heard, tokens, writes)


def pack(heard: Heard, scores: Tensor) -> Tensor:
    """Of each row its count of tokens, 1 where its numbers are finite, then N ids of the most probable tokens, N frames
    in which they fired, and N confidences in percent: [B, 2 + 3 N] from scores [B, N, vocabulary]."""
    count, tokens = heard.tokens.count, scores.shape[1]
    meant = torch.arange(tokens, device=scores.device) < count[:, None]
    finite = heard.finite & (scores.isfinite().all(-1) | ~meant).all(-1)
    ids = scores.argmax(-1)
    best, total = scores.gather(-1, ids[..., None]).squeeze(-1).float(), scores.float().logsumexp(-1)
    percents = (100 * (best - total).exp()).nan_to_num(0.0).round().long()
    return torch.cat((count[:, None], finite[:, None].long(), ids, heard.frames[:, :tokens], percents), 1)
