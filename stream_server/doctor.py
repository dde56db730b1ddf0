"""Tells whether the server could run here, and what is missing."""

from __future__ import annotations

import importlib.metadata
import platform

from stream_server import __version__, tls
from stream_server.app import make_runner, make_second
from stream_server.config import ServeSettings
from stream_server.errors import StreamServerError
from stream_server.supervisor import listen, with_detectors

PACKAGES = ("torch", "torchaudio", "funasr", "numpy", "webrtcvad-wheels", "websockets", "uvicorn", "starlette",
            "pyzmq", "msgspec", "pydantic", "soxr", "aiortc", "av", "prometheus-client", "cryptography")


def examine(settings: ServeSettings) -> int:
    """Prints what serving with `settings` would find; 0 where it would work, else 1."""
    checks = (_packages, _processor, _certificate, _port, _model, _detectors)
    fine = True
    print(f"{'stream-server':<14}{__version__}\n{'python':<14}{platform.python_version()} on {platform.platform()}")
    for check in checks:
        try:
            check(settings)
        except (StreamServerError, ImportError, OSError) as error:
            fine = False
            print(f"{'MISSING':<14}{error}")
    print("Serving would work." if fine else "Serving would fail; see above.")
    return 0 if fine else 1


def _packages(_: ServeSettings) -> None:
    absent = []
    for package in PACKAGES:
        try:
            print(f"{package:<18}{importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            absent.append(package)
    if absent:
        raise ImportError(f"packages {', '.join(absent)}: install with ./run_stream.sh or pip install -e .")


def _processor(settings: ServeSettings) -> None:
    import torch

    from stream_server.models.devices import choose_device, choose_dtype
    from stream_server.models.native.library import way

    for number in range(torch.cuda.device_count()):
        print(f"{'cuda:' + str(number):<14}{torch.cuda.get_device_name(number)}")
    device = choose_device(settings.device)
    dtype = str(choose_dtype(settings.dtype, device)).removeprefix("torch.")
    print(f"{'device':<14}{device}, {dtype}" + ("" if torch.cuda.device_count() else "; no CUDA device here"))
    if device == "cpu":
        try:
            print(f"{'int8':<14}can be had, by {way()}")
        except OSError as error:
            print(f"{'int8':<14}cannot be had: {error}")


def _certificate(settings: ServeSettings) -> None:
    if settings.certfile is not None:
        tls.check_certificate(settings.certfile, settings.keyfile)
        print(f"{'tls':<14}{settings.certfile}")
    elif settings.tls == "auto":
        print(f"{'tls':<14}self-signed, in {tls.state_directory()}")


def _port(settings: ServeSettings) -> None:
    listen(settings.host, settings.port).close()
    print(f"{'port':<14}{settings.host} {settings.port} is free")


def _model(settings: ServeSettings) -> None:
    runner, info = make_runner(settings)
    windows = ", ".join(str(list(window.triple)) for window in info.windows)
    print(f"{'model':<14}{info.model} ({info.model_kind}), windows {windows}, {runner.slots} streams at once")
    if make_second(settings) is not None:
        print(f"{'second model':<14}{info.second_model}")


def _detectors(settings: ServeSettings) -> None:
    from stream_server.speech.detectors import load
    from stream_server.speech.silero import found

    models = with_detectors(settings).vad_model
    print(f"{'vad':<14}{', '.join(load(models).kinds)}; by default {settings.session.vad}")
    for model in models:
        print(f"{'vad model':<14}{model}")
    if not settings.vad_model:
        print(f"{'vad model':<14}none is set, so no fsmn or silero; silero {found()}")
