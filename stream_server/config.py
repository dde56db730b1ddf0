"""Every setting of the server: name, default, unit, and what is allowed.

The command line and the environment (`STREAM_SERVER_…`) are read once, by the supervisor; all other processes are
handed the validated object. `docs/settings.md` lists each setting; a test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

END_SILENCE_MS = (100, 6_000)
PRE_ROLL_MS = (0, 2_000)
MIN_SPEECH_MS = (20, 2_000)
MAX_SEGMENT_MS = (2_000, 60_000)
SAMPLE_RATES = (8_000, 48_000)

VadKind = Literal["webrtc", "fsmn", "silero", "none"]
WindowSpec = Annotated[str, Field(pattern=r"^0,\d{1,2},\d{1,2}(,\d,\d)?$")]
IceServer = Annotated[
    str, Field(pattern=r"^(stun:[^?:\s]+(:\d{1,5})?|turns?:[^?:\s]+(:\d{1,5})?(\?transport=(udp|tcp))?)$")]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SessionDefaults(Frozen):
    """What holds for a session that does not say otherwise. Each may be set per session."""

    vad: VadKind = Field("webrtc", description="voice activity detection; `none` is push-to-talk")
    vad_aggressiveness: int = Field(2, ge=0, le=3, description="webrtcvad's mode: 3 lets least noise through")
    end_silence_ms: int = Field(800, ge=END_SILENCE_MS[0], le=END_SILENCE_MS[1],
                                description="silence that ends a segment")
    min_speech_ms: int = Field(100, ge=MIN_SPEECH_MS[0], le=MIN_SPEECH_MS[1],
                               description="speech shorter than this opens no segment")
    pre_roll_ms: int | None = Field(None, ge=PRE_ROLL_MS[0], le=PRE_ROLL_MS[1],
                                    description="audio before the detected start that belongs to the segment; one "
                                                "hop by default")
    max_segment_ms: int = Field(30_000, ge=MAX_SEGMENT_MS[0], le=MAX_SEGMENT_MS[1],
                                description="a segment is cut at the first pause from 80 % of this, and at this at "
                                            "the latest")


class SessionLimits(Frozen):
    """What a session may take of the server."""

    max_buffered_s: float = Field(10.0, gt=0.5, le=120,
                                  description="audio waiting for recognition; beyond it the door stops reading and "
                                              "TCP pushes back")
    max_message_bytes: int = Field(4 << 20, ge=1 << 16, le=64 << 20,
                                   description="longest message of a client; a longer one closes the connection with "
                                               "1009")
    start_timeout_s: float = Field(30.0, gt=0, description="time for the first message; then the connection is closed")
    idle_timeout_s: float = Field(300.0, gt=0,
                                  description="time without any message or audio; then the session is ended")
    final_deadline_ms: int = Field(5_000, ge=100, le=60_000,
                                   description="how long a final may wait for its second pass; then the first pass's "
                                               "text stands")
    write_timeout_s: float = Field(30.0, gt=0, description="time that a client may refuse to read; then it is closed")
    resume_s: float = Field(30.0, ge=0, le=600,
                            description="how long a session whose connection was lost waits for its client to come "
                                        "back; 0: it ends at once")
    most_parked: int = Field(256, ge=1, le=65536,
                             description="sessions of a door that may wait so; beyond, one is ended: the one that has "
                                         "waited longest, first of those that are over")


class WebRtcSettings(Frozen):
    """How browsers and others connect by WebRTC."""

    offered: Literal["on", "off"] = Field("on", description="whether audio is taken over WebRTC, on UDP ports that the "
                                                            "system chooses")
    ice_servers: tuple[IceServer, ...] = Field((), max_length=8,
                                               description="STUN and TURN servers for both sides: stun:HOST:PORT, "
                                                           "turn:HOST:PORT?transport=udp, turns:HOST:PORT; none is "
                                                           "asked unless set")
    turn_username: str | None = Field(None, max_length=256,
                                      description="user at the TURN servers; everyone who opens the page is told it")
    turn_credential: str | None = Field(None, max_length=256, description="that user's password; told likewise")
    connect_timeout_s: float = Field(20.0, gt=0, le=300,
                                     description="time from an answered offer to an open data channel; then it is "
                                                 "given up")
    most_connecting: int = Field(16, ge=1, le=4096, description="offers of a door answered and not connected yet; more "
                                                                "are refused")


class RoomSettings(Frozen):
    """Meetings: rooms in which several speak and many read."""

    offered: Literal["on", "off"] = Field("on", description="whether rooms can be made and spoken in")
    most: int = Field(200, ge=1, le=100_000, description="rooms at once; when there are so many, those go first that "
                                                         "were ended, then those nobody has spoken in for an hour")
    kept_hours: float = Field(24.0, gt=0, le=87_600, description="how long a room and what was said in it is kept "
                                                                 "after its last word")
    store: Path | None = Field(None, description="the SQLite file in which rooms are kept; without one they are gone "
                                                 "with the server")
    speakers: int = Field(32, ge=1, le=1_000, description="speakers in a room at once")
    viewers: int = Field(1_000, ge=1, le=100_000, description="viewers of a room at each door")
    captions: int = Field(10_000, ge=100, le=1_000_000, description="finals that are kept of a room: the last ones")
    recording_folder: Path | None = Field(None, description="a folder for the sound of rooms that were made with "
                                                            "`record`; without one no sound is kept")
    recording_hours: float = Field(8.0, gt=0, le=24, description="sound that is kept of a speaker's session")


class ServeSettings(Frozen):
    """What `stream-server serve` takes."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(10095, ge=0, le=65535, description="port for WebSockets and HTTP; 0 takes a free one")
    doors: int = Field(1, ge=1, le=64, description="processes that share the port")
    gather_ms: float = Field(20.0, ge=0, le=100,
                             description="longest time for which a door that gets many messages lets them gather; 0: "
                                         "handles each when it comes")
    model: str = Field("demo",
                       description="`demo`, `random`, a directory in FunASR's hub layout, a hub id or short name")
    second_model: str = Field("none",
                              description="offline model that hears each segment again when it has ended: `none`, "
                                          "`demo`, `random`, a directory in FunASR's hub layout, a hub id or short "
                                          "name")
    punctuation_model: str = Field("none",
                                   description="model that puts marks into finals: `none`, `demo`, `random`, a "
                                               "directory in FunASR's hub layout, a hub id or short name")
    itn: bool = Field(False, description="finals have numbers, dates and money as they are written, not as they are "
                                         "said")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="where the engine runs")
    engines: int = Field(0, ge=0, le=64,
                         description="engine processes; 0: one on each CUDA device where `device` names none, else one")
    dtype: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto", description="numbers the engine calculates in; `int8` is for x86 CPUs and faster than `fp32` there")
    threads: int = Field(0, ge=0, le=256,
                         description="steps of an engine at once on a processor, each by one core; 0: as many as cores")
    vad_model: tuple[str, ...] = Field(
        (), max_length=2, description="networks that sessions may choose for voice activity detection, besides "
                                      "webrtcvad: FSMN-VAD as a directory in FunASR's hub layout, a hub id or "
                                      "`fsmn-vad`; `silero`, whose package brings its model along")
    slots: int = Field(0, ge=0, le=65536,
                       description="streams recognised at once; 0: as many as the device's memory holds")
    sessions: int = Field(0, ge=0, le=65536,
                          description="sessions admitted at once by an engine; 0: one a slot, and where slots are not "
                                      "set either at most as many as the engine carries while all of them speak")
    windows: tuple[WindowSpec, ...] = Field(("0,10,5", "0,8,4", "0,4,4"), min_length=1, max_length=8,
                                            description="windows served, the default first: l,c,r in frames of 60 "
                                                        "ms, optionally the two look-backs")
    hotwords: Path | None = Field(None, description="a file of hotwords that hold for every session: a line for each "
                                                   "word, its weight behind it or none")
    certfile: Path | None = Field(None, description="TLS certificate (PEM); with it the port speaks wss and https")
    keyfile: Path | None = Field(None, description="key of the certificate (PEM)")
    tls: Literal["off", "auto"] = Field("off", description="`auto` makes a self-signed certificate of its own")
    drain_s: float = Field(20.0, ge=0, le=3600, description="time that sessions get to end after SIGTERM")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info",
                                                                    description="least severe message that is logged")
    session: SessionDefaults = SessionDefaults()
    limits: SessionLimits = SessionLimits()
    webrtc: WebRtcSettings = WebRtcSettings()
    rooms: RoomSettings = RoomSettings()

    @model_validator(mode="after")
    def _consistent(self) -> ServeSettings:
        if (self.certfile is None) != (self.keyfile is None):
            raise ValueError("certfile and keyfile go together: give both or neither")
        if self.certfile is not None and self.tls == "auto":
            raise ValueError("tls auto makes its own certificate: leave certfile and keyfile out, or tls off")
        if any(url.startswith("turn") for url in self.webrtc.ice_servers) and \
                None in (self.webrtc.turn_username, self.webrtc.turn_credential):
            raise ValueError("a TURN server needs webrtc-turn-username and webrtc-turn-credential")
        return self
