"""The export for sherpa-onnx: its graphs say what FunASR says, and sherpa-onnx's own runtime takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.peers.sherpa_model import SherpaModel, exported, fingerprint
from stream_server.audio.windows import Window
from stream_server.models.checkpoint import Model, load_directory
from tests.support.audio import voice
from tests.support.reference import Reference, pieces_of
from tests.support.small_model import SMALL, write_small_model

pytest.importorskip("onnx", reason="onnx is absent: pip install '.[bench]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is absent: pip install '.[bench]'")

WITHOUT_LOOK_BACK = Window(10, 5, 0, 0)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, 2000, 12 * 16_000)
    return np.clip(voice(12) + noise, -32768, 32767).astype(np.int16)


def test_the_graphs_say_what_funasr_says(model: Model, files: SherpaModel, sound: np.ndarray) -> None:
    encoder, decoder = (onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
                        for path in (files.encoder("fp32"), files.decoder("fp32")))
    window = WITHOUT_LOOK_BACK
    before = np.zeros((1, window.look_ahead, SMALL.features), np.float32)
    memory = [np.zeros((1, SMALL.size, SMALL.history), np.float32) for _ in range(SMALL.decoder_layers)]
    carry, carried, said = 0.0, np.zeros(SMALL.size, np.float32), 0
    steps = list(Reference(model).stream(pieces_of(sound, window, empty_last=True), window))[:-1]
    for number, step in enumerate(steps):
        placed = model.network.encoder.place(step.features[None], torch.tensor([number * window.hop])).numpy()
        speech = np.concatenate((before, placed), 1)
        before = speech[:, window.hop :]
        length = np.array([speech.shape[1]], np.int32)
        encoded, encoded_length, alphas = encoder.run(None, {"speech": speech, "speech_lengths": length})
        assert encoded_length == length
        np.testing.assert_allclose(encoded[0], step.encoded.numpy(), atol=1e-3)
        np.testing.assert_allclose(alphas[0, : window.hop], step.alphas[: window.hop].numpy(), atol=1e-3)
        embeddings, carry, carried = fire(alphas[0, : window.hop], encoded[0], carry, carried)
        if not len(embeddings):
            assert step.ids == []
            continue
        _, ids, *memory = decoder.run(None, {
            "enc": encoded, "enc_len": length, "acoustic_embeds": embeddings[None],
            "acoustic_embeds_len": np.array([len(embeddings)], np.int32),
            **{f"in_cache_{layer}": cache for layer, cache in enumerate(memory)},
        })
        assert ids[0].tolist() == step.ids
        said += len(step.ids)
    assert said > 10


def fire(
    alphas: np.ndarray, frames: np.ndarray, carry: float, carried: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """CIF frame by frame, as sherpa-onnx does it: embeddings [N, D], what is left of the sum, and its frames' sum."""
    fired = []
    for alpha, frame in zip(alphas, frames, strict=False):
        if carry + alpha < 1:
            carry, carried = carry + alpha, carried + alpha * frame
        else:
            fired.append(carried + (1 - carry) * frame)
            carry = carry + alpha - 1
            carried = carry * frame
    return np.array(fired, np.float32), carry, carried


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_sherpa_onnx_recognises_with_them(files: SherpaModel, sound: np.ndarray, precision: str) -> None:
    sherpa_onnx = pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is absent: pip install '.[bench]'")
    recogniser = sherpa_onnx.OnlineRecognizer.from_paraformer(
        tokens=str(files.tokens), encoder=str(files.encoder(precision)), decoder=str(files.decoder(precision)),
        num_threads=1,
    )
    stream = recogniser.create_stream()
    stream.accept_waveform(16_000, sound.astype(np.float32) / 32768)
    while recogniser.is_ready(stream):
        recogniser.decode_stream(stream)
    assert len(recogniser.get_result(stream)) > 10


def test_int8_files_are_smaller_and_near_the_truth(model: Model, files: SherpaModel) -> None:
    speech = np.random.default_rng(5).normal(0, 3, (1, 18, SMALL.features)).astype(np.float32)
    inputs = {"speech": speech, "speech_lengths": np.array([18], np.int32)}
    exact, rounded = (
        onnxruntime.InferenceSession(str(files.encoder(precision)), providers=["CPUExecutionProvider"])
        .run(["enc"], inputs)[0] for precision in ("fp32", "int8")
    )
    assert files.encoder("int8").stat().st_size < files.encoder("fp32").stat().st_size / 2
    assert 0 < np.abs(exact - rounded).max()
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.99


def test_an_export_is_made_once(model: Model, files: SherpaModel, exports: Path) -> None:
    written = files.encoder("fp32").stat().st_mtime_ns
    assert exported(model, exports) == files
    assert files.encoder("fp32").stat().st_mtime_ns == written


def test_other_weights_are_exported_anew(model: Model, tmp_path: Path) -> None:
    assert fingerprint(load_directory(write_small_model(tmp_path, seed=8))) != fingerprint(model)
