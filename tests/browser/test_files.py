"""Files on the captions page, in Chromium: chosen or dropped, read piece by piece or decoded, stopped, refused."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from tests.browser.conftest import SAMPLES, Browse
from tests.browser.test_page import by_socket, page_texts, saved, sessions, wait_for_state
from tests.support.server import Server

WAITING = """() => {
  window.most = 0;
  window.sent = 0;
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    send.call(this, data);
    window.most = Math.max(window.most, this.bufferedAmount);
    window.sent += data.byteLength ?? 0;
  };
}"""
DROP = """([name, content, count]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(content), each => each.charCodeAt(0));
  for (let number = 0; number < count; number += 1) transfer.items.add(new File([bytes], name));
  for (const kind of ["dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
    (window.hints ??= []).push(!document.getElementById("drop").hidden);
  }
}"""
READ = """async content => {
  const {open} = await import("/static/sound-file.js");
  const bytes = Uint8Array.from(atob(content), each => each.charCodeAt(0));
  const sound = await open(new File([bytes], "sound.wav"));
  const blocks = [];
  for await (const block of sound.blocks()) blocks.push([...block]);
  return {seconds: sound.seconds, rate: sound.rate, blocks};
}"""


@pytest.fixture(scope="module")
def opened(server: Server, browse: Browse) -> Iterator[object]:
    with browse(server.http) as page:
        yield page


@pytest.fixture
def page(opened) -> object:
    opened.reload()
    return opened


@pytest.fixture(scope="module")
def expected(server: Server) -> str:
    return by_socket(server, "command")


def spoken(name: str) -> tuple[np.ndarray, int]:
    return soundfile.read(SAMPLES / f"{name}.wav", dtype="int16")


def written(samples: np.ndarray, rate: int, kind: str, detail: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples / 32768 if detail == "FLOAT" else samples, rate, format=kind, subtype=detail)
    return file.getvalue()


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_file_that_is_chosen_is_transcribed_with_captions_and_exports(page, expected: str) -> None:
    with page.expect_file_chooser() as chooser:
        page.focus("#choose")
        page.keyboard.press("Enter")
    chooser.value.set_files(SAMPLES / "command.wav")
    wait_for_state(page, "Stopped")
    assert page_texts(page) == [expected]
    assert not page.is_visible("#file-panel") and not page.is_visible("#trouble")
    assert page.evaluate("document.getElementById('file-bar').value") == 1, "all of it is recognised at the end"
    assert saved(page, "txt") == expected + "\n"


def test_a_file_that_is_dropped_is_decoded_by_the_browser(page, expected: str) -> None:
    samples, rate = spoken("command")
    page.evaluate(DROP, ["two channels.flac", text(written(np.stack([samples, samples], 1), rate, "FLAC")), 2])
    assert page.evaluate("window.hints") == [True, False]
    assert "this is two channels.flac" in page.inner_text("#note"), "the other one was not taken"
    wait_for_state(page, "Stopped")
    assert page_texts(page) == [expected]


def test_while_a_file_is_on_its_way_nothing_else_begins_and_little_waits(page, tmp_path: Path) -> None:
    samples, rate = spoken("long")
    whole = np.tile(np.concatenate([samples, np.zeros(rate, np.int16)]), 1 + 900 * rate // len(samples))
    soundfile.write(tmp_path / "hours.wav", whole, rate)
    page.evaluate(WAITING)
    page.set_input_files("#file", tmp_path / "hours.wav")
    page.locator("#segments li.final").first.wait_for()
    assert page.is_disabled("#speak") and page.is_disabled("#sample") and page.is_disabled("#choose")
    assert page.inner_text("#state-text") == "Transcribing a file"
    assert 0 < page.evaluate("document.getElementById('file-bar').value") < 1
    assert re.fullmatch(r"\d+:\d\d of 15:\d\d", page.inner_text("#file-done"))
    page.evaluate(DROP, ["another.wav", text(b"RIFF"), 1])
    assert "already" in page.inner_text("#note")
    page.click("#cancel")
    wait_for_state(page, "Stopped")
    most, sent = page.evaluate("[window.most, window.sent]")
    assert most < 300_000 and rate < sent < 2 * len(whole), "it was pushed back, and stopped"
    assert page_texts(page) and page.is_enabled("#speak") and not page.is_visible("#trouble")


def test_what_is_no_sound_is_told_with_what_to_do(page, tmp_path: Path) -> None:
    large = tmp_path / "large.mp3"
    with large.open("wb") as file:
        file.truncate(201 << 20)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "letter.txt").write_text("no sound")
    (tmp_path / "head.wav").write_bytes(written(np.zeros(0, np.int16), 16_000, "WAV")[:30])
    for name, said in (("large.mp3", "too large"), ("empty.wav", "is empty"), ("letter.txt", "No sound could be read"),
                       ("head.wav", "No sound could be read")):
        page.set_input_files("#file", tmp_path / name)
        page.locator("#trouble").filter(has_text=said).wait_for()
        assert name in page.inner_text("#trouble") and page.is_enabled("#choose")
    page.click("#language")
    assert "无法从 head.wav 读出声音" in page.inner_text("#trouble")
    page.click("#language")


def test_what_would_take_too_much_memory_is_not_decoded(page, tmp_path: Path) -> None:
    path = tmp_path / "long.ogg"
    with av.open(path, "w") as file:
        stream = file.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48_000
        for number in (0, 1, 3601 * 50):
            frame.pts = number * 960
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    page.evaluate("() => { OfflineAudioContext.prototype.decodeAudioData = () => { throw new Error('decoded'); }; }")
    page.set_input_files("#file", path)
    page.locator("#trouble").filter(has_text="too long").wait_for()


def test_a_full_server_is_told_for_a_file_too(page, server: Server) -> None:
    with sessions(server, 64):
        page.set_input_files("#file", SAMPLES / "command.wav")
        page.locator("#trouble").filter(has_text="The server is full. Wait").wait_for()
        assert "choose the file again" in page.inner_text("#trouble")


@pytest.mark.parametrize(("kind", "detail", "channels"), [
    ("WAV", "PCM_16", 1), ("WAV", "PCM_16", 2), ("WAV", "PCM_24", 2), ("WAV", "PCM_32", 1), ("WAV", "FLOAT", 3),
    ("WAVEX", "PCM_16", 4), ("WAVEX", "FLOAT", 1),
])
def test_wav_is_read_piece_by_piece_as_it_is_written(page, kind: str, detail: str, channels: int) -> None:
    rate = 22_050
    samples = np.random.default_rng(1).integers(-30_000, 30_000, (2 * rate + 77, channels)).astype(np.int16)
    found = page.evaluate(READ, text(written(samples, rate, kind, detail)))
    assert found["rate"] == rate and found["seconds"] == pytest.approx(len(samples) / rate)
    assert [len(block) for block in found["blocks"]] == [rate, rate, 77]
    read = np.concatenate(found["blocks"])
    assert np.abs(read - samples.mean(1)).max() <= 1


def test_wav_of_a_recorder_that_left_no_length_is_read_to_its_end(page) -> None:
    content = bytearray(written(np.arange(1000, dtype=np.int16), 16_000, "WAV"))
    content[40:44] = bytes(4)
    assert np.concatenate(page.evaluate(READ, text(bytes(content)))["blocks"]).tolist() == list(range(1000))
