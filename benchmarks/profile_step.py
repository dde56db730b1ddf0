"""Where a step's time goes: PyTorch's profiler over steps of one chunk and of sixteen, operators put into groups.

A group's time is that of its operators themselves on the device: without what they call, without gaps. What remains of
the step outside of all operators is Python, and calls that prepare a product. The last line is one flat JSON object.
"""

from __future__ import annotations

import os

# Threads that spin while they wait are slow where others share the cores. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from stream_server.bench.report import json_line, table
from stream_server.bench.speech import SAMPLES, Speech
from stream_server.bench.steps import Measured, Streams
from stream_server.bench.subject import make_subject
from stream_server.config import ServeSettings
from stream_server.models.devices import DTYPES
from stream_server.models.native.library import kernels

GROUPS = {
    "compiled layers": ("stream_",),
    "attention": ("attention", "flash", "fmha", "softmax"),
    "memory blocks": ("conv", "nchw", "nhwc"),
    "matrix products": ("addmm", "mm", "bmm", "baddbmm", "linear", "matmul", "gemm", "gemv", "splitk", "nvjet",
                        "cutlass", "cublas", "wgmma"),
    "norms": ("layer_norm", "layernorm"),
    "cache rows in and out": ("index", "gather", "scatter"),
    "copies and casts": ("copy", "cat", "clone", "pad", "fill", "zero", "memcpy", "memset"),
    "filter banks": ("fft", "unfold"),
    "sums, relu and the like": (),
}
"""The first group of which a part occurs in the operator's name; the last takes what remains."""

WARM_UP = 2


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    settings = ServeSettings(model=options.model, device=options.device, dtype=options.dtype, threads=options.threads,
                             slots=max(options.batches), windows=("0,10,5",))
    subject, speech = make_subject(settings), Speech(options.audio)
    if subject.info.dtype == "int8":
        _record_kernels()
    summary: dict[str, object] = {"model": options.model, "device": subject.info.device, "dtype": subject.info.dtype}
    for batch in options.batches:
        step_ms, groups = _profile(subject, speech, batch, options.steps)
        rows = [{"group": name, "ms a step": milliseconds, "share": f"{milliseconds / step_ms:.1%}"}
                for name, milliseconds in groups]
        print(f"\na step of {batch}: {step_ms:.1f} ms\n{table(rows)}", flush=True)
        summary[f"batch_{batch}_ms"] = step_ms
        summary |= {f"batch_{batch}_{name.replace(' ', '_').replace(',', '')}_ms": ms for name, ms in groups}
    print(json_line(summary))
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks profile_step", description=__doc__)
    parser.add_argument("--model", default="random")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=("auto", *DTYPES))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--audio", type=Path, default=SAMPLES)
    return parser.parse_args(argv)


def _record_kernels() -> None:
    """Lets the profiler see the calls of the compiled layers, which are none of PyTorch's operators."""
    library = kernels()
    for name in ("stream_encoder_layer", "stream_decoder_layer", "stream_decoder_feed_forward", "stream_linear"):
        setattr(library, name, _recorded(name, getattr(library, name)))


def _recorded(name: str, call: Callable[..., None]) -> Callable[..., None]:
    def recorded(*arguments: object) -> None:
        with record_function(name):
            call(*arguments)

    return recorded


def _profile(subject, speech: Speech, batch: int, steps: int) -> tuple[float, list[tuple[str, float]]]:
    """Milliseconds of a step, and of each group in it, the longest first."""
    cuda = subject.info.device.startswith("cuda")
    streams = Streams(subject.runner, speech, batch)
    for _ in range(WARM_UP):
        streams.step(batch, Measured({}))
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if cuda else [])
    with profile(activities=activities, acc_events=True) as profiler:
        seconds = [streams.step(batch, Measured({})) for _ in range(steps)]
    step_ms = 1000 * sum(seconds) / steps
    groups: Counter[str] = Counter()
    for event in profiler.key_averages():
        # On CUDA operators have the time of their kernels once more, which are events of their own; what a graph
        # launches has kernels alone.
        if cuda and (event.device_type != DeviceType.CUDA or event.is_user_annotation):
            continue
        microseconds = event.self_device_time_total if cuda else event.self_cpu_time_total
        if microseconds and not event.key.startswith("ProfilerStep"):
            groups[_group(event.key)] += microseconds / 1000 / steps
    outside = step_ms - sum(groups.values())
    return step_ms, [*groups.most_common(), ("outside of operators", outside)]


def _group(name: str) -> str:
    lowered = name.lower()
    return next((group for group, parts in GROUPS.items() if not parts or any(part in lowered for part in parts)))
