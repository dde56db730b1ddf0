"""Our weights as the files that sherpa-onnx's streaming Paraformer reads: two ONNX graphs, metadata, a token list.

What its runtime asks for is in `online-paraformer-model.cc` and `online-recognizer-paraformer-impl.h` of
k2-fsa/sherpa-onnx. It makes features, position encoding and CIF itself, and runs one stream at a time:

encoder  speech [1, T, 560] placed features, speech_lengths [1] int32 -> enc [1, T, D], enc_len [1], alphas [1, T]
decoder  enc, enc_len, acoustic_embeds [1, N, D], acoustic_embeds_len [1], in_cache_i [1, D, 10]
         -> logits [1, N, V], sample_ids [1, N] int64, out_cache_i [1, D, 10]

All frames count, so attention goes without masks, which is in its favour. The int8 files are made as the published
ones are, and come out as large: matrices alone, dynamically, a scale for each output channel, the decoder's last matrix
left in fp32.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from dataclasses import astuple
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.sherpa_files import SherpaModel
from stream_server.models.architecture import STACKED
from stream_server.models.attention import remember
from stream_server.models.checkpoint import Model
from stream_server.models.cif import Predictor
from stream_server.models.decoder import Decoder
from stream_server.models.encoder import Encoder, SelfAttention
from stream_server.models.paraformer import Paraformer

LFR_SHIFT = 6
"""Fbank frames by which one stacked frame follows another."""

_OPSET = 17


def exported(model: Model, folder: Path) -> SherpaModel:
    """`model` (fp32, on the CPU) in a folder of its own in `folder`: as it was found there, or made now."""
    files = SherpaModel(folder / fingerprint(model))
    if not files.folder.exists():
        unfinished = files.folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _write(model, SherpaModel(unfinished))
        unfinished.rename(files.folder)
    return files


def fingerprint(model: Model) -> str:
    """Changes with the weights, the sizes, the tokens, and the way of exporting."""
    seen = hashlib.sha256(Path(__file__).read_bytes())
    seen.update(repr((astuple(model.network.architecture), model.vocabulary)).encode())
    frontend = model.network.frontend
    for tensor in (frontend.shift, frontend.scale, *model.network.state_dict().values()):
        seen.update(tensor.contiguous().numpy().data)
    return seen.hexdigest()[:16]


class EncoderGraph(nn.Module):
    """The encoder over a window without look-back, and CIF's weights."""

    def __init__(self, network: Paraformer) -> None:
        super().__init__()
        self.encoder: Encoder = network.encoder
        self.predictor = network.predictor

    def forward(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = speech
        for layer in (*self.encoder.encoders0, *self.encoder.encoders):
            attended = _self_attention(layer.self_attn, layer.norm1(x))
            x = x + attended if layer.residual else attended
            x = x + layer.feed_forward(layer.norm2(x))
        encoded = self.encoder.after_norm(x)
        return encoded, speech_lengths.clone(), _alphas(self.predictor, encoded)


class DecoderGraph(nn.Module):
    """The decoder over the tokens of one window, with what the memory blocks remember of earlier ones."""

    def __init__(self, network: Paraformer) -> None:
        super().__init__()
        self.decoder: Decoder = network.decoder
        self.output_layer = network.decoder.output_layer

    def forward(
        self, enc: Tensor, enc_len: Tensor, acoustic_embeds: Tensor, acoustic_embeds_len: Tensor, *caches: Tensor
    ) -> tuple[Tensor, ...]:
        enc, x = _inside(enc, enc_len), _inside(acoustic_embeds, acoustic_embeds_len)
        remembered = []
        for layer, cache in zip(self.decoder.decoders, caches, strict=True):
            said = layer.norm2(layer.feed_forward(layer.norm1(x)))
            recent = torch.cat((cache.transpose(1, 2), said), 1)
            remembered.append(recent[:, -cache.shape[2] :].transpose(1, 2))
            x = x + said + remember(layer.self_attn.fsmn_block, recent)
            attention = layer.src_attn
            keys, values = attention.linear_k_v(enc).chunk(2, -1)
            heard = _attend(attention.linear_q(layer.norm3(x)), keys, values, attention.heads)
            x = x + attention.linear_out(heard)
        last = self.decoder.decoders3[0]
        logits = self.output_layer(self.decoder.after_norm(last.feed_forward(last.norm1(x))))
        return logits, logits.argmax(-1), *remembered


def _alphas(predictor: Predictor, encoded: Tensor) -> Tensor:
    # The convolution as one: as the product that it is here, it cannot be exported.
    mixed = F.conv1d(encoded.transpose(1, 2), predictor.cif_conv1d.weight, predictor.cif_conv1d.bias, padding=1)
    alphas = predictor.cif_output(F.relu(mixed.transpose(1, 2))).sigmoid().squeeze(-1)
    return F.relu(alphas * predictor.smooth_factor - predictor.noise_threshold)


def _inside(frames: Tensor, count: Tensor) -> Tensor:
    # They are whole, but an input that is not used would be left out of the graph, and the runtime gives all four.
    return frames * (torch.arange(frames.shape[1]) < count)[None, :, None]


def _self_attention(attention: SelfAttention, x: Tensor) -> Tensor:
    query, keys, values = attention.linear_q_k_v(x).chunk(3, -1)
    memory = values + remember(attention.fsmn_block, F.pad(values, (0, 0, *attention.context)))
    return attention.linear_out(_attend(query, keys, values, attention.heads)) + memory


def _attend(query: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    # Written out, since what the fused operation is exported as is slower in ONNX Runtime.
    size = query.shape[2] // heads
    q, k, v = (part.view(1, -1, heads, size).transpose(1, 2) for part in (query * size**-0.5, keys, values))
    attended = (q @ k.transpose(2, 3)).softmax(-1) @ v
    return attended.transpose(1, 2).reshape(1, -1, heads * size)


def _write(model: Model, files: SherpaModel) -> None:
    tokens = (f"{token} {index}\n" for index, token in enumerate(model.vocabulary))
    files.tokens.write_text("".join(tokens), "utf-8")
    _export_encoder(model.network, files.encoder("fp32"))
    _export_decoder(model.network, files.decoder("fp32"))
    _describe(model, files.encoder("fp32"))
    _quantise(files.encoder("fp32"), files.encoder("int8"))
    _quantise(files.decoder("fp32"), files.decoder("int8"))


def _export_encoder(network: Paraformer, path: Path) -> None:
    frames = 18
    example = (torch.zeros(1, frames, network.architecture.features), torch.tensor([frames], dtype=torch.int32))
    time = {1: "frames"}
    _export(EncoderGraph(network), example, path, ["speech", "speech_lengths"], ["enc", "enc_len", "alphas"],
            {"speech": time, "enc": time, "alphas": time})


def _export_decoder(network: Paraformer, path: Path) -> None:
    sizes, frames, tokens = network.architecture, 18, 3
    caches = [torch.zeros(1, sizes.size, sizes.history) for _ in range(sizes.decoder_layers)]
    example = (
        torch.zeros(1, frames, sizes.size), torch.tensor([frames], dtype=torch.int32),
        torch.zeros(1, tokens, sizes.size), torch.tensor([tokens], dtype=torch.int32), *caches,
    )
    layers = range(sizes.decoder_layers)
    inputs = ["enc", "enc_len", "acoustic_embeds", "acoustic_embeds_len", *(f"in_cache_{i}" for i in layers)]
    outputs = ["logits", "sample_ids", *(f"out_cache_{i}" for i in layers)]
    said = {1: "tokens"}
    _export(DecoderGraph(network), example, path, inputs, outputs,
            {"enc": {1: "frames"}, "acoustic_embeds": said, "logits": said, "sample_ids": said})


def _export(
    graph: nn.Module, example: tuple[Tensor, ...], path: Path, inputs: list[str], outputs: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        # Traced, as the published files are: the other exporter needs a package more and drops unused inputs.
        torch.onnx.export(graph.eval(), example, str(path), input_names=inputs, output_names=outputs,
                          dynamic_axes=axes, opset_version=_OPSET, dynamo=False)


def _describe(model: Model, path: Path) -> None:
    import onnx

    sizes, frontend = model.network.architecture, model.network.frontend
    graph = onnx.load(str(path))
    onnx.helper.set_model_props(graph, {
        "model_type": "paraformer",
        "vocab_size": str(sizes.vocabulary),
        "lfr_window_size": str(STACKED),
        "lfr_window_shift": str(LFR_SHIFT),
        "encoder_output_size": str(sizes.size),
        "decoder_num_blocks": str(sizes.decoder_layers),
        "decoder_kernel_size": str(sizes.kernel),
        "neg_mean": ",".join(map(str, frontend.shift.tolist())),
        "inv_stddev": ",".join(map(str, frontend.scale.tolist())),
    })
    onnx.save(graph, str(path))


def _quantise(source: Path, target: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(str(source), load_external_data=False).graph
    last = [node.name for node in graph.node if node.name.startswith("/output_layer/")]
    quantize_dynamic(str(source), str(target), op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=False,
                     weight_type=QuantType.QUInt8, nodes_to_exclude=last)
