"""Write the hub directory that FunASR, and anything that reads its layout, loads."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from recipes.demo.export import write_model
from recipes.punctuation.train import architecture, words

CONFIG = """\
# A small CT-Transformer of made-up texts; made by recipes/punctuation.
model: CTTransformer
model_conf:
  ignore_id: 0
  embed_unit: {width}
  att_unit: {size}
  dropout_rate: 0.1
  punc_list: ["<unk>", "_", "，", "。", "？", "、"]
  punc_weight: [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
  sentence_end_id: 3
encoder: SANMEncoder
encoder_conf:
  input_size: {width}
  output_size: {size}
  attention_heads: {heads}
  linear_units: {hidden}
  num_blocks: {layers}
  dropout_rate: 0.1
  positional_dropout_rate: 0.1
  attention_dropout_rate: 0.0
  input_layer: pe
  pos_enc_class: SinusoidalPositionEncoder
  normalize_before: true
  kernel_size: {kernel}
  sanm_shfit: 0
  selfattention_layer_type: sanm
  padding_idx: 0
tokenizer: CharTokenizer
tokenizer_conf: {{unk_symbol: <unk>}}
"""


def export(folder: Path, weights: dict[str, Tensor]) -> None:
    """Write `config.yaml`, `model.pt` (half precision) and `tokens.json`."""
    sizes = architecture()
    base = sizes.base
    config = CONFIG.format(
        width=sizes.width, size=base.size, heads=base.encoder_heads, hidden=base.encoder_hidden,
        layers=base.encoder_layers, kernel=base.kernel,
    )
    write_model(folder, config, words(), weights)
