"""Models that punctuate from disk: what loads, and the one clear line for what does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from recipes.punctuation import texts
from stream_server.errors import ModelError
from stream_server.models import hub
from stream_server.models.architecture import Architecture
from stream_server.models.punctuation_architecture import (
    CT_PUNC_LARGE,
    CT_PUNC_REALTIME,
    PunctuationArchitecture,
    punctuation_architecture_from_config,
)
from stream_server.models.punctuation_checkpoint import (
    load_punctuation,
    load_punctuation_directory,
    random_punctuation_model,
)
from stream_server.speech.punctuated import Words, punctuate, words_of
from tests.support.punctuation_reference import PunctuationReference, punctuation_conf

TINY = PunctuationArchitecture(
    Architecture(size=32, encoder_heads=2, encoder_hidden=48, encoder_layers=2, kernel=5, vocabulary=40), width=24
)
STREAMING = replace(TINY, width=32, causal=True, shift=2, marks=("_", "，", "。"), end=2)


def write_model(directory: Path, sizes: PunctuationArchitecture = TINY, **changes: object) -> dict[str, torch.Tensor]:
    """A model directory; `changes` are put into its config.yaml by their paths."""
    model = random_punctuation_model(sizes)
    weights = dict(model.network.state_dict())
    torch.save({"state_dict": weights}, directory / "model.pt")
    conf = punctuation_conf(sizes)
    for path, new in changes.items():
        *outer, name = path.split("__")
        place = conf
        for part in outer:
            place = place[part]
        place[name] = new
    (directory / "config.yaml").write_text(yaml.safe_dump(conf, allow_unicode=True), "utf-8")
    (directory / "tokens.json").write_text(json.dumps(model.vocabulary), "utf-8")
    return weights


@pytest.mark.parametrize("sizes", [TINY, STREAMING], ids=["offline", "streaming"])
def test_a_directory_in_hub_layout_loads(tmp_path: Path, sizes: PunctuationArchitecture):
    weights = write_model(tmp_path, sizes)
    model = load_punctuation(str(tmp_path))
    assert model.network.architecture == sizes
    assert model.vocabulary[3] == "一"
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, weights[name]), name


@pytest.mark.parametrize("sizes", [CT_PUNC_LARGE, CT_PUNC_REALTIME], ids=["ct-punc", "realtime"])
def test_the_published_sizes_are_read_as_they_are(sizes: PunctuationArchitecture):
    found = punctuation_architecture_from_config(punctuation_conf(sizes), sizes.base.vocabulary, "here")
    assert found == sizes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_punctuate(tmp_path: Path, dtype: torch.dtype):
    write_model(tmp_path)
    model = load_punctuation_directory(tmp_path, dtype)
    assert model.network.encoder.encoders[0].feed_forward.w_1.weight.dtype == dtype
    (found,) = model.punctuator().step([Words(model.vocabulary * 3)])
    assert found.error is None and len(found.marks) == 120


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "Bert"}, "model is 'Bert'; needed one of CTTransformer, CTTransformerStreaming"),
        ({"encoder": "SANMVadEncoder"}, "encoder is 'SANMVadEncoder'; needed 'SANMEncoder'"),
        ({"encoder_conf__input_layer": "linear"}, "encoder_conf.input_layer is 'linear'; needed 'pe'"),
        ({"encoder_conf__attention_heads": 5}, "attention_heads is 5; needed a divisor of output_size 32"),
        ({"encoder_conf__kernel_size": 4}, "kernel_size is 4; needed an odd number"),
        ({"encoder_conf__sanm_shfit": 3}, "sanm_shfit is 3; needed a whole number from 0 to 2"),
        ({"encoder_conf__input_size": 99}, "input_size is 99; needed embed_unit, 24"),
        ({"model_conf__att_unit": 99}, "att_unit is 99; needed output_size, 32"),
        ({"model_conf__punc_list": ["，"]}, "needed a list of marks with '_' for none"),
        ({"model_conf__sentence_end_id": 1}, "sentence_end_id is 1; needed the place of a mark in punc_list"),
        ({"model_conf__sentence_end_id": 9}, "sentence_end_id is 9; needed the place of a mark in punc_list"),
        ({"encoder_conf__linear_units": 40}, r"w_1.weight is \[48, 32\]; needed \[40, 32\]"),
        ({"jieba_usr_dict": "words"}, "words missing; needed to cut texts into this model's words"),
    ],
)
def test_what_cannot_be_served_is_named(tmp_path: Path, changes: dict[str, object], message: str):
    write_model(tmp_path, **changes)
    with pytest.raises(ModelError, match=message):
        load_punctuation_directory(tmp_path)


def test_what_is_missing_is_named(tmp_path: Path):
    write_model(tmp_path)
    with pytest.raises(ModelError, match="torch.int8 for punctuation; needed fp32, bf16 or fp16"):
        load_punctuation_directory(tmp_path, torch.int8)
    (tmp_path / "tokens.json").write_text(json.dumps(["a", "b", "c", "d"]))
    with pytest.raises(ModelError, match="<unk> missing"):
        load_punctuation_directory(tmp_path)
    (tmp_path / "model.pt").unlink()
    with pytest.raises(ModelError, match="model.pt missing; needed config.yaml, model.pt, tokens.json"):
        load_punctuation_directory(tmp_path)


def test_an_unknown_name_lists_what_is_allowed():
    with pytest.raises(ModelError, match="punctuation 'bert' is unknown; needed one of demo, random, ct-punc, "):
        load_punctuation("bert")


def test_a_hubs_short_name_is_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_model(tmp_path)
    large = "iic/punc_ct-transformer_cn-en-common-vocab471067-large"
    monkeypatch.setattr(hub, "_fetched_before", lambda hub_id: tmp_path if hub_id == large else None)
    assert load_punctuation("ct-punc").network.architecture == TINY


def test_a_model_with_a_dictionary_reads_words(tmp_path: Path):
    """Cut as FunASR cuts, with words of the model's own."""
    from funasr.models.ct_transformer.utils import split_words

    write_model(tmp_path)
    (tmp_path / "words").write_text("我们都 100000\n开会吧 100000\n", "utf-8")
    (tmp_path / "configuration.json").write_text(json.dumps({"file_path_metas": {"jieba_usr_dict": "words"}}))
    model = load_punctuation_directory(tmp_path)
    for text in ("我们都开会吧 hello world 大家好", "AI大家 x2 我们 都好", "it's 会议 ok", "", " 开 会吧 "):
        words = model.punctuator().words(text)
        assert [word.text for word in words] == split_words(text, jieba_usr_dict=model.cut.__self__._jieba)
        assert all(text[word.start : word.end].replace(" ", "") == word.text for word in words)
    words = model.punctuator().words("我们都开会吧")
    assert [word.text for word in words] == ["我们都", "开会吧"]
    assert punctuate("我们都开会吧", words, ["，", "。"]).text == "我们都，开会吧。"


def test_the_bundled_model_is_small_and_funasr_says_the_same():
    model = load_punctuation("demo")
    assert sum(weight.numel() for weight in model.network.parameters()) < 1_000_000
    reference, right, count = PunctuationReference(model), 0, 0
    for text in texts.held_out_texts(60):
        words, wanted = texts.read(text)
        (found,) = model.punctuator().step([Words(words)])
        _, labels = reference.punctuate(" ".join(words))
        assert [mark or "_" for mark in found.marks] == labels
        right += sum(mark == "" if other == "_" else mark == other
                     for mark, other in zip(found.marks, wanted, strict=True))
        count += len(words)
    assert right / count > 0.99


def test_the_bundled_model_writes_a_text():
    text = "明天下午三点半在会议室开会讨论新闻和预算北京明天的天气怎么样我想买三个苹果两个面包和一个杯子"
    words = words_of(text)
    (found,) = load_punctuation("demo").punctuator().step([Words([word.text for word in words])])
    assert punctuate(text, words, found.marks).text == (
        "明天下午三点半在会议室开会，讨论新闻和预算。北京明天的天气怎么样？我想买三个苹果、两个面包和一个杯子。"
    )
