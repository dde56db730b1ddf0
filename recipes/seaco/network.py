"""The network that is trained: the server's own, and where its weights come from at the start."""

from pathlib import Path

import torch
from torch import Tensor, nn

from recipes.demo.batches import tokens
from recipes.demo.features import read_normalisation
from recipes.demo.model import TAIL, Size
from stream_server.models.architecture import Architecture
from stream_server.models.offline import OfflineParaformer
from stream_server.models.offline_architecture import BiasSizes, OfflineArchitecture, OnsetSizes

STREAMING = Path(__file__).parents[2] / "stream_server" / "data" / "demo"
NO_BIAS = len(tokens()) - 1  # <unk>: no text has it


def architecture() -> OfflineArchitecture:
    """As wide and deep as the streaming model, whose weights it begins with."""
    size = Size(vocabulary=len(tokens()))
    base = Architecture(
        size=size.size, encoder_heads=size.heads, encoder_hidden=size.units, encoder_layers=size.encoder_layers,
        decoder_heads=size.heads, decoder_hidden=size.units, decoder_layers=size.decoder_layers, kernel=size.kernel,
        vocabulary=size.vocabulary, tail_threshold=TAIL,
    )  # fmt: skip
    # Onsets are sharp here, a step or two wide, as espeak-ng's are: nothing to smooth.
    onsets = OnsetSizes(smooth_factor=1.0, noise_threshold=0.0)
    return OfflineArchitecture(base, onsets, BiasSizes(heads=4, hidden=320, layers=6, kernel=11, no_bias=NO_BIAS))


def fresh_network(streaming: Path = STREAMING) -> OfflineParaformer:
    """Seeded by torch's generator, but for what the streaming model in the hub directory `streaming` already knows."""
    network = OfflineParaformer(architecture(), *read_normalisation(streaming / "am.mvn"))
    with torch.no_grad():
        nn.init.normal_(network.decoder.embed[0].weight)
        # About one onset in ten steps, where the truth is.
        network.predictor.cif_output2.bias.fill_(-2.3)
        known = torch.load(streaming / "model.pt", weights_only=True)
        for name, parameter in network.named_parameters():
            if name in known and name != "decoder.embed.0.weight":
                looks_back = name.startswith("decoder.decoders.") and "fsmn_block" in name
                value = known[name].float()
                parameter.copy_(centred(value) if looks_back else value)
    return network


def centred(kernel: Tensor) -> Tensor:
    """A memory block [channels, 1, taps] that looks to both sides, from one whose last tap is the token itself.

    It keeps the nearer half of what it looked back to, and begins to look forward from nothing.
    """
    back = kernel.shape[-1] // 2
    return nn.functional.pad(kernel[..., back:], (0, back))
