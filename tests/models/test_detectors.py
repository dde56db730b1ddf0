"""Where the networks of voice activity detection are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stream_server.config import ServeSettings
from stream_server.errors import ModelError, SettingsError
from stream_server.models import detectors, hub
from stream_server.models.detectors import locate
from stream_server.supervisor import with_detectors
from tests.support.detectors import write_loudness


def test_directories_are_named_in_full_and_silero_stays_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "vad").mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate(["vad", "silero"]) == (str(tmp_path / "vad"), "silero") and locate([]) == ()


@pytest.mark.parametrize(("models", "message"), [
    (["no/such/place"], "vad-model no/such/place: no such directory; needed one, a hub id"),
    (["silero", "silero"], "two of one kind"),
])
def test_what_is_no_model_is_told(models: list[str], message: str):
    with pytest.raises(ModelError, match=message):
        locate(models)


def test_a_hub_out_of_reach_says_how_to_do_without(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    def unreachable(hub_id: str) -> Path:
        raise OSError("no route to the hub")

    monkeypatch.setattr(hub, "_fetched_before", lambda hub_id: None)
    monkeypatch.setattr(hub, "_fetch", unreachable)
    monkeypatch.setattr(sys, "argv", ["detectors", detectors.HUB_IDS["fsmn-vad"]])
    assert detectors.main() == 1
    said = capsys.readouterr().err
    assert "no route to the hub" in said and "put config.yaml, model.pt and am.mvn of https" in said


def test_what_the_hub_has_is_fetched_by_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        asked.append(command[1:])
        return subprocess.CompletedProcess(command, 0, stdout=f"Downloading\n{tmp_path}\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert locate(["fsmn-vad"]) == (str(tmp_path),)
    assert asked == [["-m", "stream_server.models.detectors", "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"]]


def test_the_default_has_to_be_among_those_that_are_there(tmp_path: Path):
    model = write_loudness(tmp_path / "fsmn")
    settings = ServeSettings.model_validate({"vad_model": [str(model)], "session": {"vad": "fsmn"}})
    assert with_detectors(settings).vad_model == (str(model),)
    with pytest.raises(SettingsError, match="session-vad is silero; allowed: webrtc, fsmn, none"):
        with_detectors(settings.model_copy(update={"session": settings.session.model_copy(update={"vad": "silero"})}))


def test_a_directory_without_a_model_is_refused_at_the_start(tmp_path: Path):
    with pytest.raises(ModelError, match="no FSMN-VAD model; needed config.yaml, am.mvn, model.pt or vad.yaml"):
        with_detectors(ServeSettings(vad_model=(str(tmp_path),)))
