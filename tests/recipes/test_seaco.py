"""The second pass's recipe: training sees what the server computes, and lists of hotwords mean what they say."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.demo import texts
from recipes.demo.augment import Example
from recipes.demo.batches import tokens
from recipes.demo.features import read_normalisation
from recipes.demo.speech import RATE, Corpus
from recipes.seaco import evaluate, export, heard, hearing
from recipes.seaco.finding import Finding, Lookouts
from recipes.seaco.lists import ListMaker, occurrences
from recipes.seaco.names import KeptNames, kept_names, spellings
from recipes.seaco.network import NO_BIAS, STREAMING, architecture, centred, fresh_network
from recipes.seaco.onsets import onsets
from recipes.seaco.segments import SegmentBatches, Segments, onset_mass
from recipes.seaco.shuffle import shuffled
from recipes.seaco.sounds import Sounds, vocabulary_sounds
from stream_server.engine.pieces import finished
from stream_server.models.hub_files import read_config
from stream_server.models.offline import OfflineParaformer, segments_of
from stream_server.models.offline_architecture import offline_architecture_from_config
from stream_server.models.onsets import token_times
from tests.recipes.test_speech import needs_espeak

NOTHING = Corpus(np.zeros(0, np.int16), np.zeros(1, int), np.zeros((0, 2), int), np.zeros(1, int), [])


@pytest.fixture(scope="module")
def network() -> OfflineParaformer:
    """The streaming model's weights, and seeded ones for what it does not have, spread out so that words are found."""
    torch.manual_seed(3)
    made = fresh_network().requires_grad_(False).eval()
    made.hotword_output_layer.weight.mul_(20)
    made.hotword_output_layer.bias[NO_BIAS] = 40
    return made


@pytest.fixture(scope="module")
def made_up_sounds() -> Sounds:
    """About three characters to a syllable, and a third of the syllables the same but for the tone."""
    return Sounds({c: f"s{n % 290 // 3}_{n % 290 % 3}" for n, c in enumerate(texts.characters())})


@pytest.fixture(scope="module")
def samples() -> list[np.ndarray]:
    import wave

    found = []
    for name in ("name", "command", "long", "number"):
        with wave.open(str(Path(__file__).parents[2] / "samples" / f"{name}.wav")) as file:
            found.append(np.frombuffer(file.readframes(file.getnframes()), "<i2"))
    return found


def laid_out(samples: list[np.ndarray], written: list[list[int]]) -> Segments:
    """Sounds as training gets them; when they are spoken plays no part."""
    names = tokens()
    spread = [np.linspace(0, len(row), 2 * len(ids)).reshape(-1, 2).astype(int)
              for row, ids in zip(samples, written, strict=True)]
    batches = SegmentBatches(NOTHING, read_normalisation(STREAMING / "am.mvn"), 1.0)
    return batches.batch([
        Example(row.astype(np.float32), "".join(names[id_] for id_ in ids), spans)
        for row, ids, spans in zip(samples, written, spread, strict=True)
    ])


@given(st.lists(st.tuples(st.integers(60, 400), st.integers(0, 300)), min_size=1, max_size=30), st.integers(40, 2000))
def test_onsets_are_read_where_characters_begin(lengths: list[tuple[int, int]], begin: int) -> None:
    """To half a step of 20 ms, whatever the pauses."""
    at, spans = begin, []
    for length, pause in lengths:
        spans.append((at, at + length))
        at += length + pause
    shares = onset_mass(np.array(spans) * RATE // 1000, steps=at // 20 + 10)
    assert float(shares.max()) <= 1
    assert float(shares.sum()) == pytest.approx(len(spans) + 1, abs=1e-4)
    times = token_times(shares.tolist(), len(spans), len(spans))
    assert [start for start, _ in times] == pytest.approx([start for start, _ in spans], abs=11)


def test_a_shuffled_utterance_says_the_same_characters_elsewhere() -> None:
    sound, spans = np.arange(1000, 2000).astype(np.int16), np.array([(10, 200), (200, 400), (500, 900)])
    moved, text, places = shuffled(sound, "一二三", spans, np.array([2, 1, 0]))
    assert text == "三二一" and len(moved) == len(sound)
    assert places.tolist() == [[10, 410], [410, 610], [710, 900]]
    assert np.array_equal(moved[410:610], sound[200:400]), "what stays is as it was"
    assert np.array_equal(moved[610:710], sound[400:500]), "pauses stay in their places"
    assert np.array_equal(moved[150:300], sound[640:790]), "what moves is faded at its ends only"


def test_no_characters_no_onsets() -> None:
    assert not onset_mass(np.zeros((0, 2)), 12).any()


def test_onsets_in_training_are_the_servers(network: OfflineParaformer) -> None:
    torch.manual_seed(5)
    frames = torch.tensor([20, 7, 1])
    encoded = torch.randn(3, 20, 160) * (torch.arange(20) < frames[:, None])[..., None]
    ours, theirs = onsets(network.predictor, encoded, frames), finished(network.predictor.onsets(encoded, frames))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert float(theirs.max()) > 0.01


def test_a_memory_block_keeps_what_is_near() -> None:
    kernel, said = torch.randn(1, 1, 11), torch.zeros(1, 1, 31)
    said[..., 15] = 1.0
    causal = torch.nn.functional.conv1d(torch.nn.functional.pad(said, (10, 0)), kernel)
    both = torch.nn.functional.conv1d(torch.nn.functional.pad(said, (5, 5)), centred(kernel))
    torch.testing.assert_close(both[..., :21], causal[..., :21])
    assert not both[..., 21:].any()


def test_what_training_hears_is_what_the_server_hears(
    network: OfflineParaformer, samples: list[np.ndarray]
) -> None:
    said = [result.ids for result in network.recognise(samples)]
    assert sum(map(len, said)) > 80
    batch = laid_out(samples, said)
    segments = segments_of(samples)
    features = network.frontend(segments.samples, segments.fbanks, torch.ones(len(samples), dtype=torch.bool))
    assert batch.frames.tolist() == segments.frames.tolist()
    torch.testing.assert_close(features * batch.inside[..., None], batch.features, atol=2e-3, rtol=0)
    with torch.no_grad():
        encoded = finished(network.encoder.whole(batch.features, batch.inside, torch.float32))
        alphas = network.predictor(encoded) * batch.inside
        _, hidden = hearing.said(network, encoded, alphas, batch)
        ids = network.decoder.output_layer(hidden).argmax(-1)
    assert [row[: len(theirs)].tolist() for row, theirs in zip(ids, said, strict=True)] == said


def test_the_search_for_hotwords_is_the_servers(
    network: OfflineParaformer, samples: list[np.ndarray], made_up_sounds: Sounds
) -> None:
    """Segments laid end to end, each with its own list out of one pool, find what the server finds row by row."""
    said = [result.ids for result in network.recognise(samples)]
    batch = laid_out(samples, said)
    known = heard.listen(network, [batch])
    kept = KeptNames({}, ())
    maker = ListMaker(random.Random(4), made_up_sounds, kept)
    drawn = maker.draw([known.text(row) for row in range(len(samples))])
    few = dataclasses.replace(drawn, listed=[numbers[:40] for numbers in drawn.listed])
    out = Lookouts(known, made_up_sounds, kept, len(samples), 5).lay_out(list(range(len(samples))), few)
    trainee = Finding(network)
    with torch.no_grad():
        scores, looks = trainee._find(out, trainee._vectors(out))
    ours = scores[out.spoken].argmax(-1).split([len(ids) for ids in said])
    numbers = {token: number for number, token in enumerate(tokens())}
    for row, theirs in enumerate(said):
        words = [[numbers[c] for c in few.words[number]] for number in few.listed[row]]
        (result,) = network.recognise([samples[row]], [network.encode_words(words)])
        found = [new if new != NO_BIAS else old for new, old in zip(ours[row].tolist(), theirs, strict=True)]
        assert found == result.ids
    assert 0.05 < (torch.cat(ours) == NO_BIAS).float().mean() < 0.95, "some are found, some are not"
    assert all(torch.allclose(part.sum(-1), torch.ones(()), atol=1e-4) for part in looks)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_lists_say_what_is_said(made_up_sounds: Sounds, seed: int) -> None:
    rows = [texts.spoken(text) for text in texts.train_texts()[seed % 13000 :][:8]]
    name = next(name for name in spellings("张伟", made_up_sounds) if name != "张伟")
    kept = KeptNames({("张伟",): name}, (("李静",),))
    drawn = ListMaker(random.Random(seed), made_up_sounds, kept).draw(rows)
    assert name not in drawn.words
    assert made_up_sounds.of("李静") not in map(made_up_sounds.of, drawn.words)
    for text, written, found, listed in zip(rows, drawn.written, drawn.found, drawn.listed, strict=True):
        sound = made_up_sounds.of(text)
        assert made_up_sounds.of(written) == sound
        assert len(found) == len(text)
        assert {number for number in found if number >= 0} <= set(listed)
        for place, number in enumerate(found):
            if number < 0:
                assert written[place] == text[place]
        for number in listed:
            places = occurrences(sound, made_up_sounds.of(drawn.words[number]))
            assert bool(places) == (number in found)
            for at in places:
                assert written[at : at + len(drawn.words[number])] == drawn.words[number]


@needs_espeak
def test_names_of_a_group_sound_alike_and_kept_ones_are_never_said() -> None:
    sounds = vocabulary_sounds()
    kept = kept_names(sounds)
    said = "，".join(sounds.of(texts.spoken(text)) for text in texts.train_texts())
    for group, spelling in kept.spellings.items():
        assert {sounds.of(name) for name in (*group, spelling)} == {sounds.of(group[0])}
        assert spelling not in group and not kept.allow(spelling, sounds) and kept.allow(group[0], sounds)
    assert len(kept.spellings) > 15 and len(kept.names) == 60
    for names in kept.names:
        assert sounds.of(names[0]) not in said
        assert not any(kept.allow(name, sounds) for name in names)


def test_the_configuration_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(export.config())
    read = offline_architecture_from_config(read_config(tmp_path / "config.yaml"), len(tokens()), "config.yaml")
    assert read == architecture()


def test_words_are_counted_by_the_lexicon() -> None:
    assert evaluate.words_of("张伟在会议室开会") == ["张伟", "在", "会议室", "开会"]
