"""FSMN-VAD from a directory of FunASR's hubs: configuration, normalisation, weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from stream_server.audio.cmvn import read_cmvn
from stream_server.errors import ModelError, SettingsError
from stream_server.speech.fsmn.frontend import FEATURES, STACKED, Frontend
from stream_server.speech.fsmn.network import Network, Sizes
from stream_server.speech.fsmn.segmenter import FRAME_MS, SegmenterOptions
from stream_server.speech.fsmn.tensors import read_tensors
from stream_server.units import SAMPLE_RATE

LAYOUTS = (("config.yaml", "am.mvn", "model.pt"), ("vad.yaml", "vad.mvn", "vad.pb"))
"""Names of the three files, as FunASR 1 and as its predecessor publish them."""

_FRONTEND = {"fs": SAMPLE_RATE, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "dither": 0,
             "lfr_m": STACKED, "lfr_n": 1}
_ENCODER = {"input_dim": FEATURES, "rorder": 0, "lstride": 1}
_DECISION = {"sample_rate": SAMPLE_RATE, "frame_in_ms": FRAME_MS, "frame_length_ms": 25, "detect_mode": 1,
             "snr_mode": 0, "do_extend": True, "do_start_point_detection": True, "do_end_point_detection": True,
             "snr_thres": -100, "decibel_thres": -100, "speech_2_noise_ratio": 1}
"""What the code here takes for granted; a configuration that says otherwise is refused, not misread."""

_SIZES = {"input": "input_dim", "input_affine": "input_affine_dim", "blocks": "fsmn_layers", "linear": "linear_dim",
          "projection": "proj_dim", "memory": "lorder", "output_affine": "output_affine_dim", "output": "output_dim"}
_LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Model:
    """All that streams share. `silence` are the outputs of `network` that together mean silence."""

    frontend: Frontend
    network: Network
    silence: tuple[int, ...]
    options: SegmenterOptions


def load(directory: Path) -> Model:
    """The model in `directory`, in either of `LAYOUTS`. Raises ModelError: which file, what it is, what is needed."""
    for layout in LAYOUTS:
        if all((directory / name).is_file() for name in layout):
            config, cmvn, weights = (directory / name for name in layout)
            break
    else:
        needed = " or ".join(", ".join(layout) for layout in LAYOUTS)
        raise ModelError(f"{directory}: no FSMN-VAD model; needed {needed}")
    settings = _read_config(config)
    sizes = _sizes(settings, config)
    decision = _section(settings, config, "model_conf", "vad_post_conf")
    _expect(_section(settings, config, "frontend_conf"), _FRONTEND, f"{config}: frontend_conf")
    _expect(decision, _DECISION, f"{config}: model_conf")
    network = Network(sizes, read_tensors(weights), str(weights))
    return Model(Frontend(*read_cmvn(cmvn, FEATURES)), network, _silence(decision, sizes, config),
                 _options(decision, config))


def _sizes(settings: Mapping, config: Path) -> Sizes:
    section = _section(settings, config, "encoder_conf")
    _expect(section, _ENCODER, f"{config}: encoder_conf")
    sizes = {}
    for name, theirs in _SIZES.items():
        size = section.get(theirs)
        if type(size) is not int or not 1 <= size <= _LARGEST:
            raise ModelError(f"{config}: encoder_conf.{theirs} is {size!r}; needed 1 to {_LARGEST}")
        sizes[name] = size
    return Sizes(**sizes)


def _silence(decision: Mapping, sizes: Sizes, config: Path) -> tuple[int, ...]:
    ids = decision.get("sil_pdf_ids", [0])
    if not isinstance(ids, list) or not ids or len(set(map(repr, ids))) != len(ids) or not all(
        type(id) is int and 0 <= id < sizes.output for id in ids
    ):
        raise ModelError(f"{config}: model_conf.sil_pdf_ids is {ids!r}; needed a list of 0 to {sizes.output - 1}")
    return tuple(ids)


def _options(decision: Mapping, config: Path) -> SegmenterOptions:
    names = [field.name for field in fields(SegmenterOptions)]
    try:
        return SegmenterOptions(**{name: decision[name] for name in names if name in decision})
    except SettingsError as error:
        raise ModelError(f"{config}: model_conf: {error}") from error


def _expect(section: Mapping, wanted: Mapping[str, object], where: str) -> None:
    for name, value in wanted.items():
        if section.get(name, value) != value:
            raise ModelError(f"{where}.{name} is {section[name]!r}; needed {value!r}")


def _section(settings: Mapping, config: Path, *names: str) -> Mapping:
    for name in names:
        if isinstance(settings.get(name), Mapping):
            return settings[name]
    raise ModelError(f"{config}: no section {' or '.join(names)}; needed FSMN-VAD's configuration")


def _read_config(path: Path) -> Mapping:
    import yaml

    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path}: no YAML ({reason}); needed FSMN-VAD's configuration") from error
    if not isinstance(config, Mapping):
        raise ModelError(f"{path}: holds a {type(config).__name__}; needed FSMN-VAD's configuration")
    return config
