"""Training's one-pass geometry gives what FunASR's own window-by-window code gives."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.demo import batches, export
from recipes.demo.features import WIDTH, filter_banks, stacked
from recipes.demo.geometry import DEFAULT, Window, lay_out, used_frames, window_count
from recipes.demo.model import Size, StreamingParaformer
from recipes.demo.recognise import FunasrRecogniser, Recogniser

SIZE = Size(vocabulary=len(batches.tokens()), size=32, heads=4, units=48, encoder_layers=3, decoder_layers=2)
WINDOWS = [DEFAULT, Window(8, 4), Window(4, 4)]


def tiny_model(folder: Path) -> None:
    """A random model in hub layout whose characters fire every few positions and whose scores are spread out."""
    torch.manual_seed(11)
    model = StreamingParaformer(SIZE)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.startswith("decoder.output_layer.weight"):
                value.mul_(20)
            elif name.endswith("cif_output.weight"):
                value.mul_(30)
        model.predictor.cif_output.bias.fill_(-1.5)
    half = {name: value.half().float() for name, value in model.state_dict().items()}
    export.export(folder, half, SIZE, (torch.full((WIDTH,), -10.0), torch.full((WIDTH,), 0.3)))


def sounds() -> list[np.ndarray]:
    """Noise in bursts; lengths around strides and their fractions."""
    source = np.random.default_rng(3)
    lengths = [4000, 9599, 9600, 10200, 10560, 19200 + 959, 19200 + 960, 33333, 57600, 76801, 120000]
    found = []
    for length in lengths:
        envelope = np.repeat(source.uniform(0, 1, length // 1500 + 1) ** 3, 1500)[:length]
        found.append((source.standard_normal(length) * envelope * 6000).clip(-32768, 32767).astype(np.int16))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hub")
    tiny_model(path)
    return path


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_all_windows_at_once_equal_window_by_window(folder: Path, window: Window) -> None:
    pytest.importorskip("funasr")
    ours, theirs = Recogniser.load(folder, SIZE), FunasrRecogniser(folder)
    batch = sounds()
    random.Random(0).shuffle(batch)
    said = ours.texts(batch, window)
    assert said == [theirs.text(sound, window) for sound in batch]
    assert sum(map(len, said)) > 60


def test_window_count_counts_the_last_one() -> None:
    assert [window_count(samples, DEFAULT) for samples in (1, 9599, 9600, 19199, 19200)] == [1, 1, 2, 2, 3]


def test_a_rest_shorter_than_a_frame_is_left_out() -> None:
    assert used_frames(11, 9600 + 959, DEFAULT) == 10
    assert used_frames(11, 9600 + 960, DEFAULT) == 11


def test_positions_before_the_speech_are_zeros() -> None:
    layout = lay_out([(12, 12 * 960)], DEFAULT)
    assert (layout.frame[0, :5] == 0).all()
    assert layout.frame[0, 5:].tolist() == list(range(1, 11))
    assert layout.frame[1, :7].tolist() == list(range(6, 13))
    assert layout.valid[1].sum() == 7
    assert (layout.kept >= 0).sum() == 17


def test_stacked_frames_count_is_a_sixth_rounded_up() -> None:
    for count in (1, 5, 6, 7, 58, 61):
        banks = torch.randn(count, 80)
        assert stacked(banks).shape == (-(-count // 6), WIDTH)


def test_filter_banks_are_kaldis() -> None:
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    samples = torch.randn(8000) * 1000
    expected = kaldi.fbank(samples[None], num_mel_bins=80, window_type="hamming", dither=0.0, energy_floor=0.0)
    assert torch.allclose(filter_banks(samples), expected, atol=1e-4)
