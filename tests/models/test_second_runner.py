"""The runner of the second pass: what the network says alone, in pieces, for many sessions at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from stream_server.engine.pieces import finished
from stream_server.engine.runner import Heard, Segment
from stream_server.errors import EngineError
from stream_server.models.second_runner import LISTS_KEPT, WORDS_AT_ONCE, OfflineRunner
from stream_server.speech.hotwords import HotwordList
from tests.support import recordings
from tests.support.small_offline import SMALL_SEACO, small_offline_model


@pytest.fixture(scope="module")
def runner() -> OfflineRunner:
    model = small_offline_model()
    # A row with hotwords says nothing else.
    model.network.hotword_output_layer.bias[SMALL_SEACO.bias.no_bias] = -1e3
    return OfflineRunner(model)


def speech(seconds: float, begin: int = 0) -> np.ndarray:
    return recordings.sample("meeting")[begin : begin + round(16_000 * seconds)]


def names(*words: str) -> HotwordList:
    return HotwordList.of([(word, 20.0) for word in words])


def test_what_is_heard_is_what_the_network_says(runner: OfflineRunner) -> None:
    (heard,) = finished(runner.hear([Segment(speech(4.0))]))
    (result,) = runner.network.recognise([speech(4.0)])
    assert heard.pieces == [runner.vocabulary[id_] for id_ in result.ids] and len(heard.pieces) > 3
    assert heard.spans == [(16 * begin, min(16 * end, 64_000)) for begin, end in result.times]
    assert heard.confidences == [round(100 * probability) for probability in result.confidences]
    assert all(0 < confidence <= 100 for confidence in heard.confidences)


def test_it_may_be_left_after_each_layer_and_gone_on_with_in_any_thread(runner: OfflineRunner) -> None:
    """Also with another pass in between: what is left lying leaves nothing behind in the thread."""
    works = [runner.hear([Segment(speech(1.0, 9_000 * seed))]) for seed in (1, 2)]
    results: dict[int, list[Heard]] = {}
    pieces = [0, 0]

    def go_on() -> None:
        for number, work in enumerate(works):
            if number not in results:
                try:
                    next(work)
                    pieces[number] += 1
                except StopIteration as end:
                    results[number] = end.value

    while len(results) < 2:
        thread = threading.Thread(target=go_on)
        thread.start()
        thread.join()
    assert [results[number] for number in range(2)] == [finished(runner.hear([Segment(speech(1.0, 9_000 * seed))]))
                                                        for seed in (1, 2)]
    layers = SMALL_SEACO.base.encoder_layers + SMALL_SEACO.base.decoder_layers
    assert min(pieces) >= layers


def test_each_segment_has_its_own_hotwords(runner: OfflineRunner) -> None:
    lists = [None, names("一丁", "丂七"), names(), names("七")]
    together = finished(runner.hear([Segment(speech(4.0), list_) for list_ in lists]))
    for list_, heard in zip(lists, together, strict=True):
        vectors = runner.network.encode_words(runner.spelt(list_)) if list_ else None
        (result,) = runner.network.recognise([speech(4.0)], [vectors])
        assert heard.pieces == [runner.vocabulary[id_] for id_ in result.ids]
    assert together[0].pieces == together[2].pieces != together[1].pieces


def test_words_are_spelt_in_every_way_and_those_that_cannot_be_are_left_out(runner: OfflineRunner) -> None:
    first = runner.vocabulary.index("一")
    assert runner.spelt(names("一丁", "龘", "一")) == [[first], [first, first + 1]]
    (heard,) = finished(runner.hear([Segment(speech(1.0), names("龘"))]))
    assert heard == finished(runner.hear([Segment(speech(1.0))]))[0]


def test_a_lists_vectors_are_kept_and_their_number_is_bounded(runner: OfflineRunner,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    encode = runner.network.encode_words
    monkeypatch.setattr(runner.network, "encode_words", lambda words: encoded.append(words) or encode(words))
    for _ in range(3):
        finished(runner.hear([Segment(speech(0.3), names("一丁丂"))] * 2))
    assert len(encoded) == 1
    for number in range(LISTS_KEPT + 3):
        finished(runner._vectors(names(chr(0x4E00 + number))))
    assert len(runner._words) == LISTS_KEPT


def test_a_long_list_is_read_in_pieces_and_is_the_same(runner: OfflineRunner) -> None:
    words = names(*(chr(0x4E00 + number) for number in range(2 * WORDS_AT_ONCE + 7)))
    work = runner._vectors(words)
    next(work), next(work)
    assert torch.allclose(finished(work), runner.network.encode_words(runner.spelt(words)), atol=1e-6)


def test_less_than_a_frame_is_nothing(runner: OfflineRunner) -> None:
    assert finished(runner.hear([Segment(speech(0.01)), Segment(speech(1.0))]))[0] == Heard()


def test_a_warm_up_that_fails_says_so() -> None:
    runner = OfflineRunner(small_offline_model())
    runner.warm_up()
    runner.network.encoder.after_norm.weight.fill_(float("nan"))
    with pytest.raises(EngineError, match="warm-up of the second pass failed: the model's numbers overflowed"):
        runner.warm_up()
