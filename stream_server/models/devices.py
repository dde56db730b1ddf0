"""Where the model runs, and in which numbers, where the operator leaves it open."""

from __future__ import annotations

import torch

from stream_server.errors import SettingsError
from stream_server.models.quantised import check_int8

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}
"""int8 stands for the matrices alone: see `quantised`."""


def choose_device(wish: str) -> str:
    """`auto` is the first CUDA device, else the CPU. Raises SettingsError for a CUDA device that is not there."""
    count = torch.cuda.device_count()
    if wish == "auto":
        return "cuda:0" if count else "cpu"
    if wish.startswith("cuda") and int(wish.partition(":")[2] or 0) >= count:
        raise SettingsError(f"device is {wish}; CUDA devices here: {count}; allowed are auto, cpu and those there are")
    return wish


def choose_dtype(wish: str, device: str) -> torch.dtype:
    """`auto` is fp16 on CUDA, bf16 on a CPU that multiplies it, else fp32.

    On CUDA both are as fast; fp16 keeps ten bits to bf16's seven and changes a tenth of the tokens. Its narrow range is
    enough, since sums along the layers are fp32; a row that does overflow is reported, not spoken. int8 is not chosen:
    faster than fp32 on a CPU, it changes more text (docs/narrow-numbers.md). Raises SettingsError where int8 is wished
    for and cannot be.
    """
    if wish == "int8":
        check_int8(device)
    if wish != "auto":
        return DTYPES[wish]
    if device.startswith("cuda"):
        return torch.float16
    return torch.bfloat16 if _cpu_has_bf16() else torch.float32


def settle_cuda() -> None:
    """Of what PyTorch leaves open on CUDA, what this code needs: for the whole process, before anything is computed.

    cuDNN's convolutions and LSTMs would round what is fp32 to TF32's ten bits, and long sums in 16 bits would be put
    together in 16 bits. Its attention, which PyTorch prefers on the newest devices, makes a plan for every new shape:
    of segments each is new.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.enable_cudnn_sdp(False)


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("sve_bf16"))
