"""Models from disk: what loads, and the one clear line for each that does not."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import pytest
import torch
import yaml

from stream_server.audio.cmvn import read_cmvn
from stream_server.errors import ModelError, SettingsError
from stream_server.models import checkpoint, hub
from stream_server.models.architecture import PARAFORMER_LARGE, Architecture, architecture_from_config
from stream_server.models.checkpoint import load, load_directory, random_model
from stream_server.models.devices import choose_device, choose_dtype
from tests.support import recordings
from tests.support.reference import funasr_conf

TINY = dataclasses.replace(
    PARAFORMER_LARGE, size=32, encoder_hidden=48, decoder_hidden=40, encoder_layers=2, decoder_layers=1, vocabulary=20,
    encoder_heads=2, decoder_heads=4,
)


def write_model(directory: Path, architecture: Architecture = TINY, wrap: str | None = None) -> dict:
    """A model directory; returns its weights."""
    model = random_model(architecture)
    weights = dict(model.network.state_dict())
    extra = {**weights, "decoder.embed.0.weight": torch.zeros(architecture.vocabulary, architecture.size)}
    torch.save({wrap: extra, "epoch": 3} if wrap else extra, directory / "model.pt")
    (directory / "config.yaml").write_text(yaml.safe_dump(funasr_conf(architecture)))
    (directory / "tokens.json").write_text(json.dumps(model.vocabulary, ensure_ascii=False), "utf-8")
    numbers = " ".join(["0.5"] * architecture.features)
    layers = "".join(f"<{name}> 560 560\n<LearnRateCoef> 0 [ {numbers} ]\n" for name in ("AddShift", "Rescale"))
    (directory / "am.mvn").write_text(f"<Nnet>\n<Splice> 560 560\n[ 0 ]\n{layers}</Nnet>\n")
    return weights


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_model(tmp_path)
    return tmp_path


@pytest.mark.parametrize("wrap", [None, "state_dict", "model_state_dict", "model"])
def test_a_directory_in_hub_layout_loads(tmp_path: Path, wrap: str | None):
    weights = write_model(tmp_path, wrap=wrap)
    model = load(str(tmp_path))
    assert model.network.architecture == TINY
    assert model.vocabulary[3] == "一" and len(model.vocabulary) == 20
    assert model.network.frontend.scale.tolist() == [0.5] * 560
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_weights_from_before_archives_load(directory: Path):
    weights = torch.load(directory / "model.pt", weights_only=True)
    torch.save(weights, directory / "model.pt", _use_new_zipfile_serialization=False)
    assert load_directory(directory).network.architecture == TINY


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_are_converted_but_for_what_loses_most(directory: Path, dtype: torch.dtype):
    network = load_directory(directory, dtype).network
    assert network.encoder.encoders[0].feed_forward.w_1.weight.dtype == dtype
    assert network.encoder.encoders[0].norm1.weight.dtype == torch.float32
    assert network.decoder.output_layer.weight.dtype == dtype
    assert network.predictor.cif_output.weight.dtype == torch.float32
    assert network.frontend.shift.dtype == torch.float32


def test_fp32_weights_stay_mapped(directory: Path, monkeypatch: pytest.MonkeyPatch):
    read = {}
    monkeypatch.setattr(checkpoint, "_torch_load", lambda path: read.setdefault("weights", original(path)))
    network = load_directory(directory).network
    name = "encoder.encoders.0.feed_forward.w_1.weight"
    assert network.get_parameter(name).data_ptr() == read["weights"][name].data_ptr()


original = checkpoint._torch_load


def test_the_published_configuration_is_the_default_architecture(speech: None):
    folder = recordings.FOLDER / "models" / "paraformer-zh-streaming"
    config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    vocabulary = json.loads((folder / "tokens.json").read_text("utf-8"))
    assert architecture_from_config(config, len(vocabulary), "config.yaml") == PARAFORMER_LARGE
    shift, scale = read_cmvn(folder / "am.mvn", 560)
    assert shift[0] == pytest.approx(-8.311879) and scale[0] == pytest.approx(0.155775)


class Malice:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("executed"),))


def break_file(name: str, text: str):
    return lambda directory: (directory / name).write_text(text)


def break_config(path: str, value: object):
    def change(directory: Path) -> None:
        config = yaml.safe_load((directory / "config.yaml").read_text())
        *parents, last = path.split(".")
        inner = config
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
        if value is None:
            del inner[last]
        (directory / "config.yaml").write_text(yaml.safe_dump(config))

    return change


def break_weights(change):
    def rewrite(directory: Path) -> None:
        weights = torch.load(directory / "model.pt", weights_only=True)
        change(weights)
        torch.save(weights, directory / "model.pt")

    return rewrite


NORM = "encoder.encoders.0.norm1.weight"


@pytest.mark.parametrize(("break_it", "words"), [
    (lambda d: (d / "am.mvn").unlink(), ("am.mvn missing", "needed config.yaml, model.pt, am.mvn, tokens.json")),
    (break_file("config.yaml", "a: [b"), ("config.yaml", "no YAML")),
    (break_file("config.yaml", "- 1"), ("config.yaml", "holds a list")),
    (break_file("tokens.json", "{"), ("tokens.json", "no JSON")),
    (break_file("tokens.json", "{}"), ("tokens.json", "holds a dict", "needed a list")),
    (break_file("tokens.json", '["a", "b", "c", "d"]'), ("output_layer", "[20, 32]", "needed [4, 32]")),
    (break_file("am.mvn", "<AddShift> [ 1 2 ]"), ("am.mvn", "<AddShift> holds 2 numbers", "needed 560")),
    (break_file("am.mvn", "<AddShift> [ x ]"), ("am.mvn", "holds no numbers")),
    (break_file("model.pt", "no archive"), ("model.pt", "needed a", "state dict")),
    (lambda d: torch.save([1, 2], d / "model.pt"), ("model.pt", "holds a list", "needed a state dict")),
    (break_config("model", "SenseVoiceSmall"), ("config.yaml: model is 'SenseVoiceSmall'", "ParaformerStreaming")),
    (break_config("encoder", "ConformerEncoder"), ("encoder is 'ConformerEncoder'",)),
    (break_config("decoder_conf", None), ("decoder_conf.attention_heads is missing",)),
    (break_config("predictor_conf.threshold", 0.9), ("threshold is 0.9", "needed 1.0")),
    (break_config("predictor_conf.tail_threshold", "x"), ("tail_threshold is 'x'", "0 to 1")),
    (break_config("encoder_conf.num_blocks", 0), ("num_blocks is 0", "whole number")),
    (break_config("encoder_conf.num_blocks", 3), ("encoder.encoders.1", "missing", "more")),
    (break_config("encoder_conf.attention_heads", 3), ("encoder_heads is 3", "divisor")),
    (break_config("decoder_conf.sanm_shfit", 0), ("sanm_shfit is 0", "needed 5")),
    (break_config("decoder_conf.num_blocks", 2), ("num_blocks is 2", "needed 1")),
    (break_weights(lambda w: w.pop(NORM)), (f"tensor {NORM} missing",)),
    (break_weights(lambda w: w.update(surplus=torch.zeros(1))), ("tensor surplus unknown",)),
    (break_weights(lambda w: w.update({NORM: torch.zeros(7)})), (NORM, "is [7]", "needed [32]")),
    (break_weights(lambda w: w.update({NORM: torch.zeros(32, dtype=torch.int8)})), (NORM, "torch.int8")),
])
def test_what_cannot_be_served_says_why_in_one_line(directory: Path, break_it, words: tuple[str, ...]):
    break_it(directory)
    with pytest.raises(ModelError) as caught:
        load(str(directory))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert str(directory) in message
    assert "\n" not in message and len(message) < 500


def test_code_in_a_checkpoint_is_not_run(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for protocol in (torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing, 2))):
        protocol({"weight": Malice()}, directory / "model.pt")
        with pytest.raises(ModelError, match="model.pt"):
            load_directory(directory)
    assert not Path("executed").exists()


def test_an_unknown_name_lists_what_is_allowed():
    with pytest.raises(ModelError, match="demo, random, paraformer-zh-streaming, a directory, or a hub id"):
        load("whisper")


def test_a_hub_out_of_reach_says_how_to_do_without(monkeypatch: pytest.MonkeyPatch):
    def unreachable(hub_id: str) -> Path:
        raise OSError("no route to\nthe hub")

    monkeypatch.setattr(hub, "_fetched_before", lambda hub_id: None)
    monkeypatch.setattr(hub, "_fetch", unreachable)
    with pytest.raises(ModelError) as caught:
        load("paraformer-zh-streaming")
    message = str(caught.value)
    assert "\n" not in message
    for word in ("iic/speech_paraformer-large", "no route to the hub", "config.yaml", "directory"):
        assert word in message


def test_a_hub_id_is_loaded_from_where_it_was_put(directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "_fetched_before", lambda hub_id: directory if hub_id == "some/model" else None)
    assert load("some/model").network.architecture == TINY


def test_made_up_weights_are_always_the_same():
    first, second = random_model(TINY).network.state_dict(), random_model(TINY).network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_devices_and_numbers_left_to_the_server():
    assert choose_device("cpu") == "cpu"
    assert choose_dtype("fp16", "cpu") == torch.float16
    assert choose_dtype("auto", "cpu") in (torch.float32, torch.bfloat16)
    with pytest.raises(SettingsError, match="cuda:99"):
        choose_device("cuda:99")
