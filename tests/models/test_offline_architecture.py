"""Offline models' configurations: what is read, and the one clear line for what this code does not compute."""

from __future__ import annotations

import dataclasses

import pytest

from stream_server.errors import ModelError
from stream_server.models.architecture import Architecture
from stream_server.models.offline_architecture import (
    SEACO_LARGE,
    BiasSizes,
    OfflineArchitecture,
    OnsetSizes,
    offline_architecture_from_config,
)
from tests.support.offline_config import offline_conf

OTHER = OfflineArchitecture(
    Architecture(size=64, encoder_heads=2, encoder_hidden=48, encoder_layers=3, decoder_heads=8, decoder_hidden=40,
                 decoder_layers=2, kernel=9, vocabulary=30, tail_threshold=0.3, smooth_factor=0.9, noise_threshold=0.1),
    OnsetSizes(0.5, 0.02), BiasSizes(heads=2, hidden=24, layers=7, kernel=5, no_bias=29),
)


def read(config: dict, vocabulary: int = 30) -> OfflineArchitecture:
    return offline_architecture_from_config(config, vocabulary, "config.yaml")


@pytest.mark.parametrize("sizes", [
    OTHER,
    dataclasses.replace(OTHER, bias=None),
    dataclasses.replace(OTHER, bias=None, onsets=None),
])
def test_sizes_are_read(sizes: OfflineArchitecture):
    assert read(offline_conf(sizes)) == sizes


def test_silence_means_what_it_means_to_funasr():
    """The published SeACo model names four blocks in a decoder that by FunASR's default has six layers."""
    config = offline_conf(SEACO_LARGE)
    config["seaco_decoder_conf"] = {"linear_units": 1024, "num_blocks": 4, "use_output_layer": False}
    del config["model_conf"]["NO_BIAS"], config["decoder_conf"]["sanm_shfit"]
    assert read(config, 8404) == SEACO_LARGE


def test_what_stands_outermost_wins():
    config = offline_conf(OTHER)
    config["NO_BIAS"] = 7
    assert read(config).bias.no_bias == 7


def changed(path: str, new: object) -> dict:
    config = offline_conf(OTHER)
    *parents, last = path.split(".")
    inner = config
    for parent in parents:
        inner = inner[parent]
    inner[last] = new
    return config


@pytest.mark.parametrize(("path", "new", "words"), [
    ("model", "ContextualParaformer", ("'ContextualParaformer'", "Paraformer, BiCifParaformer, SeacoParaformer")),
    ("model", ["Paraformer"], ("model is ['Paraformer']",)),
    ("encoder", "SANMEncoderChunkOpt", ("'SANMEncoderChunkOpt'", "needed 'SANMEncoder'")),
    ("predictor", "CifPredictorV2", ("'CifPredictorV2'", "needed 'CifPredictorV3'")),
    ("encoder_conf.kernel_size", 8, ("kernel_size is 8", "odd")),
    ("decoder_conf.sanm_shfit", 4, ("sanm_shfit is 4", "needed 0")),
    ("decoder_conf.num_blocks", 3, ("num_blocks is 3", "needed 2")),
    ("decoder_conf.wo_input_layer", True, ("wo_input_layer is True",)),
    ("predictor_conf.tail_threshold", 0, ("tail_threshold is 0", "above 0")),
    ("predictor_conf.upsample_times", 5, ("upsample_times is 5", "needed 3")),
    ("predictor_conf.upsample_type", "cnn", ("upsample_type is 'cnn'", "cnn_blstm")),
    ("predictor_conf.use_cif1_cnn", True, ("use_cif1_cnn is True",)),
    ("predictor_conf.smooth_factor2", 2, ("smooth_factor2 is 2", "0 to 1")),
    ("model_conf.inner_dim", 32, ("inner_dim is 32", "needed 64")),
    ("model_conf.bias_encoder_bid", True, ("bias_encoder_bid is True",)),
    ("model_conf.bias_encoder_type", "mean", ("bias_encoder_type is 'mean'",)),
    ("model_conf.NO_BIAS", 30, ("NO_BIAS is 30", "below 30")),
    ("seaco_decoder_conf.use_output_layer", True, ("use_output_layer is True",)),
    ("seaco_decoder_conf.att_layer_num", 5, ("att_layer_num is 5", "at least 6")),
    ("seaco_decoder_conf.num_blocks", 8, ("num_blocks is 8", "at most")),
    ("seaco_decoder_conf.attention_heads", 3, ("attention_heads is 3", "divisor of output_size 64")),
    ("seaco_decoder_conf.kernel_size", 20, ("kernel_size is 20", "odd")),
    ("seaco_decoder_conf.sanm_shfit", 2, ("sanm_shfit is 2", "needed 0")),
    ("frontend_conf.fs", 8000, ("fs is 8000", "16000")),
])
def test_what_is_not_computed_is_refused_in_one_line(path: str, new: object, words: tuple[str, ...]):
    with pytest.raises(ModelError) as caught:
        read(changed(path, new))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert message.startswith("config.yaml: ") and "\n" not in message
