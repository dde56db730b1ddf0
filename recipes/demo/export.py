"""Write the hub directory that FunASR, and anything that reads its layout, loads."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from recipes.demo.batches import tokens
from recipes.demo.features import write_normalisation
from recipes.demo.model import TAIL, Size

SOUND_AND_TEXT = """\
frontend_conf:
  fs: 16000
  window: hamming
  n_mels: 80
  frame_length: 25
  frame_shift: 10
  lfr_m: 7
  lfr_n: 6
  dither: 0.0
tokenizer: CharTokenizer
tokenizer_conf: {unk_symbol: <unk>, split_with_space: true}
"""
"""How a configuration ends, the streaming model's and the second pass's."""

CONFIG = """\
# A small streaming Paraformer of synthetic speech; made by recipes/demo.
model: ParaformerStreaming
model_conf:
  ctc_weight: 0.0
  lsm_weight: 0.1
  length_normalized_loss: true
  predictor_weight: 1.0
  predictor_bias: 0
  sampling_ratio: 0.0
encoder: SANMEncoderChunkOpt
encoder_conf:
  output_size: {size}
  attention_heads: {heads}
  linear_units: {units}
  num_blocks: {encoder_layers}
  dropout_rate: {dropout}
  positional_dropout_rate: 0.0
  attention_dropout_rate: 0.0
  input_layer: pe_online
  pos_enc_class: SinusoidalPositionEncoder
  normalize_before: true
  kernel_size: {kernel}
  sanm_shfit: 0
  selfattention_layer_type: sanm
  chunk_size: [12, 15]
  stride: [8, 10]
  pad_left: [0, 0]
  encoder_att_look_back_factor: [4, 4]
  decoder_att_look_back_factor: [1, 1]
decoder: ParaformerSANMDecoder
decoder_conf:
  attention_heads: {heads}
  linear_units: {units}
  num_blocks: {decoder_layers}
  dropout_rate: {dropout}
  positional_dropout_rate: 0.0
  self_attention_dropout_rate: 0.0
  src_attention_dropout_rate: 0.0
  att_layer_num: {decoder_layers}
  kernel_size: {kernel}
  sanm_shfit: {shift}
predictor: CifPredictorV2
predictor_conf: {{idim: {size}, threshold: 1.0, l_order: 1, r_order: 1, tail_threshold: {tail}}}
frontend: WavFrontendOnline
"""


def export(folder: Path, weights: dict[str, Tensor], size: Size, normalisation: tuple[Tensor, Tensor]) -> None:
    """Write `config.yaml`, `model.pt` (half precision), `am.mvn` and `tokens.json`."""
    config = CONFIG.format(**size.as_dict(), shift=size.kernel // 2, tail=TAIL) + SOUND_AND_TEXT
    write_hub(folder, config, weights, normalisation)


def write_hub(folder: Path, config: str, weights: dict[str, Tensor], normalisation: tuple[Tensor, Tensor]) -> None:
    """Write the four files; `config` is the text of `config.yaml`."""
    write_model(folder, config, tokens(), weights)
    write_normalisation(folder / "am.mvn", *normalisation)


def write_model(folder: Path, config: str, vocabulary: Sequence[str], weights: dict[str, Tensor]) -> None:
    """Write `config.yaml`, `tokens.json` and `model.pt`, weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(config)
    (folder / "tokens.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0) + "\n")
    half = {name: value.half().contiguous() for name, value in weights.items()}
    part = folder / "model.part"
    torch.save(half, part)
    part.rename(folder / "model.pt")
