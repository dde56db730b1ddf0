"""A model's directory: what loads, and the one line for each that does not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from stream_server.errors import ModelError
from stream_server.speech.fsmn.model import load
from stream_server.speech.fsmn.network import Sizes
from stream_server.speech.fsmn.segmenter import SegmenterOptions

SIZES = Sizes(input=400, input_affine=4, blocks=2, linear=6, projection=3, memory=4, output_affine=4, output=5)


def configuration() -> dict:
    """As FunASR's hubs have it, with a small network."""
    return {
        "frontend": "WavFrontendOnline",
        "frontend_conf": {"fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10,
                          "dither": 0.0, "lfr_m": 5, "lfr_n": 1},
        "model": "FsmnVADStreaming",
        "model_conf": {"sample_rate": 16000, "detect_mode": 1, "max_end_silence_time": 700, "sil_pdf_ids": [0, 2],
                       "silence_pdf_num": 2, "do_extend": 1, "snr_thres": -100.0, "frame_in_ms": 10},
        "encoder": "FSMN",
        "encoder_conf": {"input_dim": 400, "input_affine_dim": 4, "fsmn_layers": 2, "linear_dim": 6, "proj_dim": 3,
                         "lorder": 4, "rorder": 0, "lstride": 1, "rstride": 0, "output_affine_dim": 4,
                         "output_dim": 5},
    }


def write_model(directory: Path, config: dict) -> None:
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    vector = " ".join(["0.5"] * 400)
    layers = "".join(f"<{name}> 400 400\n<LearnRateCoef> 0 [ {vector} ]\n" for name in ("AddShift", "Rescale"))
    (directory / "am.mvn").write_text(f"<Nnet>\n{layers}</Nnet>\n")
    weights = {f"encoder.{name}": torch.ones(shape) for name, shape in SIZES.shapes().items()}
    torch.save(weights, directory / "model.pt")


def test_a_hubs_directory_is_loaded(tmp_path: Path):
    write_model(tmp_path, configuration())
    model = load(tmp_path)
    assert model.network.sizes == SIZES and model.silence == (0, 2)
    assert model.options == SegmenterOptions(max_end_silence_time=700)


def test_the_older_layout_is_loaded(tmp_path: Path):
    config = configuration()
    config["vad_post_conf"] = config.pop("model_conf")
    write_model(tmp_path, config)
    for old, new in (("config.yaml", "vad.yaml"), ("am.mvn", "vad.mvn"), ("model.pt", "vad.pb")):
        shutil.move(tmp_path / old, tmp_path / new)
    assert load(tmp_path).network.sizes == SIZES


@pytest.mark.parametrize(("section", "name", "value", "told"), [
    ("frontend_conf", "fs", 8000, "frontend_conf.fs is 8000; needed 16000"),
    ("frontend_conf", "lfr_n", 6, "frontend_conf.lfr_n is 6; needed 1"),
    ("frontend_conf", "window", "povey", "frontend_conf.window is 'povey'; needed 'hamming'"),
    ("encoder_conf", "rorder", 2, "encoder_conf.rorder is 2; needed 0"),
    ("encoder_conf", "input_dim", 80, "encoder_conf.input_dim is 80; needed 400"),
    ("encoder_conf", "fsmn_layers", 0, "encoder_conf.fsmn_layers is 0; needed 1 to 4096"),
    ("encoder_conf", "linear_dim", None, "encoder_conf.linear_dim is None; needed 1 to 4096"),
    ("encoder_conf", "output_dim", True, "encoder_conf.output_dim is True; needed 1 to 4096"),
    ("encoder_conf", "proj_dim", 4, "needed [4, 6] by the configuration"),
    ("model_conf", "detect_mode", 0, "model_conf.detect_mode is 0; needed 1"),
    ("model_conf", "decibel_thres", -40.0, "model_conf.decibel_thres is -40.0; needed -100"),
    ("model_conf", "max_end_silence_time", 705,
     "model_conf: max_end_silence_time is 705; allowed: multiples of 10 ms"),
    ("model_conf", "sil_pdf_ids", [5], "model_conf.sil_pdf_ids is [5]; needed a list of 0 to 4"),
    ("model_conf", "sil_pdf_ids", [1, 1], "model_conf.sil_pdf_ids is [1, 1]; needed a list of 0 to 4"),
    ("model_conf", "sil_pdf_ids", "0", "model_conf.sil_pdf_ids is '0'; needed a list of 0 to 4"),
])
def test_a_configuration_that_cannot_be_followed_is_refused(
    tmp_path: Path, section: str, name: str, value: object, told: str
):
    config = configuration()
    config[section][name] = value
    write_model(tmp_path, config)
    with pytest.raises(ModelError, match=re.escape(told)):
        load(tmp_path)


@pytest.mark.parametrize(("name", "content", "told"), [
    ("config.yaml", "a: [", "no YAML"),
    ("config.yaml", "[1]", "holds a list"),
    ("config.yaml", "model_conf: 3", "no section encoder_conf"),
    ("am.mvn", "<AddShift> [ 1 2 ]", "<AddShift> holds 2 numbers; needed 400, all finite"),
    ("am.mvn", "<AddShift> [ x ]", "<AddShift> holds no numbers"),
    ("model.pt", "nothing", "cannot be read"),
])
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: str, told: str):
    write_model(tmp_path, configuration())
    (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=re.escape(told)) as raised:
        load(tmp_path)
    assert str(tmp_path / name) in str(raised.value) and "\n" not in str(raised.value)


def test_a_directory_without_a_model_says_what_is_needed(tmp_path: Path):
    write_model(tmp_path, configuration())
    (tmp_path / "am.mvn").unlink()
    with pytest.raises(ModelError, match="needed config.yaml, am.mvn, model.pt or vad.yaml, vad.mvn, vad.pb"):
        load(tmp_path)
