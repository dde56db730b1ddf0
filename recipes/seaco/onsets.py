"""The second CIF's weights for training: the same numbers as the server's, much faster backwards.

torch runs a packed LSTM step by step, and its gradients then take time with the square of the length. Unpacked rows
run in one piece; the way back begins where each row ends because the row is turned round first.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from stream_server.models.offline_architecture import ONSETS_PER_FRAME
from stream_server.models.onsets import OnsetPredictor


def onsets(predictor: OnsetPredictor, encoded: Tensor, frames: Tensor) -> Tensor:
    """[B, 3 T], 0 past a row's end: `predictor.onsets` of the encoder's output [B, T, D] and `frames` [B]."""
    finer = predictor.upsample_cnn(encoded.transpose(1, 2)).transpose(1, 2)
    place, ends = torch.arange(finer.shape[1])[None], frames[:, None] * ONSETS_PER_FRAME
    turned = torch.where(place < ends, ends - 1 - place, place)[..., None].expand_as(finer)
    there = _direction(predictor.blstm, "", finer)
    back = _direction(predictor.blstm, "_reverse", finer.gather(1, turned)).gather(1, turned)
    weights = predictor.cif_output2(torch.cat((there, back), dim=-1)).sigmoid().squeeze(-1)
    return (weights * predictor.smooth_factor2 - predictor.noise_threshold2).relu() * (place < ends)


def _direction(both: nn.LSTM, suffix: str, x: Tensor) -> Tensor:
    with torch.device("meta"):
        one = nn.LSTM(both.input_size, both.hidden_size, batch_first=True)
    weights = {name: getattr(both, name + suffix) for name, _ in one.named_parameters()}
    return functional_call(one, weights, (x,))[0]
