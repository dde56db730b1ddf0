"""Models of the second pass from disk: what loads, and the one clear line for what does not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from stream_server.errors import ModelError
from stream_server.models import hub
from stream_server.models.architecture import Architecture
from stream_server.models.offline_architecture import BiasSizes, OfflineArchitecture, OnsetSizes
from stream_server.models.offline_checkpoint import load_offline, load_offline_directory, random_offline_model
from tests.support.offline_config import offline_conf

TINY = OfflineArchitecture(
    Architecture(size=32, encoder_heads=2, encoder_hidden=48, encoder_layers=2, decoder_heads=4, decoder_hidden=40,
                 decoder_layers=1, vocabulary=20),
    OnsetSizes(), BiasSizes(heads=2, hidden=24, kernel=5, no_bias=19),
)
SIZES = [TINY, dataclasses.replace(TINY, bias=None), dataclasses.replace(TINY, bias=None, onsets=None)]


def write_model(directory: Path, sizes: OfflineArchitecture = TINY) -> dict:
    """A model directory, with what only training needs; returns its weights."""
    model = random_offline_model(sizes)
    weights = dict(model.network.state_dict())
    embeddings = torch.zeros(sizes.base.vocabulary, sizes.base.size)
    training = {"decoder.embed.0.weight": embeddings, "seaco_decoder.embed.0.weight": embeddings,
                "criterion_seaco.weight": embeddings}
    torch.save({**training, **weights}, directory / "model.pt")
    (directory / "config.yaml").write_text(yaml.safe_dump(offline_conf(sizes)))
    (directory / "tokens.json").write_text(json.dumps(model.vocabulary, ensure_ascii=False), "utf-8")
    numbers = " ".join(["0.5"] * sizes.base.features)
    layers = "".join(f"<{name}> 560 560\n<LearnRateCoef> 0 [ {numbers} ]\n" for name in ("AddShift", "Rescale"))
    (directory / "am.mvn").write_text(f"<Nnet>\n{layers}</Nnet>\n")
    return weights


@pytest.mark.parametrize("sizes", SIZES, ids=["SeACo", "BiCif", "Paraformer"])
def test_a_directory_in_hub_layout_loads(tmp_path: Path, sizes: OfflineArchitecture):
    weights = write_model(tmp_path, sizes)
    model = load_offline(str(tmp_path))
    assert model.network.architecture == sizes
    assert model.vocabulary[3] == "一" and model.network.frontend.shift.tolist() == [0.5] * 560
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, weights[name]), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_recognise(tmp_path: Path, dtype: torch.dtype):
    write_model(tmp_path)
    network = load_offline_directory(tmp_path, dtype).network
    assert network.seaco_decoder.decoders[0].feed_forward.w_1.weight.dtype == dtype
    for module in (network.bias_encoder, network.predictor, network.encoder.encoders[0].norm1):
        assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    samples = np.random.default_rng(1).normal(0, 3000, 32_000).astype(np.int16)
    words = [network.encode_words([[4], [5, 6]]), None, network.encode_words([[7]] * 60)]
    for row in network.recognise([samples, samples[:9000], samples[:20_000]], words):
        assert row.error is None and len(row.times) == len(row.ids)


def test_matrices_of_sizes_that_the_kernels_do_not_have_are_refused(tmp_path: Path):
    base = dataclasses.replace(TINY.base, encoder_heads=8)
    write_model(tmp_path, dataclasses.replace(TINY, base=base))
    with pytest.raises(ModelError, match="encoder: 8 heads of 4, size 32; needed heads of a multiple of 8"):
        load_offline_directory(tmp_path, torch.int8)


@pytest.mark.parametrize("name", ["bias_encoder.weight_ih_l1", "predictor.cif_output2.bias", "decoder.embed.0.weight"])
def test_a_missing_tensor_is_named(tmp_path: Path, name: str):
    weights = write_model(tmp_path)
    del weights[name]
    torch.save(weights, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=f"tensor {name} missing"):
        load_offline_directory(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path):
    write_model(tmp_path)
    (tmp_path / "am.mvn").unlink()
    with pytest.raises(ModelError, match="am.mvn missing"):
        load_offline(str(tmp_path))


def test_an_unknown_name_lists_what_is_allowed():
    with pytest.raises(ModelError, match="second pass 'whisper' is unknown; needed one of demo, random, paraformer-zh"):
        load_offline("whisper")


def test_a_hubs_short_name_is_its_seaco_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_model(tmp_path)
    seaco = "iic/speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch"
    monkeypatch.setattr(hub, "_fetched_before", lambda hub_id: tmp_path if hub_id == seaco else None)
    assert load_offline("paraformer-zh").network.architecture == TINY
