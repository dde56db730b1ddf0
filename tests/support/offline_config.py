"""What FunASR's `config.yaml` says of an offline Paraformer of given sizes."""

from __future__ import annotations

from stream_server.models.offline_architecture import OfflineArchitecture


def offline_conf(sizes: OfflineArchitecture) -> dict:
    """As the hub has it, but for what only training needs: `model_conf` within, the rest outermost."""
    base, bias = sizes.base, sizes.bias
    model = "SeacoParaformer" if bias else "BiCifParaformer" if sizes.onsets else "Paraformer"
    conf = {
        "model": model,
        "model_conf": {"ctc_weight": 0.0, "predictor_bias": 1},
        "input_size": base.features,
        "vocab_size": base.vocabulary,
        "encoder": "SANMEncoder",
        "encoder_conf": {
            "output_size": base.size, "attention_heads": base.encoder_heads, "linear_units": base.encoder_hidden,
            "num_blocks": base.encoder_layers, "input_layer": "pe", "normalize_before": True,
            "kernel_size": base.kernel, "sanm_shfit": 0, "selfattention_layer_type": "sanm",
        },
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": {
            "attention_heads": base.decoder_heads, "linear_units": base.decoder_hidden,
            "num_blocks": base.decoder_layers, "att_layer_num": base.decoder_layers, "kernel_size": base.kernel,
            "sanm_shfit": 0,
        },
        "predictor": "CifPredictorV3" if sizes.onsets else "CifPredictorV2",
        "predictor_conf": {
            "idim": base.size, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": base.tail_threshold,
            "smooth_factor": base.smooth_factor, "noise_threshold": base.noise_threshold,
        },
        "frontend_conf": {
            "fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "lfr_m": 7,
            "lfr_n": 6, "dither": 0.0,
        },
    }
    if sizes.onsets:
        conf["predictor_conf"] |= {
            "smooth_factor2": sizes.onsets.smooth_factor, "noise_threshold2": sizes.onsets.noise_threshold,
            "upsample_times": 3, "upsample_type": "cnn_blstm", "use_cif1_cnn": False,
        }
    if bias:
        conf["model_conf"] |= {"inner_dim": base.size, "bias_encoder_type": "lstm", "bias_encoder_bid": False,
                               "NO_BIAS": bias.no_bias}
        conf["seaco_decoder"] = "ParaformerSANMDecoder"
        conf["seaco_decoder_conf"] = {
            "attention_heads": bias.heads, "linear_units": bias.hidden, "num_blocks": bias.layers,
            "att_layer_num": bias.layers, "kernel_size": bias.kernel, "sanm_shfit": 0, "use_output_layer": False,
            "wo_input_layer": True,
        }
    return conf
