"""The bundled model of the second pass: FunASR loads it too and says the same, and its hotwords decide."""

from __future__ import annotations

import warnings
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from stream_server.engine.pieces import finished
from stream_server.engine.runner import Heard, Segment
from stream_server.models.checkpoint import load
from stream_server.models.offline_checkpoint import OFFLINE_DEMO, OfflineModel, load_offline
from stream_server.models.second_runner import OfflineRunner
from stream_server.speech.context_graph import GraphCache
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.spelling import Speller

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


def test_the_runner_finds_listed_names_by_itself_and_with_its_search_whatever_the_neighbours_list(demo: OfflineModel):
    runner = OfflineRunner(demo)
    wanted = (SAMPLES / "name.txt").read_text().strip()
    spelt = [tuple(map(finished_text, finished(runner.hear([
        Segment(sample("name"), words(*OTHERS, name) if name else None), *others]))))[0]
        for name in ("章玮", "张伟", "章伟", "张炜", None)
        for others in ((), (Segment(sample("command"), words("张伟", "章玮")), Segment(sample("date"))))]
    alone, beside = spelt[::2], spelt[1::2]
    assert alone == beside
    assert alone[:4] == [wanted.replace("章玮", name) for name in ("章玮", "张伟", "章伟", "张炜")]


def test_a_search_that_fails_leaves_what_the_model_says(demo: OfflineModel, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise MemoryError

    runner, segment = OfflineRunner(demo), Segment(sample("name"), words("章玮"))
    (found,) = finished(runner.hear([segment]))
    monkeypatch.setattr("stream_server.models.offline.search_whole", fail)
    (left,) = finished(runner.hear([segment]))
    assert finished_text(found) == (SAMPLES / "name.txt").read_text().strip()
    assert left.error is None and len(left.pieces) == len(left.spans) == len(left.confidences) > 0


def test_a_bonus_decides_between_what_is_nearly_as_probable(demo: OfflineModel):
    """The search alone, without the model's own way with hotwords."""
    samples, cache = sample("name"), GraphCache(Speller(demo.vocabulary))
    texts = []
    for name in ("章玮", "张伟"):
        work = demo.network.recognise_in_pieces([samples], None, [cache.get(words(*OTHERS, name))])
        (result,) = finished(work)
        assert all(0 <= sure <= 1 for sure in result.confidences) and len(result.times) == len(result.ids)
        texts.append("".join(demo.vocabulary[id_] for id_ in result.ids))
    wanted = (SAMPLES / "name.txt").read_text().strip()
    assert texts == [wanted, wanted.replace("章玮", "张伟")]


def words(*names: str) -> HotwordList:
    return HotwordList.of([(name, 20.0) for name in names])


def finished_text(heard: Heard) -> str:
    return "".join(heard.pieces)
