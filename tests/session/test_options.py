"""A Start against what the server has."""

from __future__ import annotations

import pytest

from stream_server.audio.windows import DEFAULT_WINDOWS, Window
from stream_server.config import SessionDefaults
from stream_server.errors import ClientError
from stream_server.session.messages import Start
from stream_server.session.options import choose_options

DEFAULTS = SessionDefaults()


def test_without_a_wish_everything_has_its_default():
    options = choose_options(Start(), DEFAULTS, DEFAULT_WINDOWS)
    assert options.window == DEFAULT_WINDOWS[0]
    assert (options.vad, options.pre_roll_ms, options.end_silence_ms) == ("webrtc", 600, 800)
    assert options.ready("s", "m").window["hop_size"] == 9_600


def test_what_the_client_says_goes_before_the_defaults():
    start = Start(vad="none", end_silence_ms=300, min_speech_ms=40, pre_roll_ms=0, max_segment_ms=9_000)
    options = choose_options(start, DEFAULTS, DEFAULT_WINDOWS)
    assert (options.vad, options.end_silence_ms, options.min_speech_ms) == ("none", 300, 40)
    assert (options.pre_roll_ms, options.max_segment_ms) == (0, 9_000)


@pytest.mark.parametrize(("start", "window"), [
    (Start(chunk_size=[5, 10, 5]), Window(10, 5)),
    (Start(chunk_size=[0, 8, 4], encoder_look_back=4, decoder_look_back=0), Window(8, 4)),
    (Start(chunk_size=3_200, hop_size=1_600), Window(4, 4)),
    (Start(chunk_size=14_400, hop_size=9_600, encoder_look_back=-1), Window(10, 5)),
    (Start(encoder_look_back=2), Window(10, 5)),
])
def test_the_nearest_served_window_is_taken(start, window):
    assert choose_options(start, DEFAULTS, DEFAULT_WINDOWS).window == window


def test_a_longest_segment_too_short_for_its_window_is_lengthened():
    options = choose_options(Start(max_segment_ms=2_000), DEFAULTS, [Window(20, 10)])
    assert options.max_segment_ms == 3_600


@pytest.mark.parametrize(("start", "field"), [
    (Start(encoding="opus"), "encoding"),
    (Start(sample_rate=7_999), "sample_rate"),
    (Start(sample_rate=48_001), "sample_rate"),
    (Start(sample_rate=True), "sample_rate"),
    (Start(chunk_size=9_600), "hop_size"),
    (Start(hop_size=9_600), "chunk_size"),
    (Start(chunk_size=[0, 10, 5], hop_size=9_600), "hop_size"),
    (Start(chunk_size=[0, 10]), "chunk_size"),
    (Start(chunk_size=1, hop_size=2), "chunk_size"),
    (Start(encoder_look_back=-2), "encoder_look_back"),
    (Start(vad="loud"), "vad"),
    (Start(vad_aggressiveness=4), "vad_aggressiveness"),
    (Start(end_silence_ms=99), "end_silence_ms"),
    (Start(min_speech_ms=0), "min_speech_ms"),
    (Start(pre_roll_ms=-1), "pre_roll_ms"),
    (Start(max_segment_ms=60_001), "max_segment_ms"),
])
def test_what_cannot_be_had_is_named(start, field):
    with pytest.raises(ClientError) as error:
        choose_options(start, DEFAULTS, DEFAULT_WINDOWS)
    assert error.value.field == field and error.value.allowed
