"""Recognition two ways: all windows at once with the training model, and window by window with FunASR."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipes.demo.batches import BLANK, END, START, tokens
from recipes.demo.features import WIDTH, filter_banks, read_normalisation, stacked
from recipes.demo.geometry import DECODER_LOOK_BACK, ENCODER_LOOK_BACK, Window, lay_out
from recipes.demo.model import TAIL, Size, StreamingParaformer, integrate, positions


def _with_tail(hidden: Tensor, alphas: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Put an empty position with mass TAIL behind each utterance's last one."""
    hidden = torch.nn.functional.pad(hidden, (0, 0, 0, 1))
    alphas = torch.nn.functional.pad(alphas, (0, 1))
    ends = (kept >= 0).sum(dim=1)
    return hidden, alphas.scatter(1, ends[:, None], TAIL)


class Recogniser:
    """The training model on whole utterances; same text as window by window."""

    def __init__(self, model: StreamingParaformer, normalisation: tuple[Tensor, Tensor]) -> None:
        self._model = model.eval()
        self._shift, self._scale = normalisation
        self._tokens = tokens()

    @classmethod
    def load(cls, folder: Path, size: Size) -> "Recogniser":
        """From a hub directory; `size` as it was trained."""
        model = StreamingParaformer(size)
        state = torch.load(folder / "model.pt", weights_only=True)
        model.load_state_dict({name: value.float() for name, value in state.items()})
        return cls(model, read_normalisation(folder / "am.mvn"))

    @torch.no_grad()
    def texts(self, sounds: list[np.ndarray], window: Window) -> list[str]:
        """The text of each sound, int16 (time,) at 16 kHz."""
        rows, lengths = [torch.zeros(1, WIDTH)], []
        for sound in sounds:
            plain = stacked(filter_banks(torch.from_numpy(sound.astype(np.float32))))
            rows.append(positions((plain + self._shift) * self._scale, 0, self._model.size.size))
            lengths.append((len(plain), len(sound)))
        layout = lay_out(lengths, window)
        memory, hidden, alphas = self._model.encode(torch.cat(rows), layout)
        hidden, alphas = _with_tail(hidden, alphas, layout.kept)
        counts = alphas.sum(dim=1).floor().long()
        if not counts.any():
            return [""] * len(sounds)
        fired = integrate(hidden, alphas, layout, int(counts.max()))
        numbers = self._model.decoder(fired, memory, layout).argmax(-1)
        return [self._text(row[:count].tolist()) for row, count in zip(numbers, counts.tolist(), strict=True)]

    def _text(self, numbers: list[int]) -> str:
        return "".join(self._tokens[number] for number in numbers if number not in (BLANK, START, END))


class FunasrRecogniser:
    """FunASR's own streaming code on a hub directory, one stride of samples a call."""

    def __init__(self, folder: Path) -> None:
        from funasr import AutoModel

        self._model: Any = AutoModel(
            model=str(folder), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR"
        )

    def text(self, sound: np.ndarray, window: Window) -> str:
        """The text of one sound, int16 (time,) at 16 kHz."""
        stride, cache, pieces = window.center * 960, {}, []
        samples = sound.astype(np.float32) / 32768
        starts = range(0, len(samples) + 1, stride)
        for start in starts:
            result = self._model.generate(
                input=samples[start : start + stride],
                cache=cache,
                is_final=start == starts[-1],
                chunk_size=[0, window.center, window.right],
                encoder_chunk_look_back=ENCODER_LOOK_BACK,
                decoder_chunk_look_back=DECODER_LOOK_BACK,
            )
            pieces.append(result[0]["text"])
        return "".join(pieces).replace(" ", "")
