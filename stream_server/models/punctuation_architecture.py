"""Sizes of a CT-Transformer, as its `config.yaml` states them.

- `CTTransformer`: every word sees all the others (iic/punc_ct-transformer_cn-en-common-vocab471067-large, "ct-punc";
  iic/punc_ct-transformer_zh-cn-common-vocab272727-pytorch, "ct-punc-c")
- `CTTransformerStreaming`: words see what came before them, and in the last layer what has come since
  (iic/punc_ct-transformer_zh-cn-common-vad_realtime-vocab272727)

Read from the file: all sizes, the marks and which of them ends a sentence. Taken for granted, and anything else
refused: the kinds of layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stream_server.errors import ModelError
from stream_server.models.architecture import Architecture
from stream_server.models.hub_config import REQUIRED, check_fixed, value, whole_number

NO_MARK = "_"

PUBLISHED_MARKS = ("<unk>", NO_MARK, "，", "。", "？", "、")
"""Of all published models."""


@dataclass(frozen=True, slots=True)
class PunctuationArchitecture:
    """The encoder's sizes in `base`, of which only those of an encoder count; `width` is that of a word's embedding.

    `shift`: how far the memory blocks lean to the past. `marks[label]` is what the model means by a label, and
    `end` the label that stands where a sentence is ended by force.
    """

    base: Architecture
    width: int
    shift: int = 0
    causal: bool = False
    marks: tuple[str, ...] = PUBLISHED_MARKS
    end: int = 3


CT_PUNC_LARGE = PunctuationArchitecture(
    Architecture(size=516, encoder_heads=12, encoder_hidden=2048, encoder_layers=12, vocabulary=471067), width=516
)
CT_PUNC_REALTIME = PunctuationArchitecture(
    Architecture(size=256, encoder_heads=8, encoder_hidden=1024, encoder_layers=4, vocabulary=272727),
    width=256, shift=5, causal=True,
)

_ENCODERS = {"CTTransformer": "SANMEncoder", "CTTransformerStreaming": "SANMVadEncoder"}

_FIXED = {
    "encoder_conf.input_layer": "pe",
    "encoder_conf.selfattention_layer_type": "sanm",
    "encoder_conf.normalize_before": True,
    "encoder_conf.concat_after": False,
    "encoder_conf.positionwise_layer_type": "linear",
}

_DEFAULTS = {
    "encoder_conf.selfattention_layer_type": "sanm",
    "encoder_conf.normalize_before": True,
    "encoder_conf.concat_after": False,
    "encoder_conf.positionwise_layer_type": "linear",
}


def punctuation_architecture_from_config(
    config: Mapping[str, object], vocabulary: int, source: str
) -> PunctuationArchitecture:
    """The sizes in FunASR's `config.yaml`, once read into a mapping; `source` names the file in errors.

    Raises ModelError where the model is of another kind or a value is not one that this code computes.
    """
    model = value(config, "model", source)
    if not isinstance(model, str) or model not in _ENCODERS:
        raise ModelError(f"{source}: model is {model!r}; needed one of {', '.join(_ENCODERS)}")
    check_fixed(config, {**_FIXED, "encoder": _ENCODERS[model]}, _DEFAULTS, source, f"a {model}")
    base = Architecture(
        size=whole_number(config, "encoder_conf.output_size", source, 256),
        encoder_heads=whole_number(config, "encoder_conf.attention_heads", source, 4),
        encoder_hidden=whole_number(config, "encoder_conf.linear_units", source, 2048),
        encoder_layers=whole_number(config, "encoder_conf.num_blocks", source, 6),
        kernel=whole_number(config, "encoder_conf.kernel_size", source, 11),
        vocabulary=vocabulary,
    )
    width = whole_number(config, "model_conf.embed_unit", source, 128)
    shift = value(config, "encoder_conf.sanm_shfit", source, 0)
    for path, found, fits, needed in (
        ("encoder_conf.attention_heads", base.encoder_heads, base.size % base.encoder_heads == 0,
         f"a divisor of output_size {base.size}"),
        ("encoder_conf.kernel_size", base.kernel, base.kernel % 2 == 1, "an odd number"),
        ("encoder_conf.sanm_shfit", shift, shift in range(base.kernel // 2 + 1),
         f"a whole number from 0 to {base.kernel // 2}"),
        ("encoder_conf.input_size", input_size := value(config, "encoder_conf.input_size", source),
         input_size == width, f"embed_unit, {width}"),
        ("model_conf.embed_unit", width, width % 2 == 0, "an even number"),
        ("model_conf.att_unit", att_unit := value(config, "model_conf.att_unit", source, 256),
         att_unit == base.size, f"output_size, {base.size}"),
    ):
        if not fits:
            raise ModelError(f"{source}: {path} is {found!r}; needed {needed}")
    return PunctuationArchitecture(base, width, shift, model == "CTTransformerStreaming", *_read_marks(config, source))


def _read_marks(config: Mapping[str, object], source: str) -> tuple[tuple[str, ...], int]:
    marks = value(config, "model_conf.punc_list", source, REQUIRED)
    if not isinstance(marks, list) or not all(isinstance(mark, str) for mark in marks) or NO_MARK not in marks:
        found = str(marks)[:80]
        raise ModelError(f"{source}: model_conf.punc_list is {found}; needed a list of marks with '_' for none")
    end = value(config, "model_conf.sentence_end_id", source, 3)
    if end not in range(len(marks)) or marks[end] in (NO_MARK, "<unk>"):
        raise ModelError(f"{source}: model_conf.sentence_end_id is {end!r}; needed the place of a mark in punc_list")
    return tuple(marks), end
