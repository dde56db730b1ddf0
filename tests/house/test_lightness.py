"""What is not loaded: a door must start in a moment and stay small, whatever the engine needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchaudio", "funasr", "aiortc", "av", "ray", "transformers", "modelscope", "scipy")


def loaded_after(statements: str) -> set[str]:
    """Top-level modules in a fresh interpreter after these statements."""
    script = f"import sys\n{statements}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(ended.stdout.split())


@pytest.mark.parametrize("statements", [
    "import stream_server",
    "import stream_server.cli, stream_server.supervisor",
    "import stream_server.app, stream_server.metrics, stream_server.doors.http, stream_server.doors.reception, "
    "stream_server.doors.whip, stream_server.doors.webrtc, stream_server.audio.opus, stream_server.audio.rtp, "
    "stream_server.doors.websocket, stream_server.engine.client, stream_server.dialects.funasr",
    "import stream_server.speech.fsmn.detector, stream_server.speech.fsmn.segmenter",
], ids=["package", "supervisor", "door", "detector"])
def test_no_heavy_package_is_loaded(statements: str) -> None:
    assert loaded_after(statements).isdisjoint(HEAVY)


def test_the_supervisor_has_no_numbers_of_its_own() -> None:
    assert "prometheus_client" not in loaded_after("import stream_server.cli, stream_server.supervisor")


def test_the_heavy_package_would_be_seen() -> None:
    assert "torch" in loaded_after("import stream_server.models.checkpoint")


def test_an_engine_starts_without_pytorchs_compiler() -> None:
    """It takes two seconds to import, and is what PyTorch computes with on the meta device. It needs sympy."""
    loaded = loaded_after("""
import stream_server.app as app
from stream_server.config import ServeSettings
settings = ServeSettings(second_model="demo", punctuation_model="demo")
assert app.make_second(settings) and app.make_scribe(settings)
app.make_runner(settings)[0].warm_up()
""")
    assert "torch" in loaded and "sympy" not in loaded
