"""On a CUDA device the bundled models say what they say on a CPU, and graphs what their steps say one by one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
import pytest
import torch

from stream_server.audio.windows import Window
from stream_server.engine.pieces import finished
from stream_server.engine.runner import Row, Segment
from stream_server.models.checkpoint import load
from stream_server.models.memory import slots_that_fit
from stream_server.models.offline_checkpoint import load_offline
from stream_server.models.punctuation_checkpoint import load_punctuation
from stream_server.models.second_runner import OfflineRunner
from stream_server.models.streaming import ParaformerRunner
from stream_server.speech.hotwords import DEFAULT_WEIGHT, Hotword, HotwordList
from stream_server.speech.punctuated import Words, words_of
from tests.models.test_program import narrow
from tests.models.test_streaming import DEFAULT, QUICK, sound
from tests.support.recordings import sample

DEVICE = "cuda"
NAMES = ("meeting", "command", "number", "date", "name", "long")
OTHERS = ("周洁", "马峻", "孙悦", "张炜")

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
              # Each direction of the onsets' LSTM has only a part of its weights.
              pytest.mark.filterwarnings("ignore:RNN module weights")]


def together(runner: ParaformerRunner, streams: Sequence[np.ndarray], window: Window) -> list[list[str]]:
    """Streams that begin at once, each in a slot of its own; of each what it says in all."""
    said: list[list[str]] = [[] for _ in streams]
    hop = window.hop_samples
    for number in range(max(-(-len(samples) // hop) for samples in streams)):
        going = [slot for slot, samples in enumerate(streams) if number * hop < len(samples)]
        rows = [Row(slot, streams[slot][number * hop :][:hop], number == 0, (number + 1) * hop >= len(streams[slot]))
                for slot in going]
        for slot, result in zip(going, runner.run(window, rows), strict=True):
            assert result.error is None
            said[slot] += result.pieces
    return said


def alike(some: Sequence[str], others: Sequence[str]) -> float:
    return SequenceMatcher(None, some, others, autojunk=False).ratio()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_graphs_say_what_their_steps_say_one_by_one(dtype: torch.dtype):
    windows, model = (DEFAULT, QUICK), narrow(dtype, DEVICE)
    captured, stepped = (ParaformerRunner(model, windows, 9, fixed_shapes=True) for _ in range(2))
    captured.warm_up()
    for window in windows * 2:
        for count in (1, 2, 3, 7, 9):
            streams = [sound(4 + seed % 3 + 0.4, window, seed) for seed in range(count)]
            said = together(captured, streams, window)
            assert said == together(stepped, streams, window) and sum(map(len, said)) > 2 * count


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_samples_are_recognised_as_on_a_cpu(dtype: torch.dtype):
    samples = [sample(name) for name in NAMES]
    here = together(ParaformerRunner(load("demo"), [DEFAULT], len(NAMES)), samples, DEFAULT)
    runner = ParaformerRunner(load("demo", dtype, DEVICE), [DEFAULT], len(NAMES))
    runner.warm_up()
    there = together(runner, samples, DEFAULT)
    if dtype == torch.float32:
        assert there == here
    assert all(alike(*pair) > 0.9 for pair in zip(there, here, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_second_pass_says_what_it_says_on_a_cpu(dtype: torch.dtype):
    words = HotwordList(tuple(Hotword(name, DEFAULT_WEIGHT) for name in OTHERS))
    segments = [Segment(sample(name), hotwords) for name in NAMES for hotwords in (None, words)]
    here, there = (OfflineRunner(load_offline("demo", kind, device))
                   for kind, device in ((torch.float32, "cpu"), (dtype, DEVICE)))
    there.warm_up()
    for one, other in zip(finished(here.hear(segments)), finished(there.hear(segments)), strict=True):
        assert one.error is other.error is None
        if dtype == torch.float32:
            assert one.pieces == other.pieces
            apart = [abs(mine.begin - theirs.begin) for mine, theirs in zip(one.spans, other.spans, strict=True)]
            assert max(apart) <= 960, "a frame"
        assert alike(one.pieces, other.pieces) > 0.9


def test_texts_get_the_marks_that_they_get_on_a_cpu():
    said = "明天下午三点半在会议室开会讨论新闻和预算", "请章玮明天上午十点到报告厅来一下"
    texts = [Words(words_of(text)) for text in said]
    here, there = (load_punctuation("demo", torch.float32, device).punctuator() for device in ("cpu", DEVICE))
    marks = [row.marks for row in here.step(texts)]
    assert marks == [row.marks for row in there.step(texts)] and any(map(any, marks))


def test_all_slots_that_fit_leave_room_for_graphs_and_for_a_second_pass():
    windows, rows = (DEFAULT, QUICK), 256
    model = load("demo", torch.float16, DEVICE)
    second = OfflineRunner(load_offline("demo", torch.float16, DEVICE))
    runner = ParaformerRunner(model, windows, slots_that_fit(model, windows, rows))
    runner.max_batch = min(runner.max_batch, rows)
    runner.warm_up()
    second.warm_up()
    streams = [sound(2.4, DEFAULT, seed) for seed in range(runner.max_batch)]
    assert len(together(runner, streams, DEFAULT)) == runner.max_batch


def test_a_step_of_the_large_model_is_captured_and_heard():
    model = load("random", torch.float16, DEVICE)
    runner = ParaformerRunner(model, (DEFAULT,), 16)
    runner.warm_up()
    said = together(runner, [sample("meeting")] * 16, DEFAULT)
    assert said == [said[0]] * 16 and len(said[0]) > 10
