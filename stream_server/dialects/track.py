"""The server's own dialect where the audio is a track of its own beside the messages."""

from __future__ import annotations

import msgspec

from stream_server.audio.opus import OPUS_RATE
from stream_server.dialects.native import NativeDialect
from stream_server.errors import ClientError
from stream_server.session.messages import Command, Resume, Start


class TrackDialect(NativeDialect):
    """A track runs whether or not a session is open, and says itself how its sound is written."""

    tracks = True

    def receive_bytes(self, data: bytes) -> tuple[list[Command], bytes]:
        """The track's samples; those before `start` and after `stop` are nobody's mistake."""
        try:
            return super().receive_bytes(data)
        except ClientError:
            return [], b""

    def _start(self, fields: dict[str, object]) -> Start:
        _refuse_format(fields)
        return msgspec.structs.replace(super()._start(fields), encoding="pcm_s16le", sample_rate=OPUS_RATE)

    def _resume(self, fields: dict[str, object]) -> Resume:
        _refuse_format(fields)
        return msgspec.structs.replace(super()._resume(fields), encoding="pcm_s16le", sample_rate=OPUS_RATE)


def _refuse_format(fields: dict[str, object]) -> None:
    for field in ("encoding", "sample_rate"):
        if field in fields:
            raise ClientError("bad_field", f"{field} is the track's here", field=field, value=fields[field],
                              allowed="leave it out")
