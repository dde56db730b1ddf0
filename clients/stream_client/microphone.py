"""Audio from the microphone, through the optional package sounddevice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

from stream_client.errors import MicrophoneError
from stream_client.wishes import SAMPLE_RATE

BLOCK_SAMPLES = 960
LONGEST_WAIT_BLOCKS = 10 * SAMPLE_RATE // BLOCK_SAMPLES
"""Ten seconds that the server may lag behind before sound is dropped."""
INSTALL = "install it with `pip install sounddevice` (on Linux also the system's libportaudio2)"


class Microphone:
    """Blocks of sound until `stop` is called. `dropped` counts those that the server was too slow for."""

    def __init__(self, device: str | int | None = None) -> None:
        self._device = device
        self._blocks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self.dropped = 0

    async def blocks(self) -> AsyncIterator[bytes]:
        """What is heard. Raises MicrophoneError where there is no microphone."""
        with self._open():
            while (block := await self._blocks.get()) is not None:
                yield block

    def stop(self) -> None:
        """Hear no more; what was heard before is still given."""
        if not self._stopped:
            self._stopped = True
            self._blocks.put_nowait(None)

    def _open(self) -> ExitStack:
        sounddevice = load_sounddevice()
        # Entering starts the stream, which may fail as well: another program may hold the device.
        started = ExitStack()
        try:
            started.enter_context(sounddevice.RawInputStream(
                samplerate=SAMPLE_RATE, blocksize=BLOCK_SAMPLES, channels=1, dtype="int16",
                device=self._device, callback=self._heard,
            ))  # fmt: skip
            return started
        except (sounddevice.PortAudioError, ValueError) as error:
            raise MicrophoneError(
                f"no microphone can be opened ({error}); connect one, or choose another with --device"
            ) from None

    def _heard(self, data: Any, frames: int, time: Any, status: Any) -> None:
        # Called in PortAudio's thread; its buffer is only valid here.
        self._loop.call_soon_threadsafe(self._take, bytes(data))

    def _take(self, block: bytes) -> None:
        if self._stopped:
            return
        if self._blocks.qsize() >= LONGEST_WAIT_BLOCKS:
            self._blocks.get_nowait()
            self.dropped += 1
        self._blocks.put_nowait(block)


def load_sounddevice() -> Any:
    """The package, or a MicrophoneError that says how to get it."""
    try:
        import sounddevice
    except ImportError:
        raise MicrophoneError(f"the microphone needs the Python package sounddevice; {INSTALL}") from None
    except OSError as error:
        raise MicrophoneError(f"the package sounddevice cannot be used ({error}); {INSTALL}") from None
    return sounddevice
