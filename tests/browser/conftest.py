"""Real Chromium, headless, with a recording as its microphone. Without it these tests are skipped, and say so."""

from __future__ import annotations

import shutil
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soxr

SAMPLES = Path(__file__).parents[2] / "samples"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MICROPHONE_RATE = 48_000
PATIENCE_MS = 40_000

FAKE_DEVICE = ("--use-fake-device-for-media-stream",)
ALLOWED = ("--use-fake-ui-for-media-stream",)
NO_UDP = ("--webrtc-ip-handling-policy=disable_non_proxied_udp",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="there is no Chromium: on Debian, apt install chromium"))


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The flag that makes the sample, with a pause around it, what the microphone hears again and again."""
    return hearing("command", tmp_path_factory.mktemp("microphone"))


@pytest.fixture(scope="session")
def other_microphone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with another sample."""
    return hearing("date", tmp_path_factory.mktemp("microphone"))


def hearing(sample: str, folder: Path) -> str:
    with wave.open(str(SAMPLES / f"{sample}.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32)
    sound = soxr.resample(samples, 16_000, MICROPHONE_RATE).clip(-32768, 32767).astype(np.int16)
    path = folder / "microphone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, MICROPHONE_RATE, 0, "NONE", ""))
        pause = np.zeros(MICROPHONE_RATE, np.int16)
        file.writeframes(np.concatenate([pause, sound, pause]).tobytes())
    return f"--use-file-for-fake-audio-capture={path}"


Browse = Callable[..., "contextmanager"]


@pytest.fixture(scope="module")
def browse() -> Iterator[Browse]:
    """Opens a page in a browser with flags; at its end nothing may have gone wrong unseen but what is `expected`.

    Not for longer than a module: Playwright's loop runs in this thread, where asynchronous tests need their own.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:

        @contextmanager
        def browse(url: str, *flags: str, expected: str = "", **options: object) -> Iterator[object]:
            with playwright.chromium.launch(executable_path=CHROMIUM, args=list(flags)) as browser:
                page = browser.new_page(**{"locale": "en", "viewport": {"width": 1100, "height": 700}, **options})
                page.set_default_timeout(PATIENCE_MS)
                said: list[str] = []
                page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
                page.on("pageerror", lambda error: said.append(f"error: {error}"))
                page.goto(url)
                yield page
                # A violation of the Content-Security-Policy would be told here as well.
                wrong = [line for line in said if line.startswith(("error", "warning"))]
                assert [line for line in wrong if not expected or expected not in line] == []

        yield browse
