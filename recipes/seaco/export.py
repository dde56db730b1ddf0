"""Write the hub directory that FunASR, and anything that reads its layout, loads."""

from pathlib import Path

import torch
from torch import Tensor

from recipes.demo import export as demo
from recipes.demo import texts
from recipes.seaco.network import architecture

CONFIG = """\
# A small offline Paraformer with hotwords, of synthetic speech; made by recipes/seaco.
model: SeacoParaformer
model_conf:
  ctc_weight: 0.0
  predictor_bias: 0
  inner_dim: {size}
  bias_encoder_type: lstm
  bias_encoder_bid: false
  NO_BIAS: {no_bias}
encoder: SANMEncoder
encoder_conf:
  output_size: {size}
  attention_heads: {encoder_heads}
  linear_units: {encoder_hidden}
  num_blocks: {encoder_layers}
  input_layer: pe
  pos_enc_class: SinusoidalPositionEncoder
  normalize_before: true
  kernel_size: {kernel}
  sanm_shfit: 0
  selfattention_layer_type: sanm
decoder: ParaformerSANMDecoder
decoder_conf:
  attention_heads: {decoder_heads}
  linear_units: {decoder_hidden}
  num_blocks: {decoder_layers}
  att_layer_num: {decoder_layers}
  kernel_size: {kernel}
  sanm_shfit: 0
seaco_decoder: ParaformerSANMDecoder
seaco_decoder_conf:
  attention_heads: {bias_heads}
  linear_units: {bias_hidden}
  num_blocks: {bias_layers}
  att_layer_num: {bias_layers}
  kernel_size: {bias_kernel}
  sanm_shfit: 0
  use_output_layer: false
  wo_input_layer: true
predictor: CifPredictorV3
predictor_conf:
  idim: {size}
  threshold: 1.0
  l_order: 1
  r_order: 1
  tail_threshold: {tail_threshold}
  smooth_factor: {smooth_factor}
  noise_threshold: {noise_threshold}
  smooth_factor2: {smooth_factor2}
  noise_threshold2: {noise_threshold2}
  upsample_times: 3
  upsample_type: cnn_blstm
  use_cif1_cnn: false
frontend: WavFrontend
"""


def config() -> str:
    """`config.yaml`."""
    sizes = architecture()
    base, onsets, bias = sizes.base, sizes.onsets, sizes.bias
    values = {name: getattr(base, name) for name in base.__dataclass_fields__}
    sized = CONFIG.format(
        **values, no_bias=bias.no_bias, bias_heads=bias.heads, bias_hidden=bias.hidden, bias_layers=bias.layers,
        bias_kernel=bias.kernel, smooth_factor2=onsets.smooth_factor, noise_threshold2=onsets.noise_threshold,
    )  # fmt: skip
    return sized + demo.SOUND_AND_TEXT


def export(folder: Path, weights: dict[str, Tensor], normalisation: tuple[Tensor, Tensor]) -> None:
    """Write `config.yaml`, `model.pt` (half precision), `am.mvn`, `tokens.json`, and `seg_dict` by which FunASR cuts
    hotwords into characters."""
    demo.write_hub(folder, config(), weights, normalisation)
    (folder / "seg_dict").write_text("".join(f"{character} {character}\n" for character in texts.characters()))


def export_checkpoint(checkpoint: Path, folder: Path, normalisation: tuple[Tensor, Tensor]) -> None:
    """Write what a training has come to so far."""
    export(folder, torch.load(checkpoint, weights_only=True)["average"], normalisation)
