"""The second CIF of BiCif-Paraformer: when each token begins, in steps of 20 ms.

BiCif, arXiv 2301.12343. `Onsets` equals FunASR's `CifPredictorV3.get_upsample_timestamp`
(funasr/models/bicif_paraformer/cif_predictor.py) for any number of rows; parameters bear its names. FunASR's LSTM runs
over the padding behind a short row, so that its way back begins in what is not there; ours ends with its row.
`token_times` gives the times of FunASR's `ts_prediction_lfr6_standard` (funasr/utils/timestamp_tools.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stream_server.engine.pieces import Pieces
from stream_server.models.architecture import Architecture
from stream_server.models.cif import Predictor
from stream_server.models.offline_architecture import ONSETS_PER_FRAME, OnsetSizes
from stream_server.models.quantised import Int8Lstm

STEP_MS = 60 // ONSETS_PER_FRAME

_LSTM_STEPS = 100
"""Of the LSTM in a piece of work: about as long as a layer of the encoder over a usual segment."""

_THRESHOLD = 1 - 1e-4
_SHIFT = -1.5
"""Steps by which a token begins before its onset fires."""

_LONGEST = 12
"""Steps that a token lasts at most; then silence follows."""

_SILENCE = 5
"""Steps behind the last onset that are more than the last token's end: half of them are silence."""


class OnsetPredictor(Predictor):
    """The first CIF's weights, as any predictor's, and those of the second."""

    def __init__(self, architecture: Architecture, sizes: OnsetSizes) -> None:
        super().__init__(architecture)
        size = architecture.size
        self.smooth_factor2 = sizes.smooth_factor
        self.noise_threshold2 = sizes.noise_threshold
        self.upsample_cnn = nn.ConvTranspose1d(size, size, ONSETS_PER_FRAME, ONSETS_PER_FRAME)
        self.blstm = nn.LSTM(size, size, batch_first=True, bidirectional=True)
        self.cif_output2 = nn.Linear(2 * size, 1)
        self._int8: dict[str, Int8Lstm] = {}

    def quantise(self) -> None:
        """The LSTM's matrices in int8, on a CPU: see `quantised`."""
        for direction in ("", "_reverse"):
            inputs, hidden, *biases = (parameter.detach() for parameter in self._parameters_of(direction))
            self._int8[direction] = Int8Lstm(inputs, hidden, sum(biases))
        del self.blstm

    def _parameters_of(self, direction: str) -> list[Tensor]:
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        return [getattr(self.blstm, name + direction) for name in names]

    def onsets(self, encoded: Tensor, frames: Tensor) -> Pieces[Tensor]:
        """Weights [B, 3 T], 0 past a row's end, of the encoder's output [B, T, D]; `frames` [B], at least 1 each."""
        finer = self.upsample_cnn(encoded.transpose(1, 2)).transpose(1, 2)
        ends = (frames * ONSETS_PER_FRAME).to(encoded.device)[:, None]
        places = torch.arange(finer.shape[1], device=encoded.device)
        # Each row from its end to its beginning, and back again the same way; what is past its end stays there.
        turned = torch.where(places < ends, ends - 1 - places, places)[..., None].expand_as(finer)
        turned_steps = finer.gather(1, turned)
        if self._int8:
            there, back = yield from self._both_ways(finer, turned_steps)
        else:
            there = yield from self._one_way(finer, "")
            back = yield from self._one_way(turned_steps, "_reverse")
        steps = torch.cat((there, back.gather(1, turned)), -1)
        weights = self.cif_output2(steps).sigmoid().squeeze(-1)
        weights = F.relu(weights * self.smooth_factor2 - self.noise_threshold2)
        return weights * (places < ends)

    def _one_way(self, steps: Tensor, direction: str) -> Pieces[Tensor]:
        """One direction of the LSTM over [B, 3 T, D], some steps at a time."""
        heard = []
        parameters = self._parameters_of(direction)
        hidden = cell = steps.new_zeros(1, len(steps), self.blstm.hidden_size)
        for part in steps.split(_LSTM_STEPS, 1):
            out, hidden, cell = torch.lstm(part, (hidden, cell), parameters, True, 1, 0.0, False, False, True)
            heard.append(out)
            yield
        return torch.cat(heard, 1)

    def _both_ways(self, there: Tensor, back: Tensor) -> Pieces[list[Tensor]]:
        """Both directions of the LSTM in int8, each over its own [B, 3 T, D], side by side."""
        heard: list[list[Tensor]] = [[], []]

        def hear(way: int, steps: Tensor) -> None:
            heard[way].append(lstms[way](steps, *states[way]))

        lstms = list(self._int8.values())
        states = [there.new_zeros(2, len(there), lstm.size).unbind() for lstm in lstms]
        some = max(_LSTM_STEPS // (4 * len(there)), 1)
        for parts in zip(there.split(some, 1), back.split(some, 1), strict=True):
            yield [partial(hear, way, steps) for way, steps in enumerate(parts)]
        return [torch.cat(each, 1) for each in heard]


def token_times(weights: Sequence[float], fired: int, tokens: int) -> list[tuple[int, int]]:
    """When each of `tokens` tokens begins and ends, in ms since the segment's start.

    `weights` are a segment's, one a step of 20 ms. `fired` tokens came out of CIF; those that are spoken may be fewer,
    by one where the last ends the sentence: the onset of that one is then the end of the one before.
    """
    if tokens < 1:
        return []
    onsets = fire(weights, fired)
    if len(onsets) != tokens + 1:
        onsets = fire(weights, tokens + 1)
    if len(onsets) != tokens + 1:
        onsets = spread(weights, tokens + 1)
    return times_between(onsets, len(weights))


def fired_times(frames: Sequence[int], length: int) -> list[tuple[int, int]]:
    """When tokens begin and end, in ms, where there is no second CIF: roughly, from the `frames` of 60 ms in which the
    first fired them, in a segment of `length` frames."""
    if not frames:
        return []
    steps = length * ONSETS_PER_FRAME
    middles = [min(frame, length - 1) * ONSETS_PER_FRAME + ONSETS_PER_FRAME // 2 for frame in frames]
    return times_between([*middles, steps - _SHIFT], steps)


def times_between(onsets: Sequence[float], steps: int) -> list[tuple[int, int]]:
    """Times in ms of the tokens between `onsets`, which are one more, in a segment of `steps` steps of 20 ms."""
    places = [onset + _SHIFT for onset in onsets]
    last = places[-1]
    ends = [min(after, place + _LONGEST) for place, after in zip(places, places[1:], strict=False)]
    if last - places[-2] <= _LONGEST:
        ends[-1] = (steps + last) / 2 if steps - last > _SILENCE else steps
    # Nothing begins before the segment does; all places are quarters of a step, so that no ms is rounded.
    return [
        (int(max(place, 0) * STEP_MS), int(max(end, 0) * STEP_MS)) for place, end in zip(places, ends, strict=False)
    ]


def fire(weights: Sequence[float], total: int) -> list[int]:
    """Steps in which the running sum of `weights`, made to end at `total`, passes the next whole number, or nearly;
    at most one a step."""
    factor = total / (sum(weights) or 1.0)
    fired, left = [], 0.0
    for step, weight in enumerate(weights):
        left += weight * factor
        if left >= _THRESHOLD:
            fired.append(step)
            left -= _THRESHOLD
    return fired


def spread(weights: Sequence[float], count: int) -> list[int]:
    """Exactly `count` steps, where the sum of `weights` is shared out evenly, or time is where there is none.

    For weights so uneven that `fire` cannot give as many; FunASR then ends with an IndexError or without times for
    some tokens.
    """
    sums = list(accumulate(weights))
    if not sums[-1] > 0:
        sums = list(range(1, len(weights) + 1))
    return [min(bisect_left(sums, sums[-1] * part / count), len(sums) - 1) for part in range(1, count + 1)]
