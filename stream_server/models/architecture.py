"""Sizes of a streaming Paraformer, as its `config.yaml` states them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream_server.errors import ModelError

MEL_BINS = 80
STACKED = 7
"""Fbank frames that low frame rate (LFR) stacks into one; it then advances by 6."""


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
    "frontend_conf.fs": 16000,
    "frontend_conf.window": "hamming",
    "frontend_conf.n_mels": MEL_BINS,
    "frontend_conf.frame_length": 25,
    "frontend_conf.frame_shift": 10,
    "frontend_conf.lfr_m": STACKED,
    "frontend_conf.lfr_n": 6,
}
"""What the code takes for granted. The published models of this family have no other values; anything else is
refused, since it would be computed wrongly rather than not at all."""

_OPTIONAL = {
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
    for path, needed in _FIXED.items():
        found = _value(config, path, source, _OPTIONAL.get(path, _REQUIRED))
        if found != needed:
            raise ModelError(f"{source}: {path} is {found!r}; needed {needed!r} (a streaming Paraformer)")
    sizes = {
        name: _number(config, path, source)
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
    _check_decoder(config, sizes, source)
    return Architecture(
        **sizes,
        vocabulary=vocabulary,
        tail_threshold=_fraction(config, "predictor_conf.tail_threshold", source, 0.0),
        smooth_factor=_fraction(config, "predictor_conf.smooth_factor", source, 1.0),
        noise_threshold=_fraction(config, "predictor_conf.noise_threshold", source, 0.0),
    )


def _check_decoder(config: Mapping[str, object], sizes: Mapping[str, int], source: str) -> None:
    for path, needed in (
        ("decoder_conf.kernel_size", sizes["kernel"]),
        # A memory block shifted by half its length looks back only; any other would need tokens yet to come.
        ("decoder_conf.sanm_shfit", (sizes["kernel"] - 1) // 2),
        # Layers without cross-attention look ahead, and FunASR's streaming caches them wrongly.
        ("decoder_conf.num_blocks", sizes["decoder_layers"]),
        ("predictor_conf.idim", sizes["size"]),
    ):
        found = _value(config, path, source)
        if found != needed:
            raise ModelError(f"{source}: {path} is {found!r}; needed {needed} with this model's other sizes")
    for heads in ("encoder_heads", "decoder_heads"):
        if sizes["size"] % sizes[heads]:
            raise ModelError(f"{source}: {heads} is {sizes[heads]}; needed a divisor of output_size {sizes['size']}")


_REQUIRED = object()


def _value(config: Mapping[str, object], path: str, source: str, default: object = _REQUIRED) -> object:
    found: object = config
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            if default is _REQUIRED:
                raise ModelError(f"{source}: {path} is missing; needed a streaming Paraformer's configuration")
            return default
        found = found[name]
    return found


def _number(config: Mapping[str, object], path: str, source: str) -> int:
    found = _value(config, path, source)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ModelError(f"{source}: {path} is {found!r}; needed a whole number from 1")
    return found


def _fraction(config: Mapping[str, object], path: str, source: str, default: float) -> float:
    found = _value(config, path, source, default)
    # Beyond 1 a frame could fire twice, which FunASR's loop does not do either.
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found <= 1:
        raise ModelError(f"{source}: {path} is {found!r}; needed a number from 0 to 1")
    return float(found)
