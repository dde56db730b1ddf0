"""The WebRTC door: offers answered, connections joined to sessions, what never connects let go.

aiortc does ICE, DTLS, SRTP and SCTP. Its own buffer for audio is not used: it holds 4 packets back always and 16 after
the first loss, for ever, and it decodes in a thread for each track. Packets are taken before it and ordered by time
here (`audio/rtp.py`), which costs no delay while none is missing.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import secrets
from collections.abc import Awaitable, Callable

from stream_server.audio.jitter import Packet
from stream_server.audio.opus import OPUS_RATE, OpusDecoder
from stream_server.audio.rtp import RtpSound
from stream_server.config import SessionLimits, WebRtcSettings
from stream_server.doors.channel import ChannelLink
from stream_server.doors.link import Link
from stream_server.doors.observer import Observer
from stream_server.errors import ClientError, Overloaded

log = logging.getLogger(__name__)

TICK_S = 0.2
"""How often it is looked whether silence has to be put in, and whether a packet that is missing is waited for still."""

MOST_PACKETS = 200
"""Packets of a tick that are decoded: twenty times as many as sound at its pace has. More are let fall."""

CLOSE_TIMEOUT_S = 5.0

MOST_CANDIDATES = 32
"""Addresses of one offer to which the server sends checks: a machine with several networks has a dozen."""


class WebRtc:
    """All WebRTC connections of a door."""

    def __init__(self, serve: Callable[[Link], Awaitable[None]], settings: WebRtcSettings, limits: SessionLimits,
                 observer: Observer) -> None:
        """`serve` joins a link to a session and returns when that has ended."""
        self.draining = False
        self.settings = settings
        self._serve = serve
        self._limits = limits
        self._observer = observer
        self._connections: dict[str, _Connection] = {}

    async def answer(self, offer: str, peer: str) -> tuple[str, str]:
        """The id of a new connection, and the SDP that answers its `offer`. `peer`: where that came from, for the log.

        Raises ClientError where the offer cannot be answered, Overloaded where no more are taken now.
        """
        await self.load()
        if self.draining:
            raise Overloaded("the server is ending: it takes no new connections")
        connecting = sum(not connection.connected for connection in self._connections.values())
        if connecting >= self.settings.most_connecting:
            raise Overloaded(f"{connecting} connections are being made already", retry_after_s=2)
        _check(offer)
        # Unguessable: whoever knows it can end the connection.
        name = secrets.token_urlsafe(16)
        connection = _Connection(peer, self.settings, self._limits, self._observer)
        self._connections[name] = connection
        task = asyncio.create_task(self._hold(name, connection))
        try:
            return name, await connection.answer(offer)
        except BaseException:
            connection.end()
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def load(self) -> None:
        """Loads aiortc, for whom somebody asks: seconds the first time, in a thread for the sake of those who speak."""
        await asyncio.to_thread(importlib.import_module, "aiortc")

    def end(self, name: str) -> bool:
        """Ends a connection; False where there is none of this name, or it is ending already."""
        connection = self._connections.get(name)
        if connection is None or connection.over:
            return False
        connection.end()
        return True

    async def close(self) -> None:
        """Ends all connections that are left."""
        for connection in list(self._connections.values()):
            connection.end()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                while self._connections:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            log.warning("%d connections did not end within %g s", len(self._connections), CLOSE_TIMEOUT_S)

    async def _hold(self, name: str, connection: _Connection) -> None:
        try:
            link = await connection.link(self.settings.connect_timeout_s)
            if link is not None:
                await self._serve(link)
        except Exception:
            log.exception("connection of %s failed", connection.peer)
        finally:
            try:
                await asyncio.wait_for(connection.close(), CLOSE_TIMEOUT_S)
            except Exception:
                log.exception("connection of %s did not close", connection.peer)
            finally:
                del self._connections[name]


class _Connection:
    """One peer connection: its data channel, its track, and the link they make together."""

    def __init__(self, peer: str, settings: WebRtcSettings, limits: SessionLimits, observer: Observer) -> None:
        from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection

        # They tell every candidate and check.
        for chatty in ("aioice", "aiortc"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self.peer = peer
        self._limits = limits
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._sound = RtpSound(OpusDecoder().decode, OPUS_RATE)
        self._link: ChannelLink | None = None
        self._changed = asyncio.Event()
        self._over = False
        self._tick: asyncio.TimerHandle | None = None
        self._packets = 0
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=_ice_servers(settings),
                                                              bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._connection.on("datachannel", self._open)
        self._connection.on("connectionstatechange", self._check_state)

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def over(self) -> bool:
        """It has ended, or is about to."""
        return self._over

    async def answer(self, offer: str) -> str:
        """Raises ClientError where the offer cannot be answered."""
        from aiortc import RTCSessionDescription

        connection = self._connection
        audio = connection.addTransceiver("audio", direction="recvonly")
        audio.setCodecPreferences(_opus_only())
        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            if audio.mid is None or audio.receiver.track is None:
                raise ValueError("no audio is sent")
            _before_buffer(audio.receiver, self._receive)
            await connection.setLocalDescription(await connection.createAnswer())
        except ClientError:
            raise
        except Exception as error:
            # aiortc's parser and its checks raise whatever they stumble over.
            raise ClientError("bad_field", f"the offer cannot be answered: {error}", field="offer", value=offer,
                              allowed="an SDP offer that sends one Opus track and has one data channel") from error
        return connection.localDescription.sdp

    async def link(self, within_s: float) -> ChannelLink | None:
        """The link, once the data channel is open; None where that does not happen in time."""
        try:
            async with asyncio.timeout(within_s):
                while self._link is None and not self._over:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.info("client %s never connected within %g s", self.peer, within_s)
            self._observer.failed("never_connected")
        return self._link

    def end(self) -> None:
        """The client ended it, or nothing may come any more."""
        self._over = True
        self._changed.set()
        if self._link is not None:
            self._link.lose()

    async def close(self) -> None:
        self.end()
        if self._tick is not None:
            self._tick.cancel()
        await self._connection.close()

    def _open(self, channel) -> None:
        if self._link is not None or not channel.ordered or channel.maxRetransmits is not None \
                or channel.maxPacketLifeTime is not None:
            log.info("client %s opened a data channel that is not its first or not reliable", self.peer)
            channel.close()
            return
        self._link = ChannelLink(channel, self.peer, most_audio_s=self._limits.max_buffered_s,
                                 longest_text=self._limits.max_message_bytes, failed=self._observer.failed,
                                 abort=self.end)
        channel.on("message", self._link.receive_message)
        self._changed.set()
        self._look()

    def _check_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self.end()

    def _receive(self, source: int, packet: Packet) -> None:
        self._packets += 1
        if self._link is not None and self._packets <= MOST_PACKETS:
            self._hand_over(self._sound.receive(source, packet, self._loop.time()))

    def _look(self) -> None:
        self._packets = 0
        if not self._over:
            self._hand_over(self._sound.take(self._loop.time()))
            self._tick = self._loop.call_later(TICK_S, self._look)

    def _hand_over(self, sounds) -> None:
        for sound in sounds:
            self._link.receive_sound(sound)


def _check(offer: str) -> None:
    """Raises ClientError where the offer has other media than one track of audio and data channels, or names too many
    addresses."""
    kinds = [line[2:].split(" ", 1)[0] for line in offer.splitlines() if line.startswith("m=")]
    if sorted(kinds) != ["application", "audio"]:
        raise ClientError("bad_field", "the offer is not one audio track and a data channel", field="offer",
                          value=f"media: {', '.join(kinds) or 'none'}", allowed="one m=audio and one m=application")
    candidates = sum(line.startswith("a=candidate") for line in offer.splitlines())
    if candidates > MOST_CANDIDATES:
        raise ClientError("bad_field", "the offer names too many addresses", field="offer",
                          value=f"{candidates} candidates", allowed=f"{MOST_CANDIDATES} candidates")


def _ice_servers(settings: WebRtcSettings) -> list:
    from aiortc import RTCIceServer

    # An empty list, not None, which would mean a public server of aiortc's choice.
    return [RTCIceServer(url, *((settings.turn_username, settings.turn_credential) if url.startswith("turn") else ()))
            for url in settings.ice_servers]


def _opus_only() -> list:
    from aiortc import RTCRtpReceiver

    return [codec for codec in RTCRtpReceiver.getCapabilities("audio").codecs if codec.mimeType.lower() == "audio/opus"]


class _BeforeBuffer:
    """Stands where aiortc has its jitter buffer, and keeps nothing: no frame ever reaches aiortc's decoder thread."""

    def __init__(self, receive: Callable[[int, Packet], None]) -> None:
        self._receive = receive

    def add(self, packet) -> tuple[bool, None]:
        self._receive(packet.ssrc, Packet(packet.sequence_number, packet.timestamp, packet._data))
        return False, None


def _before_buffer(receiver, receive: Callable[[int, Packet], None]) -> None:
    # aiortc has no public way to its packets; its version is held in pyproject.toml for this line's sake.
    name = "_RTCRtpReceiver__jitter_buffer"
    if not hasattr(receiver, name):
        raise RuntimeError("this release of aiortc is built otherwise: install the one that constraints.txt names")
    setattr(receiver, name, _BeforeBuffer(receive))
