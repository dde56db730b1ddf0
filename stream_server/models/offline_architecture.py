"""Sizes of an offline Paraformer, as its `config.yaml` states them: plain, with times (BiCif), with hotwords (SeACo).

- `Paraformer`: encoder, CIF and decoder (iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-pytorch)
- `BiCifParaformer`: and a second CIF, thrice as fine, for tokens' times (arXiv 2301.12343)
- `SeacoParaformer`: and an encoder of hotwords with a decoder that finds them (arXiv 2308.03266;
  iic/speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch)

Read from the file: all sizes, layers, heads and kernels, CIF's thresholds and factors, the id that means "no hotword".
Taken for granted, and anything else refused: the kinds of layers, the frontend, decoders whose memory blocks look both
ways, a bias encoder that is an LSTM of two layers in one direction, hotwords whose vectors are as wide as the
encoder's output, times from a transposed convolution by 3 and a bidirectional LSTM over the encoder's output.

FunASR gives such a model `model_conf` and the file's outermost values alike, the outermost first; so does this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stream_server.errors import ModelError
from stream_server.models.architecture import DEFAULTS, FRONTEND, Architecture, check_decoder, read_sizes
from stream_server.models.hub_config import check_fixed, fraction, value, whole_number

ONSETS_PER_FRAME = 3
"""Steps of 20 ms into which the second CIF divides a frame."""

FILTERED_BY = 6
"""The layer of the hotwords' decoder, counted from one, whose attention says which hotwords are worth a closer look."""


@dataclass(frozen=True, slots=True)
class OnsetSizes:
    """The second CIF, whose weights lie where tokens begin."""

    smooth_factor: float = 0.25
    noise_threshold: float = 0.01


@dataclass(frozen=True, slots=True)
class BiasSizes:
    """The decoder that looks for hotwords, and the id that it gives where there is none."""

    heads: int = 4
    hidden: int = 1024
    layers: int = 6
    kernel: int = 21
    no_bias: int = 8377


@dataclass(frozen=True, slots=True)
class OfflineArchitecture:
    """Encoder, CIF and decoder in `base`; `onsets` and `bias` are None where a model has none."""

    base: Architecture
    onsets: OnsetSizes | None = None
    bias: BiasSizes | None = None

    @property
    def bias_decoder(self) -> Architecture:
        """The sizes of the decoder that looks for hotwords, as those of any decoder."""
        bias = self.bias
        return replace(
            self.base, decoder_heads=bias.heads, decoder_hidden=bias.hidden, decoder_layers=bias.layers,
            kernel=bias.kernel,
        )


SEACO_LARGE = OfflineArchitecture(Architecture(), OnsetSizes(), BiasSizes())

_PREDICTORS = {"Paraformer": "CifPredictorV2", "BiCifParaformer": "CifPredictorV3", "SeacoParaformer": "CifPredictorV3"}

_FIXED = {
    "encoder": "SANMEncoder",
    "decoder": "ParaformerSANMDecoder",
    "encoder_conf.input_layer": "pe",
    "encoder_conf.selfattention_layer_type": "sanm",
    "encoder_conf.normalize_before": True,
    "encoder_conf.sanm_shfit": 0,
    "decoder_conf.normalize_before": True,
    "predictor_conf.threshold": 1.0,
    "predictor_conf.l_order": 1,
    "predictor_conf.r_order": 1,
    **FRONTEND,
}

_FIXED_ONSETS = {
    "predictor_conf.upsample_times": ONSETS_PER_FRAME,
    "predictor_conf.upsample_type": "cnn_blstm",
    "predictor_conf.use_cif1_cnn": False,
}

_FIXED_BIAS = {
    "seaco_decoder": "ParaformerSANMDecoder",
    "seaco_decoder_conf.use_output_layer": False,
    "seaco_decoder_conf.normalize_before": True,
    "seaco_decoder_conf.sanm_shfit": 0,
    "bias_encoder_type": "lstm",
    "bias_encoder_bid": False,
    "decoder_conf.wo_input_layer": False,
    "decoder_conf.input_layer": "embed",
}

_DEFAULTS = {
    **DEFAULTS,
    "decoder_conf.normalize_before": True,
    "seaco_decoder_conf.normalize_before": True,
    "seaco_decoder_conf.sanm_shfit": 0,
    "bias_encoder_type": "lstm",
    "bias_encoder_bid": False,
    "decoder_conf.wo_input_layer": False,
    "decoder_conf.input_layer": "embed",
}


def offline_architecture_from_config(
    config: Mapping[str, object], vocabulary: int, source: str
) -> OfflineArchitecture:
    """The sizes in FunASR's `config.yaml`, once read into a mapping; `source` names the file in errors.

    Raises ModelError where the model is of another kind or a value is not one that this code computes.
    """
    model = value(config, "model", source)
    if not isinstance(model, str) or model not in _PREDICTORS:
        raise ModelError(f"{source}: model is {model!r}; needed one of {', '.join(_PREDICTORS)}")
    check_fixed(config, {**_FIXED, "predictor": _PREDICTORS[model]}, _DEFAULTS, source, f"a {model}")
    sizes = read_sizes(config, source)
    check_decoder(config, sizes, 0, source)
    base = Architecture(
        **sizes,
        vocabulary=vocabulary,
        tail_threshold=_tail_threshold(config, source),
        smooth_factor=fraction(config, "predictor_conf.smooth_factor", source, 1.0),
        noise_threshold=fraction(config, "predictor_conf.noise_threshold", source, 0.0),
    )
    onsets = None if model == "Paraformer" else _read_onsets(config, source)
    bias = _read_bias(config, base, source) if model == "SeacoParaformer" else None
    return OfflineArchitecture(base, onsets, bias)


def _tail_threshold(config: Mapping[str, object], source: str) -> float:
    found = fraction(config, "predictor_conf.tail_threshold", source, 0.0)
    if found == 0:
        # FunASR then rounds the number of tokens instead of cutting it, and may decode one that never fired.
        raise ModelError(f"{source}: predictor_conf.tail_threshold is 0; needed a number above 0, up to 1")
    return found


def _read_onsets(config: Mapping[str, object], source: str) -> OnsetSizes:
    check_fixed(config, _FIXED_ONSETS, {}, source, "times of tokens")
    return OnsetSizes(
        smooth_factor=fraction(config, "predictor_conf.smooth_factor2", source, 1.0),
        noise_threshold=fraction(config, "predictor_conf.noise_threshold2", source, 0.0),
    )


def _read_bias(config: Mapping[str, object], base: Architecture, source: str) -> BiasSizes:
    inner = value(config, "model_conf", source, {})
    # What stands outermost wins.
    config = {**inner, **config} if isinstance(inner, Mapping) else config
    check_fixed(config, _FIXED_BIAS, _DEFAULTS, source, "hotwords")
    sizes = BiasSizes(
        heads=whole_number(config, "seaco_decoder_conf.attention_heads", source, 4),
        hidden=whole_number(config, "seaco_decoder_conf.linear_units", source, 2048),
        layers=whole_number(config, "seaco_decoder_conf.att_layer_num", source, 6),
        kernel=whole_number(config, "seaco_decoder_conf.kernel_size", source, 21),
        no_bias=whole_number(config, "NO_BIAS", source, 8377),
    )
    for path, found, fits, needed in (
        ("inner_dim", value(config, "inner_dim", source, 256), lambda width: width == base.size, base.size),
        ("seaco_decoder_conf.att_layer_num", sizes.layers, lambda layers: layers >= FILTERED_BY,
         f"at least {FILTERED_BY}"),
        ("seaco_decoder_conf.num_blocks", whole_number(config, "seaco_decoder_conf.num_blocks", source, 6),
         lambda blocks: blocks <= sizes.layers, f"at most att_layer_num, {sizes.layers}"),
        ("seaco_decoder_conf.attention_heads", sizes.heads, lambda heads: base.size % heads == 0,
         f"a divisor of output_size {base.size}"),
        ("seaco_decoder_conf.kernel_size", sizes.kernel, lambda kernel: kernel % 2 == 1, "an odd number"),
        ("NO_BIAS", sizes.no_bias, lambda id_: id_ < base.vocabulary, f"an id below {base.vocabulary}"),
    ):
        if not fits(found):
            raise ModelError(f"{source}: {path} is {found!r}; needed {needed}")
    return sizes
