"""The bundled model of the second pass: FunASR loads it too and says the same, and its hotwords decide."""

from __future__ import annotations

import warnings
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from stream_server.models.checkpoint import load
from stream_server.models.offline_checkpoint import OFFLINE_DEMO, OfflineModel, load_offline

SAMPLES = Path(__file__).parents[2] / "samples"

OTHERS = ("刘洋", "孙越", "何萍", "沈阳", "预算", "质量", "工程师", "马骏", "冯涛", "唐颖", "图书馆", "高智强")
"""Words that nobody says in the sample, a few of them nearly."""


@pytest.fixture(scope="module")
def demo() -> OfflineModel:
    return load_offline("demo")


def sample(name: str) -> np.ndarray:
    with wave.open(str(SAMPLES / f"{name}.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def said(demo: OfflineModel, samples: np.ndarray, words: tuple[str, ...] | None = None) -> str:
    ids = {piece: id_ for id_, piece in enumerate(demo.vocabulary)}
    vectors = None
    if words is not None:
        vectors = demo.network.encode_words([[ids[character] for character in word] for word in words])
    (result,) = demo.network.recognise([samples], [vectors])
    return "".join(demo.vocabulary[id_] for id_ in result.ids)


def test_ids_are_the_first_passs(demo: OfflineModel):
    assert demo.vocabulary == load("demo").vocabulary


@pytest.mark.parametrize("name", ["meeting", "command", "number", "date"])
def test_the_samples_are_recognised(demo: OfflineModel, name: str):
    assert said(demo, sample(name)) == (SAMPLES / f"{name}.txt").read_text().strip()


@pytest.mark.parametrize("name", ["章玮", "张伟", "章伟", "张炜"])
def test_of_names_that_sound_alike_the_listed_one_is_written(demo: OfflineModel, name: str):
    heard = said(demo, sample("name"), (*OTHERS, name))
    assert heard == (SAMPLES / "name.txt").read_text().strip().replace("章玮", name)


def test_words_that_are_not_said_change_nothing(demo: OfflineModel):
    for name in ("meeting", "command", "number", "date", "name"):
        samples = sample(name)
        assert said(demo, samples, OTHERS) == said(demo, samples)


def test_narrow_weights_say_the_same(demo: OfflineModel):
    assert said(load_offline("demo", torch.float16), sample("meeting")) == said(demo, sample("meeting"))


@pytest.mark.parametrize(
    ("name", "words"), [("meeting", None), ("name", (*OTHERS, "张炜")), ("long", ("周洁", "马峻", "孙悦"))]
)
def test_funasr_loads_it_and_says_the_same(demo: OfflineModel, name: str, words: tuple[str, ...] | None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from funasr import AutoModel

        funasr = AutoModel(
            model=str(OFFLINE_DEMO), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR"
        )
        samples = sample(name)
        (theirs,) = funasr.generate(
            input=torch.from_numpy(samples.astype(np.float32) / 32768), hotword=" ".join(words) if words else None
        )
    assert theirs["text"].replace(" ", "") == said(demo, samples, words)
    (ours,) = demo.network.recognise([samples])
    assert len(theirs["timestamp"]) == len(ours.times)
    for (start, end), (their_start, their_end) in zip(ours.times, theirs["timestamp"], strict=True):
        # FunASR cuts 289.999... to 289, and may begin before the segment does.
        assert 0 <= start - max(their_start, 0) <= 1 and 0 <= end - max(their_end, 0) <= 1
