from __future__ import annotations

from pathlib import Path

import torch

from stream_server.bench.ceilings import Product
from stream_server.bench.floors import Spoken
from stream_server.bench.subject import Subject, make_subject
from stream_server.config import ServeSettings
from tests.support.int8 import NEEDS_INT8

SAID = Spoken(3, 1)


def subject(small_model: Path, dtype: str) -> Subject:
    return make_subject(ServeSettings(model=str(small_model), device="cpu", dtype=dtype, threads=1, slots=2,
                                      windows=("0,10,5",)))


def test_the_weights_of_a_step_are_all_that_the_network_has(small_model: Path) -> None:
    wide = subject(small_model, "fp32")
    numbers = sum(parameter.numel() for parameter in wide.runner.network.parameters())
    assert wide.traffic(SAID).weights == 4 * numbers


@NEEDS_INT8
def test_in_int8_matrices_are_a_byte_a_number(small_model: Path) -> None:
    wide, narrow = subject(small_model, "fp32"), subject(small_model, "int8")
    network = wide.runner.network
    matrices = sum(layer.weight.numel() for part in (network.encoder, network.decoder) for layer in part.modules()
                   if isinstance(layer, torch.nn.Linear))
    assert narrow.traffic(SAID).weights == wide.traffic(SAID).weights - 3 * matrices
    assert narrow.traffic(SAID).state_of_a_row == wide.traffic(SAID).state_of_a_row
    assert Product(torch.int8, "cpu").seconds() > 0
