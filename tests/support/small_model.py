"""A model directory in FunASR's layout with a small architecture and seeded weights: quick to load and to run."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml

from stream_server.models.architecture import Architecture
from stream_server.models.paraformer import Paraformer
from stream_server.models.random_weights import random_tensors, synthetic_vocabulary

SMALL = Architecture(size=64, encoder_heads=2, encoder_hidden=128, encoder_layers=3, decoder_heads=2,
                     decoder_hidden=128, decoder_layers=2, vocabulary=500)


def write_small_model(directory: Path, seed: int = 7) -> Path:
    """Writes config.yaml, model.pt, am.mvn and tokens.json; its text means nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        network = Paraformer(SMALL, torch.empty(SMALL.features), torch.empty(SMALL.features))
    torch.save(random_tensors(network, seed), directory / "model.pt")
    (directory / "tokens.json").write_text(json.dumps(synthetic_vocabulary(SMALL.vocabulary)), "utf-8")
    (directory / "am.mvn").write_text(_cmvn(), "utf-8")
    (directory / "config.yaml").write_text(yaml.safe_dump(_config()), "utf-8")
    return directory


def _cmvn() -> str:
    vectors = {"AddShift": -13.0, "Rescale": 0.15}
    lines = [f"<{name}> {SMALL.features} {SMALL.features}\n<LearnRateCoef> 0 [ "
             + " ".join([str(value)] * SMALL.features) + " ]\n" for name, value in vectors.items()]
    return "<Nnet>\n" + "".join(lines) + "</Nnet>\n"


def _config() -> dict[str, object]:
    sizes = SMALL
    return {
        "model": "ParaformerStreaming",
        "encoder": "SANMEncoderChunkOpt",
        "encoder_conf": {
            "output_size": sizes.size, "attention_heads": sizes.encoder_heads, "linear_units": sizes.encoder_hidden,
            "num_blocks": sizes.encoder_layers, "input_layer": "pe_online", "kernel_size": sizes.kernel,
            "selfattention_layer_type": "sanm", "normalize_before": True, "sanm_shfit": 0,
        },
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": {
            "attention_heads": sizes.decoder_heads, "linear_units": sizes.decoder_hidden,
            "num_blocks": sizes.decoder_layers, "att_layer_num": sizes.decoder_layers, "kernel_size": sizes.kernel,
            "sanm_shfit": (sizes.kernel - 1) // 2,
        },
        "predictor": "CifPredictorV2",
        "predictor_conf": {"idim": sizes.size, "threshold": 1.0, "l_order": 1, "r_order": 1,
                           "tail_threshold": sizes.tail_threshold},
        "frontend_conf": {"fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10,
                          "lfr_m": 7, "lfr_n": 6},
    }
