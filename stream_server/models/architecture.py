"""Sizes of a streaming Paraformer, as its `config.yaml` states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream_server.errors import ModelError
from stream_server.models.hub_config import REQUIRED, check_fixed, fraction, value, whole_number

MEL_BINS = 80
STACKED = 7
"""Fbank frames that low frame rate (LFR) stacks into one; it then advances by 6."""

UNSPOKEN = 3
"""Ids below are `<blank>`, `<s>` and `</s>`, in every vocabulary of the family; FunASR drops them too."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """The defaults are those of the published 220 M model (paraformer-zh-streaming)."""

    size: int = 512
    encoder_heads: int = 4
    encoder_hidden: int = 2048
    encoder_layers: int = 50
    decoder_heads: int = 4
    decoder_hidden: int = 2048
    decoder_layers: int = 16
    kernel: int = 11
    vocabulary: int = 8404
    tail_threshold: float = 0.45
    smooth_factor: float = 1.0
    noise_threshold: float = 0.0

    @property
    def features(self) -> int:
        """Numbers in one frame of 60 ms."""
        return MEL_BINS * STACKED

    @property
    def history(self) -> int:
        """Tokens that the decoder's memory block looks back."""
        return self.kernel - 1


PARAFORMER_LARGE = Architecture()

FRONTEND = {
    "frontend_conf.fs": 16000,
    "frontend_conf.window": "hamming",
    "frontend_conf.n_mels": MEL_BINS,
    "frontend_conf.frame_length": 25,
    "frontend_conf.frame_shift": 10,
    "frontend_conf.lfr_m": STACKED,
    "frontend_conf.lfr_n": 6,
}
"""The frontend of every model of the family; the code has no other."""

_FIXED = {
    "model": "ParaformerStreaming",
    "encoder": "SANMEncoderChunkOpt",
    "decoder": "ParaformerSANMDecoder",
    "predictor": "CifPredictorV2",
    "encoder_conf.input_layer": "pe_online",
    "encoder_conf.selfattention_layer_type": "sanm",
    "encoder_conf.normalize_before": True,
    "encoder_conf.sanm_shfit": 0,
    "predictor_conf.threshold": 1.0,
    "predictor_conf.l_order": 1,
    "predictor_conf.r_order": 1,
    **FRONTEND,
}
"""What the code takes for granted. The published models of this family have no other values; anything else is
refused, since it would be computed wrongly rather than not at all."""

DEFAULTS = {
    "encoder_conf.selfattention_layer_type": "sanm",
    "encoder_conf.normalize_before": True,
    "encoder_conf.sanm_shfit": 0,
    "predictor_conf.threshold": 1.0,
    "frontend_conf.fs": 16000,
    "frontend_conf.window": "hamming",
    "frontend_conf.n_mels": MEL_BINS,
    "frontend_conf.frame_length": 25,
    "frontend_conf.frame_shift": 10,
}
"""FunASR's own defaults, where a configuration may be silent."""


def architecture_from_config(config: Mapping[str, object], vocabulary: int, source: str) -> Architecture:
    """The sizes in FunASR's `config.yaml`, once read into a mapping; `source` names the file in errors.

    Raises ModelError where the model is of another kind or a value is not one that this code computes.
    """
    check_fixed(config, _FIXED, DEFAULTS, source, "a streaming Paraformer")
    sizes = read_sizes(config, source)
    # A memory block shifted by half its length looks back only; any other would need tokens yet to come.
    check_decoder(config, sizes, (sizes["kernel"] - 1) // 2, source)
    return Architecture(
        **sizes,
        vocabulary=vocabulary,
        tail_threshold=fraction(config, "predictor_conf.tail_threshold", source, 0.0),
        smooth_factor=fraction(config, "predictor_conf.smooth_factor", source, 1.0),
        noise_threshold=fraction(config, "predictor_conf.noise_threshold", source, 0.0),
    )


def read_sizes(config: Mapping[str, object], source: str) -> dict[str, int]:
    """Sizes of encoder and decoder by the names of Architecture's fields; heads divide what they share."""
    sizes = {
        name: whole_number(config, path, source)
        for name, path in (
            ("size", "encoder_conf.output_size"),
            ("encoder_heads", "encoder_conf.attention_heads"),
            ("encoder_hidden", "encoder_conf.linear_units"),
            ("encoder_layers", "encoder_conf.num_blocks"),
            ("decoder_heads", "decoder_conf.attention_heads"),
            ("decoder_hidden", "decoder_conf.linear_units"),
            ("decoder_layers", "decoder_conf.att_layer_num"),
            ("kernel", "encoder_conf.kernel_size"),
        )
    }
    for heads in ("encoder_heads", "decoder_heads"):
        if sizes["size"] % sizes[heads]:
            raise ModelError(f"{source}: {heads} is {sizes[heads]}; needed a divisor of output_size {sizes['size']}")
    if sizes["kernel"] % 2 == 0:
        raise ModelError(f"{source}: encoder_conf.kernel_size is {sizes['kernel']}; needed an odd number")
    return sizes


def check_decoder(config: Mapping[str, object], sizes: Mapping[str, int], shift: int, source: str) -> None:
    """That decoder and predictor fit the other sizes; `shift` is that of the decoder's memory blocks."""
    for path, needed, default in (
        ("decoder_conf.kernel_size", sizes["kernel"], REQUIRED),
        ("decoder_conf.sanm_shfit", shift, 0),
        # Layers without cross-attention would look ahead in a stream, and no published model has them.
        ("decoder_conf.num_blocks", sizes["decoder_layers"], REQUIRED),
        ("predictor_conf.idim", sizes["size"], REQUIRED),
    ):
        found = value(config, path, source, default)
        if found != needed:
            raise ModelError(f"{source}: {path} is {found!r}; needed {needed} with this model's other sizes")
