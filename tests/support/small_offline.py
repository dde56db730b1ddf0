"""A second pass's model directory with a small architecture and seeded weights; its text means nothing."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml

from stream_server.models.architecture import Architecture
from stream_server.models.offline_architecture import BiasSizes, OfflineArchitecture, OnsetSizes
from stream_server.models.offline_checkpoint import OfflineModel, random_offline_model
from tests.support.offline_config import offline_conf

SMALL_SEACO = OfflineArchitecture(
    Architecture(size=64, encoder_heads=2, encoder_hidden=96, encoder_layers=3, decoder_heads=4, decoder_hidden=80,
                 decoder_layers=2, vocabulary=500),
    OnsetSizes(), BiasSizes(heads=2, hidden=48, kernel=5, no_bias=499),
)


def small_offline_model() -> OfflineModel:
    return random_offline_model(SMALL_SEACO)


def write_small_offline_model(directory: Path) -> Path:
    """Writes config.yaml, model.pt, am.mvn and tokens.json."""
    directory.mkdir(parents=True, exist_ok=True)
    model = small_offline_model()
    torch.save(dict(model.network.state_dict()), directory / "model.pt")
    (directory / "config.yaml").write_text(yaml.safe_dump(offline_conf(SMALL_SEACO)))
    (directory / "tokens.json").write_text(json.dumps(model.vocabulary, ensure_ascii=False), "utf-8")
    vectors = {"AddShift": -13.0, "Rescale": 0.15}
    layers = "".join(f"<{name}> 560 560\n<LearnRateCoef> 0 [ {' '.join([str(value)] * 560)} ]\n"
                     for name, value in vectors.items())
    (directory / "am.mvn").write_text(f"<Nnet>\n{layers}</Nnet>\n")
    return directory
