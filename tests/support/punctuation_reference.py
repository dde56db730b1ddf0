"""FunASR's own CT-Transformers as the reference: same weights, one text at a time, through their `inference`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch

from stream_server.models.punctuation_architecture import PunctuationArchitecture
from stream_server.models.punctuation_checkpoint import PunctuationModel


def punctuation_conf(sizes: PunctuationArchitecture) -> dict:
    """What FunASR's `config.yaml` says of a CT-Transformer of given sizes."""
    base = sizes.base
    return {
        "model": "CTTransformerStreaming" if sizes.causal else "CTTransformer",
        "model_conf": {
            "ignore_id": 0, "embed_unit": sizes.width, "att_unit": base.size, "dropout_rate": 0.1,
            "punc_list": list(sizes.marks), "punc_weight": [1.0] * len(sizes.marks), "sentence_end_id": sizes.end,
        },
        "encoder": "SANMVadEncoder" if sizes.causal else "SANMEncoder",
        "encoder_conf": {
            "input_size": sizes.width, "output_size": base.size, "attention_heads": base.encoder_heads,
            "linear_units": base.encoder_hidden, "num_blocks": base.encoder_layers, "dropout_rate": 0.1,
            "positional_dropout_rate": 0.1, "attention_dropout_rate": 0.0, "input_layer": "pe",
            "pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True, "kernel_size": base.kernel,
            "sanm_shfit": sizes.shift, "selfattention_layer_type": "sanm", "padding_idx": 0,
        },
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>"},
    }


class PunctuationReference:
    """FunASR's class with the weights and the vocabulary of `model`."""

    def __init__(self, model: PunctuationModel) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from funasr.models.ct_transformer.model import CTTransformer
            from funasr.models.ct_transformer_streaming import encoder as _  # noqa: F401 (registers the classes)
            from funasr.models.ct_transformer_streaming.model import CTTransformerStreaming
            from funasr.models.sanm import encoder  # noqa: F401
            from funasr.tokenizer.char_tokenizer import CharTokenizer

            conf = punctuation_conf(model.network.architecture)
            kind = CTTransformerStreaming if conf["model"] == "CTTransformerStreaming" else CTTransformer
            # As FunASR's AutoModel does it.
            inner = {key: value for key, value in conf.items() if key not in ("model", "model_conf", "tokenizer")}
            self.model = kind(**inner, **conf["model_conf"], vocab_size=len(model.vocabulary))
            self._tokenizer = CharTokenizer(token_list=model.vocabulary, **conf["tokenizer_conf"])
        self.model.load_state_dict(model.network.state_dict(), strict=True)
        self.model.eval()
        self.marks = conf["model_conf"]["punc_list"]
        self.widths: list[int] = []
        self.model.embed.register_forward_hook(lambda _, ids, __: self.widths.append(ids[0].shape[1]))

    @torch.inference_mode()
    def punctuate(self, text: str, cache: dict | None = None, piece: int = 20) -> tuple[str, list[str]]:
        """The text that FunASR writes, and the mark of each word as its list of labels has it; `_` is none.

        The streaming class gives labels for the last piece of 20 alone.
        """
        arguments = {"split_size": piece} | ({} if cache is None else {"cache": cache})
        ((result,), _) = self.model.inference(
            [text], key=["text"], tokenizer=self._tokenizer, device="cpu", **arguments
        )
        labels: Sequence[int] = result["punc_array"].reshape(-1).tolist()
        return result["text"], [self.marks[label] for label in labels]

    @torch.inference_mode()
    def scores(self, ids: list[int], context: int) -> torch.Tensor:
        """[T, marks] of one text."""
        arguments = {"vad_indexes": torch.tensor([context])} if self.model.with_vad() else {}
        scores, _ = self.model.punc_forward(torch.tensor([ids]), torch.tensor([len(ids)]), **arguments)
        return scores[0]
