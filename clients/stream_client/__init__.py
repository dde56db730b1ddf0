"""Client of the streaming speech recognition server.

    async for event in transcribe_file("speech.wav", url="ws://127.0.0.1:10095"):
        print(event)

or, with audio of your own (16 kHz, mono, 16 bit):

    async with connect("ws://127.0.0.1:10095") as stream:
        async for event in stream.transcribe(blocks):
            print(event)
"""

from stream_client.connection import DEFAULT_URL, Stream, connect
from stream_client.errors import ConnectionFailed, MediaError, MicrophoneError, ServerError, StreamClientError
from stream_client.events import Ended, Event, Final, Flushed, Hotwords, Partial, Problem, Ready, Speech
from stream_client.transcription import transcribe, transcribe_file
from stream_client.wishes import Wishes

__all__ = [
    "DEFAULT_URL",
    "ConnectionFailed",
    "Ended",
    "Event",
    "Final",
    "Flushed",
    "Hotwords",
    "MediaError",
    "MicrophoneError",
    "Partial",
    "Problem",
    "Ready",
    "ServerError",
    "Speech",
    "Stream",
    "StreamClientError",
    "Wishes",
    "connect",
    "transcribe",
    "transcribe_file",
]
