"""The second pass: the same numbers, tokens and times as FunASR with the same weights, alone and in batches."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
from torch import Tensor

from stream_server.models.architecture import PARAFORMER_LARGE
from stream_server.models.offline import OfflineParaformer, Recognised, frames_of, segments_of
from stream_server.models.offline_architecture import SEACO_LARGE
from stream_server.models.offline_checkpoint import random_offline_model
from tests.support import recordings
from tests.support.offline_reference import OfflineReference, ReferenceSegment

SEACO = dataclasses.replace(
    SEACO_LARGE, base=dataclasses.replace(PARAFORMER_LARGE, encoder_layers=4, decoder_layers=2)
)
"""The real architecture, with 4 and 2 layers, and all 6 that look for hotwords."""

BICIF = dataclasses.replace(SEACO, bias=None)
PLAIN = dataclasses.replace(SEACO, bias=None, onsets=None)

Words = list[list[int]]


def words(count: int, seed: int = 0) -> Words:
    """Made-up hotwords of one to four tokens."""
    random_ = random.Random(seed)
    return [[random_.randrange(4, 8000) for _ in range(random_.randrange(1, 5))] for _ in range(count)]


@pytest.fixture(scope="module")
def network() -> OfflineParaformer:
    return random_offline_model(SEACO).network


@pytest.fixture(scope="module")
def reference(network: OfflineParaformer) -> OfflineReference:
    return OfflineReference(network)


@pytest.fixture(scope="module")
def segments() -> list[np.ndarray]:
    """Speech of unequal lengths, the longest neither first nor last."""
    if not recordings.present():
        pytest.skip(recordings.ABSENT)
    utterances = recordings.corpus("aishell")
    return [utterances[5 * index][: round(16_000 * seconds)]
            for index, seconds in enumerate((1.3, 0.2, 3.5, 2.1, 0.03, 2.8))]


def vectors(network: OfflineParaformer, list_: Words | None) -> Tensor | None:
    return None if list_ is None else network.encode_words(list_)


def check(ours: Recognised, theirs: ReferenceSegment) -> None:
    assert min(theirs.margins, default=1) > 1e-3, "FunASR itself is undecided here: another segment is needed"
    assert ours.error is None
    assert ours.ids == theirs.ids
    assert len(ours.times) == len(theirs.times) == len(ours.ids)
    for (start, end), (their_start, their_end) in zip(ours.times, theirs.times, strict=True):
        # FunASR cuts 289.999... to 289, and may begin before the segment does.
        assert 0 <= start - max(their_start, 0) <= 1 and 0 <= end - max(their_end, 0) <= 1


@torch.inference_mode()
def test_what_is_heard_in_a_batch_is_what_funasr_hears_alone(
    network: OfflineParaformer, reference: OfflineReference, segments: list[np.ndarray]
):
    heard = network.hear(segments_of(segments))
    for row, samples in enumerate(segments):
        theirs = reference.recognise(samples)
        frames = len(theirs.features)
        assert frames == frames_of(len(samples)) == int(heard.inside[row].sum())
        by_itself = segments_of([samples])
        features = network.frontend(by_itself.samples, by_itself.fbanks, torch.tensor([True]))
        torch.testing.assert_close(features[0], theirs.features, atol=1e-5, rtol=0)
        torch.testing.assert_close(heard.encoded[row, :frames], theirs.encoded, atol=1e-3, rtol=0)
        torch.testing.assert_close(heard.alphas[row, :frames], theirs.alphas[:frames], atol=1e-3, rtol=0)
        assert int(heard.tokens.count[row]) == len(theirs.all_ids)
        assert not heard.encoded[row, frames:].any() and not heard.alphas[row, frames:].any()
        assert not heard.onsets[row, 3 * frames :].any()
        if theirs.all_ids:
            ours = heard.onsets[row, : 3 * frames]
            # FunASR makes them add up to the tokens.
            ours = ours * len(theirs.all_ids) / ours.sum()
            torch.testing.assert_close(ours, theirs.onsets, atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [None, 0, 1, 10, 50, 51, 200])
def test_alone_with_hotwords(
    network: OfflineParaformer, reference: OfflineReference, segments: list[np.ndarray], count: int | None
):
    list_ = None if count is None else words(count)
    for samples in (segments[0], segments[2]):
        (ours,) = network.recognise([samples], [vectors(network, list_)])
        check(ours, reference.recognise(samples, list_))


def test_a_batch_says_what_each_row_says_alone_with_its_own_hotwords(
    network: OfflineParaformer, reference: OfflineReference, segments: list[np.ndarray]
):
    lists = [words(200, 1), words(10, 2), None, words(60, 3), words(1, 4), []]
    theirs = [reference.recognise(samples, list_) for samples, list_ in zip(segments, lists, strict=True)]
    assert sum(len(row.ids) for row in theirs) > 40
    for seed in range(3):
        order = random.Random(seed).sample(range(len(segments)), len(segments) - seed)
        ours = network.recognise([segments[n] for n in order], [vectors(network, lists[n]) for n in order])
        for row, n in zip(ours, order, strict=True):
            check(row, theirs[n])


def test_hotwords_change_what_is_said_and_so_the_tests_above_mean_something(
    network: OfflineParaformer, segments: list[np.ndarray]
):
    lists = [None, [], words(1), words(10), words(51), words(200), words(200, 1)]
    said = network.recognise([segments[2]] * len(lists), [vectors(network, list_) for list_ in lists])
    assert len({tuple(row.ids) for row in said}) == len(lists)
    without, *others = said
    assert any(a == b for row in others for a, b in zip(row.ids, without.ids, strict=True)), "some are no hotwords"


def test_funasr_looks_for_hotwords_in_an_empty_list_and_not_without_one(
    network: OfflineParaformer, reference: OfflineReference, segments: list[np.ndarray]
):
    without, empty = (reference.recognise(segments[2], list_) for list_ in (None, []))
    assert without.ids != empty.ids
    check(network.recognise([segments[2]])[0], without)


@torch.inference_mode()
def test_funasr_filters_by_the_first_row_and_we_by_each(
    network: OfflineParaformer, reference: OfflineReference, segments: list[np.ndarray]
):
    samples, list_ = [segments[2][:28_000], segments[5][:28_000]], words(200)
    features = torch.cat([reference.features(row) for row in samples])
    encoded, lengths = reference.model.encode(features, torch.tensor([features.shape[1]] * 2))
    embeddings, count, *_ = reference.model.calc_predictor(encoded, lengths)
    scores = reference.scores(encoded, lengths, embeddings, count.round().long(), list_)
    alone = [reference.recognise(row, list_) for row in samples]
    said = [scores[row, : len(alone[row].all_ids)].argmax(-1).tolist() for row in range(2)]
    assert said[0] == alone[0].all_ids
    assert said[1] != alone[1].all_ids, "FunASR's second row got the first row's hotwords"
    for ours, theirs in zip(network.recognise(samples, [vectors(network, list_)] * 2), alone, strict=True):
        check(ours, theirs)


@torch.inference_mode()
def test_funasr_hears_the_padding_behind_a_short_row_and_we_do_not(
    network: OfflineParaformer, reference: OfflineReference, segments: list[np.ndarray]
):
    short, long = segments[0], segments[2]
    features = [reference.features(row)[0] for row in (short, long)]
    lengths = torch.tensor([len(row) for row in features])
    padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    encoded, lengths = reference.model.encode(padded, lengths)
    _, _, alphas, _ = reference.model.calc_predictor(encoded, lengths)
    end, alone = int(lengths[0]), reference.recognise(short)
    assert (alphas[0, end - 1] - alone.alphas[end - 1]).abs() > 1e-3, "the convolution reaches one frame beyond the end"
    _, _, onsets, _ = reference.model.calc_predictor_timestamp(encoded, lengths, torch.tensor([len(alone.all_ids)] * 2))
    apart = (onsets[0, : 3 * end] - alone.onsets).abs()
    assert apart.max() > 1e-3, "the LSTM's way back begins in the padding"

    ours, by_itself = network.hear(segments_of([short, long])), network.hear(segments_of([short]))
    torch.testing.assert_close(ours.alphas[0, :end], by_itself.alphas[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.onsets[0, : 3 * end], by_itself.onsets[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", [BICIF, PLAIN], ids=["BiCif", "Paraformer"])
def test_models_without_hotwords(sizes, segments: list[np.ndarray]):
    network = random_offline_model(sizes).network
    reference = OfflineReference(network)
    for samples, ours in zip(segments, network.recognise(segments), strict=True):
        theirs = reference.recognise(samples)
        if sizes.onsets:
            check(ours, theirs)
        else:
            assert min(theirs.margins, default=1) > 1e-3 and ours.error is None
            assert ours.ids == theirs.ids and len(ours.times) == len(ours.ids)
    with pytest.raises(ValueError, match="SeACo"):
        network.encode_words([[5]])


def test_less_than_25_ms_is_nothing_beside_what_is_something(network: OfflineParaformer, segments: list[np.ndarray]):
    nothing = segments[0][:399]
    assert network.recognise([]) == []
    assert network.recognise([nothing]) == [Recognised()]
    alone = network.recognise([segments[0]])
    assert network.recognise([nothing, segments[0], nothing[:0]]) == [Recognised(), *alone, Recognised()]
    with pytest.raises(ValueError, match="segment 1 is 399 samples; needed 400"):
        segments_of([segments[0], nothing])


def test_where_nothing_fires_nothing_is_said(segments: list[np.ndarray]):
    network = random_offline_model(BICIF).network
    network.predictor.cif_output.bias.fill_(-50.0)
    assert network.recognise(segments[:2]) == [Recognised(), Recognised()]
    assert OfflineReference(network).recognise(segments[0]).all_ids == []


@torch.inference_mode()
def test_what_is_not_a_number_stays_in_its_row(network: OfflineParaformer, segments: list[np.ndarray]):
    sound = segments_of([segments[0], segments[2]])
    broken = dataclasses.replace(sound, samples=sound.samples.float())
    broken.samples[1, 20_000] = torch.nan
    heard, whole = network.hear(broken), network.hear(sound)
    assert heard.finite.tolist() == [True, False]
    words_ = [vectors(network, words(60)), vectors(network, words(10))]
    count = int(whole.tokens.count[0])
    said = network.say(heard, count, words_), network.say(whole, count, words_)
    assert torch.equal(said[0].ids[0], said[1].ids[0]) and count > 3
    assert torch.equal(said[0].confidences[0], said[1].confidences[0])


def test_a_words_vector_does_not_depend_on_the_others(network: OfflineParaformer):
    list_ = words(30)
    together = network.encode_words(list_)
    assert together.shape == (31, 512)
    alone = torch.cat([network.encode_words([word])[:1] for word in list_])
    torch.testing.assert_close(together[:-1], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together[-1:], network.encode_words([]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("samples", "kind"), [
    (np.zeros(800), "float64 of 1"), (np.zeros((800, 1), np.int16), "int16 of 2"),
])
def test_what_is_no_segment_is_refused(samples: np.ndarray, kind: str):
    with pytest.raises(ValueError, match=f"segment 1 is {kind} dimensions; needed int16 of 1"):
        segments_of([np.zeros(800, np.int16), samples])


def test_hotwords_are_those_of_the_segments(network: OfflineParaformer):
    with pytest.raises(ValueError, match="hotwords for 1 segments; needed those of 2"):
        network.recognise([np.zeros(800, np.int16)] * 2, [None])


@pytest.mark.parametrize("word", [[], [8404], [5, -1]])
def test_what_is_no_hotword_is_refused(network: OfflineParaformer, word: list[int]):
    with pytest.raises(ValueError, match="needed ids from 0 to 8403"):
        network.encode_words([[5], word])


@pytest.mark.slow
def test_full_size():
    if not recordings.present():
        pytest.skip(recordings.ABSENT)
    network = random_offline_model(SEACO_LARGE).network
    samples, list_ = recordings.joined(4, 20), words(60)
    (ours,) = network.recognise([samples], [network.encode_words(list_)])
    check(ours, OfflineReference(network).recognise(samples, list_))
    assert len(ours.ids) > 8
