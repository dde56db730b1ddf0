"""The code for CUDA devices where there is none: tensors that have a device and a shape but no numbers.

On them whatever mixes devices raises, and so does what needs a number on the host: no graph could be captured of it.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stream_server.audio.windows import Window
from stream_server.engine.pieces import finished
from stream_server.engine.runner import Row
from stream_server.models import attention, encoder
from stream_server.models.caches import Caches, Writes
from stream_server.models.checkpoint import random_model
from stream_server.models.offline_checkpoint import random_offline_model
from stream_server.models.program import Program
from stream_server.models.punctuation_architecture import CT_PUNC_LARGE
from stream_server.models.punctuation_checkpoint import random_punctuation_model
from stream_server.models.streaming import ParaformerRunner
from stream_server.models.tokens import WantedScores
from stream_server.speech.context_graph import build
from stream_server.speech.decoding import Spoken
from stream_server.speech.hotwords import DEFAULT_WEIGHT, Hotword
from stream_server.speech.punctuated import Words
from stream_server.speech.spelling import SpeltWord
from tests.models.test_program import NARROW
from tests.support.small_offline import SMALL_SEACO

WINDOWS = (Window(10, 5), Window(8, 4), Window(4, 4), Window(2, 2, 0, 0))
DTYPES = (torch.float32, torch.float16)
PACKAGE = str(Path(attention.__file__).parents[1])
SMALL_PUNC = dataclasses.replace(CT_PUNC_LARGE, base=dataclasses.replace(
    CT_PUNC_LARGE.base, size=64, encoder_heads=2, encoder_hidden=96, encoder_layers=2, vocabulary=300), width=64)

NUMBER = 3
"""What every tensor without numbers says that it holds, where the host asks for them."""


@pytest.fixture(autouse=True)
def no_numbers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Host buffers without numbers, too, can be filled and read as arrays are; and what is made once for tensors of one
    test cannot be used with another's."""
    kinds = {torch.int16: np.int16, torch.int64: np.int64, torch.float32: np.float32, torch.bool: np.bool_}
    monkeypatch.setattr(FakeTensor, "numpy", lambda self: np.full(self.shape, NUMBER, kinds[self.dtype]))
    encoder._rates.cache_clear()
    yield
    encoder._rates.cache_clear()


class OnTheDevice(TorchDispatchMode):
    """Operators that touch a tensor elsewhere: a graph would keep the address of what is long gone, or could not be
    captured."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = 0
        self.elsewhere: list[str] = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        self.operators += 1
        if any(isinstance(each, Tensor) and each.device.type != "cuda" for each in tree_leaves((args, kwargs, result))):
            self.elsewhere.append(f"{operator} in {place()}")
        return result


class Waits(TorchDispatchMode):
    """Where the host waits for the device: it asks for a number, or copies. Numbers are NUMBER."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[str] = Counter()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default):
            self.places[place()] += args[0].is_cuda
            return float(NUMBER) if args[0].is_floating_point() else NUMBER
        for each in tree_leaves(args):
            if isinstance(each, FakeTensor):
                # Of what has one number only it is remembered, and would be copied in earnest.
                each.constant = None
        result = operator(*args, **(kwargs or {}))
        devices = {each.device.type for each in tree_leaves((args, kwargs, result)) if isinstance(each, Tensor)}
        self.places[place()] += devices == {"cuda", "cpu"}
        return result


def place() -> str:
    """The function of ours that is being run, and in which module."""
    frame = sys._getframe(1)
    while not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"


def programs(dtype: torch.dtype, device: str, rows: int) -> Iterator[Program]:
    model = random_model(NARROW, dtype, device)
    caches = Caches(NARROW, WINDOWS, 8, dtype, device)
    for window in WINDOWS:
        yield Program(model.network, caches, window, rows)


def warm_up(program: Program) -> None:
    """As `capture` does: what is made once, the rates of positions, may come from the host."""
    program._send()
    program._compute()


def shapes(program: Program) -> list[tuple[torch.Size, torch.dtype]]:
    heard = program._heard
    results = [getattr(part, field.name) for part in (heard, heard.tokens) for field in dataclasses.fields(part)]
    results = [each for each in (*results, program._packed, program.scores) if isinstance(each, Tensor)]
    return [(each.shape, each.dtype) for each in results]


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_captured_stays_on_the_device_and_asks_for_no_number(dtype: torch.dtype, rows: int):
    with FakeTensorMode(), torch.inference_mode():
        for program, here in zip(programs(dtype, "cuda", rows), programs(dtype, "cpu", rows), strict=True):
            warm_up(program)
            with OnTheDevice() as watched:
                program._compute()
            here.run()
            assert watched.operators > 300 and not watched.elsewhere
            assert shapes(program) == shapes(here)
            assert program.run().shape == (rows, 2 + 3 * program.tokens)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_are_asked_again_are_asked_on_the_device(dtype: torch.dtype):
    with FakeTensorMode():
        for program in programs(dtype, "cuda", 4):
            program.run()
            with Waits() as waits:
                packed, scores = program.say_rest([0, 3], 9)
            most = min(9, program._heard.tokens.embeddings.shape[1])
            assert scores.shape == (2, most, NARROW.vocabulary) and scores.is_cuda
            assert packed.shape == (2, 2 + 3 * most)
            assert +waits.places == {"program.say_rest": 2}, "which rows is sent, and what they say comes back"


@pytest.mark.parametrize("spoil", [
    lambda heard: heard.tokens.count.max().item(),
    lambda heard: heard.encoded[heard.inside],
    lambda heard: heard.encoded + torch.ones(heard.encoded.shape),
    lambda heard: heard.tokens.count.nonzero(),
])
def test_what_could_not_be_captured_is_found(spoil, monkeypatch: pytest.MonkeyPatch):
    with FakeTensorMode():
        program = next(programs(torch.float16, "cuda", 2))
        hear = program._network.hear

        def spoilt(*arguments):
            heard = hear(*arguments)
            spoil(heard)
            return heard

        monkeypatch.setattr(program._network, "hear", spoilt)
        with pytest.raises((DataDependentOutputException, DynamicOutputShapeException, RuntimeError)):
            program.run()


def test_a_number_that_is_sent_in_what_is_captured_is_found(monkeypatch: pytest.MonkeyPatch):
    with FakeTensorMode():
        program = next(programs(torch.float16, "cuda", 2))
        say = program._say
        monkeypatch.setattr(program, "_say", lambda *arguments: say(*arguments) * torch.tensor(2.0))
        warm_up(program)
        with OnTheDevice() as watched:
            program._compute()
        assert watched.elsewhere


@pytest.mark.parametrize("dtype", DTYPES)
def test_slots_are_as_large_there_as_here_and_are_cleared_there(dtype: torch.dtype):
    with FakeTensorMode():
        there, here = (Caches(NARROW, WINDOWS, 5, dtype, device) for device in ("cuda", "cpu"))
        assert there.bytes_per_slot == here.bytes_per_slot > 0
        with OnTheDevice() as watched:
            there.reset(torch.zeros(2, dtype=torch.int64, device="cuda"))
            Writes().commit()
        assert watched.operators >= 8 and not watched.elsewhere


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_waits_for_the_device_once_and_once_more_for_new_streams(dtype: torch.dtype):
    with FakeTensorMode():
        runner = ParaformerRunner(random_model(NARROW, dtype, "cuda"), WINDOWS, 4)
        hop = np.zeros(WINDOWS[0].hop_samples, np.int16)
        sent_and_waited = {"program._send": 2, "program.run": 1}
        # The first step makes what later ones have.
        for first, new in ((True, None), (True, {"streaming._step": 1}), (False, {})):
            with Waits() as waits:
                results = runner.run(WINDOWS[0], [Row(slot, hop, first) for slot in range(3)])
            assert all(result.error is None and len(result.pieces) == NUMBER for result in results)
            assert new is None or +waits.places == {**sent_and_waited, **new}


def test_hotwords_of_rows_cost_one_wait():
    graph = build([SpeltWord(Hotword("word", DEFAULT_WEIGHT), ((5, 6, 7),))])
    with FakeTensorMode():
        scores = torch.empty(4, 6, NARROW.vocabulary, dtype=torch.float16, device="cuda")
        with Waits() as waits:
            WantedScores(scores, [0, 2], [graph, graph], [[Spoken(5, 0, 0)], []])
    assert +waits.places == {"tokens.__init__": 3}, "which rows and numbers are wanted is sent, and these come back"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_second_pass_waits_for_the_device_at_known_places(dtype: torch.dtype):
    graph = build([SpeltWord(Hotword("word", DEFAULT_WEIGHT), ((5, 6, 7),))])
    samples = [np.zeros(length, np.int16) for length in (20_000, 9_000, 30_000)]
    with FakeTensorMode():
        network = random_offline_model(SMALL_SEACO, dtype, "cuda").network
        words = [torch.empty(60, SMALL_SEACO.base.size, device="cuda"), None,
                 torch.empty(9, SMALL_SEACO.base.size, device="cuda")]
        with Waits() as waits:
            heard = finished(network.recognise_in_pieces(samples, words, [graph, None, None]))
    assert [(row.error, len(row.ids)) for row in heard] == [(None, NUMBER)] * 3
    waits.places.pop("encoder._rates", None)
    sent = {"offline.segments_of", "offline._hear", "onsets.onsets", "offline._say", "bias.side_by_side"}
    asked = {"offline.recognise_in_pieces", "offline.<genexpr>", "offline._search", "tokens.__init__",
             "offline._results"}
    assert set(+waits.places) == sent | asked, "a few in a pass, none in a layer"


def test_marks_are_found_on_the_device():
    with FakeTensorMode():
        punctuator = random_punctuation_model(SMALL_PUNC, torch.float32, "cuda").punctuator()
        with Waits() as waits:
            marked = punctuator.step([Words(["好"] * NUMBER)] * 2)
    assert all(row.error is None and len(row.marks) == NUMBER for row in marked)
    waits.places.pop("encoder._rates", None)
    assert set(+waits.places) == {"punctuator._label"}


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16])
def test_attention_takes_what_is_prepared_for_cuda_for_the_same(dtype: torch.dtype):
    query, keys_values = torch.randn(3, 7, 64, dtype=dtype), torch.randn(3, 55, 128, dtype=dtype)
    visible = attention.visible_keys(torch.arange(40) < torch.tensor([[0], [13], [40]]),
                                     torch.arange(15) < torch.tensor([[0], [15], [4]]))
    bias = attention.as_bias(visible, dtype)
    assert bias.shape == visible.shape and bias.stride(0) == 56
    said = attention.attend(query, keys_values, bias, heads=4)
    assert torch.equal(said, attention.attend(query, keys_values, visible, heads=4)) and said.isfinite().all()


def test_on_cuda_fp32_is_fp32_and_no_plans_are_made_for_attention():
    try:
        torch.backends.cudnn.allow_tf32 = True
        with FakeTensorMode():
            random_model(NARROW, torch.float16, "cuda")
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.cudnn_sdp_enabled()
        assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = True
