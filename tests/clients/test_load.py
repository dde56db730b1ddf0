"""The parts of the load tool that need no socket."""

from __future__ import annotations

import json
from array import array
from itertools import pairwise
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from stream_client.errors import MediaError, ServerError
from stream_client.events import Ended, Final, Partial
from stream_client.load import Load
from stream_client.load.figures import Tally, figures, lags
from stream_client.load.report import flat, table
from stream_client.load.ruler import Comparison, Ruler, compare, earlier, fingerprint, read_rulers, write_rulers
from stream_client.load.sherpa import SherpaDialect
from stream_client.load.slow import Quiet
from stream_client.load.speech import compose, cut_at_pauses, find_files
from stream_client.load.tokens import Transcript, split
from stream_client.load.wheel import Lateness, Sender, turn
from stream_client.load.wire import audio_frames
from stream_client.load.worker import Job, Stream, share
from stream_client.wishes import Wishes
from tests.clients.sounds import write_audio

LOUD = 9_000
SECOND = 16_000


def samples(audio: bytes) -> array:
    return array("h", audio)


def tone(seconds: float, level: int = LOUD) -> bytes:
    return array("h", [level, -level] * round(seconds * SECOND / 2)).tobytes()


@pytest.mark.parametrize("silence", [0.0, 0.25, 0.5, 0.9])
def test_a_stream_has_the_length_and_the_share_of_silence_asked_for(silence: float) -> None:
    audio = samples(compose([tone(3.1), tone(4.7)], seconds=20, silence=silence, part=0.3, seed=1))
    assert len(audio) == 20 * SECOND
    assert sum(abs(sample) < 10 for sample in audio) == pytest.approx(silence * len(audio), abs=1)
    assert abs(audio[-1]) == LOUD, "a stream ends with speech"


def test_silence_lies_between_the_stretches_and_is_not_digital() -> None:
    audio = samples(compose([tone(1)] * 4, seconds=8, silence=0.5, part=0, seed=1))
    loud = [abs(sample) == LOUD for sample in audio]
    assert sum(a != b for a, b in pairwise(loud)) == 7
    assert len({sample for sample, is_loud in zip(audio, loud, strict=True) if not is_loud}) > 2


def test_streams_of_different_parts_say_different_things() -> None:
    stretches = [tone(3, level) for level in (1000, 2000, 3000, 4000)]
    starts = [samples(compose(stretches, seconds=6, silence=0, part=part, seed=0))[0] for part in (0, 0.25, 0.5, 0.75)]
    assert starts == [1000, 2000, 3000, 4000]
    inside = samples(compose(stretches[:1], seconds=6, silence=0, part=0.5, seed=0))
    assert len(inside) == 6 * SECOND


def test_a_recording_is_cut_in_its_pauses_and_nothing_of_it_is_lost() -> None:
    recording = tone(4.0) + tone(0.1, 0) + tone(4.5) + tone(0.1, 0) + tone(2.0)
    pieces = list(cut_at_pauses(recording))
    assert b"".join(pieces) == recording
    assert [round(len(piece) / 2 / SECOND, 1) for piece in pieces] == pytest.approx([4.05, 4.6, 2.05], abs=0.11)


def test_directories_are_searched_for_recordings(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    kept = [write_audio(tmp_path / name, "pcm_s16le", seconds=0.5) for name in ("b.wav", "deep/a.wav")]
    (tmp_path / "notes.txt").write_text("no sound")
    assert find_files([tmp_path]) == sorted(kept)
    with pytest.raises(MediaError, match="no recordings in .*empty"):
        (tmp_path / "empty").mkdir()
        find_files([tmp_path / "empty"])


@pytest.mark.parametrize(("text", "tokens"), [
    ("今天天气", ["今", "天", "天", "气"]),
    ("打开 WiFi，好的。", ["打", "开", "WiFi", "好", "的"]),
    ("it's 12 o’clock", ["it's", "12", "o’clock"]),
    (" ，。", []),
])
def test_characters_and_words_are_tokens(text: str, tokens: list[str]) -> None:
    assert split(text) == tokens


def test_a_token_counts_from_when_the_text_first_had_as_many() -> None:
    moments: list[float] = []
    transcript = Transcript(lambda: moments[-1])
    for moment, event in [(1.0, Partial(segment=0, text="今天")), (2.0, Partial(segment=0, text="今")),
                       (3.0, Partial(segment=0, text="今天好")), (4.0, Final(segment=0, text="金天")),
                       (5.0, Partial(segment=1, text="吗是"))]:
        moments.append(moment)
        assert transcript.receive(event)
    assert not transcript.receive(Ended())
    assert transcript.moments == [1.0, 1.0, 3.0, 5.0]
    assert transcript.tokens == ["金", "天", "吗", "是"]
    assert transcript.last_final == 4.0


def heard(*moments_and_texts: tuple[float, str]) -> Transcript:
    moments: list[float] = []
    transcript = Transcript(lambda: moments[-1])
    for moment, text in moments_and_texts:
        moments.append(moment)
        transcript.receive(Partial(segment=0, text=text))
    return transcript


RULER = Ruler(messages=10, tokens=("一", "二", "三"), due=(3, 5, 11))
"""Message i is due 100 + i * 0.06 in what follows."""


def measured(transcript: Transcript, until: float = 200, ended: bool = True, failed: bool = False) -> Comparison:
    return compare(RULER, transcript, 100.0, 0.06, until=until, ended=ended, failed=failed)


def test_a_lag_counts_from_the_message_that_the_token_waited_for() -> None:
    found = measured(heard((100.22, "一"), (100.50, "一二"), (100.60, "一二三")))
    assert found.partial == pytest.approx([0.10, 0.26]), "what comes only after the end of the audio is no partial"
    assert found.first_partial == pytest.approx(0.10)
    assert (found.compared, found.missing, found.different, found.extra, found.early) == (3, 0, 0, 0, 0)


def test_missing_different_and_superfluous_tokens_are_counted() -> None:
    assert measured(heard((101, "一贰"))) == Comparison(pytest.approx(0.88), pytest.approx([0.88, 0.76]), 2, 1, 1, 0, 0)
    found = measured(heard((101, "一二三四五")))
    assert (found.compared, found.missing, found.extra) == (3, 0, 2)


def test_a_token_before_its_time_shows_that_the_ruler_is_wrong() -> None:
    assert measured(heard((100.11, "一二三"))).early == 2


def test_a_stream_that_failed_misses_the_rest_and_an_interrupted_one_does_not() -> None:
    failed = measured(heard((101, "一")), ended=False, failed=True)
    assert (failed.compared, failed.missing, failed.different) == (1, 2, 0)
    interrupted = measured(heard((100.2, "一")), until=100.21, ended=False)
    assert (interrupted.compared, interrupted.missing) == (1, 0)


def test_a_kept_ruler_is_used_for_the_same_load_only(tmp_path: Path) -> None:
    path = tmp_path / "ruler.json"
    made_for = fingerprint([b"audio"], "native", 60)
    assert read_rulers(path, made_for) is None
    write_rulers(path, [RULER], made_for)
    assert read_rulers(path, made_for) == [RULER]
    for other in (fingerprint([b"audio"], "native", 30), fingerprint([b"other"], "native", 60)):
        with pytest.raises(MediaError, match="made for other audio"):
            read_rulers(path, other)
    path.write_text("{}")
    with pytest.raises(MediaError, match="not a ruler"):
        read_rulers(path, made_for)


def test_of_two_slow_runs_the_earlier_is_right() -> None:
    other = Ruler(messages=10, tokens=("一", "二", "三"), due=(4, 4, 11))
    assert earlier(RULER, other) == Ruler(messages=10, tokens=RULER.tokens, due=(3, 4, 11))
    assert earlier(RULER, Ruler(10, ("一",), (2,))).due == (2, 5, 11)


def test_quiet_follows_the_slower_answers_but_not_a_single_stall() -> None:
    assert Quiet(None).seconds == 1.0
    quiet = Quiet(0.4)
    for delay in [0.05] * 9:
        quiet.answered(delay)
        assert quiet.seconds == 0.4, "what the greeting took, until there are answers enough"
    quiet.answered(0.05)
    assert quiet.seconds == pytest.approx(0.15)
    quiet.answered(5.0)
    assert quiet.seconds == pytest.approx(0.15)
    for delay in [0.2] * 20:
        quiet.answered(delay)
    assert quiet.seconds == pytest.approx(0.6)
    for delay in [0.01] * 100:
        quiet.answered(delay)
    assert quiet.seconds == 0.1


def test_percentiles_are_of_nearest_rank() -> None:
    found = lags([number / 1000 for number in range(1, 101)])
    assert (found.p50, found.p95, found.p99, found.max, found.count) == (50, 95, 99, 100, 100)
    assert (lags([0.007]).p50, lags([0.007]).p99) == (7, 7)
    assert lags([]).p99 is None


def test_processes_are_added_up_and_reported() -> None:
    first, second = Tally(finished=1, cpu_s=0.2, busiest=0.1), Tally(finished=1, refused=1, cpu_s=0.1, busiest=0.3)
    first.add(Comparison(0.1, [0.1, 0.2], 2, 0, 0, 0, 0), 0.5)
    second.add(Comparison(0.3, [0.3], 1, 1, 1, 0, 0), None)
    second.failures["no room"] += 1
    first.lateness.sent(0.02, blocked=True)
    second.lateness.sent(0.3, blocked=False)
    first.merge(second)
    load = Load(streams=3)
    fields = flat(load, figures(first, interrupted=False))
    assert fields["partial_lag_p50_ms"] == 200
    assert fields["final_lag_count"] == 1
    assert (fields["streams_finished"], fields["streams_refused"], fields["streams_failed"]) == (2, 1, 0)
    assert (fields["tokens_compared"], fields["tokens_missing"], fields["tokens_different"]) == (3, 1, 1)
    assert (fields["messages_late"], fields["messages_late_blocked"], fields["late_max_ms"]) == (2, 1, 300)
    assert fields["tool_cpu_share"] == 0.3
    assert json.loads(json.dumps(fields)) == fields
    assert "1 x no room" in table(load, figures(first, interrupted=False))


@pytest.mark.parametrize(("field", "value", "allowed"), [
    ("streams", 0, "1 to 100000"), ("seconds", 0.5, "1 to 3600"), ("silence", 1.0, "0 to 0.95"),
    ("start", "later", "spread or burst"), ("message_ms", 5, "10 to 1000"), ("dialect", "latin", "funasr, native"),
    ("processes", 0, "1 to 256"), ("distinct", 0, "1 to 64"),
])
def test_a_load_that_cannot_be_is_told(field: str, value: object, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"{field} cannot be {value}; allowed: .*{allowed}"):
        Load(**{field: value})


def test_wishes_that_a_protocol_cannot_say_are_told() -> None:
    with pytest.raises(ValueError, match="vad cannot be said in sherpa-onnx's protocol"):
        Load(dialect="sherpa", wishes=Wishes(vad="none"))


def test_streams_begin_at_random_moments_that_the_seed_decides() -> None:
    spread = Load(streams=50, ramp_s=2.0, seed=3).plan()
    assert spread == Load(streams=50, ramp_s=2.0, seed=3).plan() != Load(streams=50, ramp_s=2.0, seed=4).plan()
    assert len({stream.start_s for stream in spread}) == 50
    assert all(0 <= stream.start_s <= 2 for stream in spread)
    assert [stream.content for stream in spread[:5]] == [0, 1, 2, 3, 0]
    assert {stream.start_s for stream in Load(streams=50, start="burst").plan()} == {0.0}


def test_every_stream_belongs_to_one_process() -> None:
    streams = tuple(Stream(0, float(number)) for number in range(7))
    jobs = share(Job(Load().target, (), (), streams, 60, 30.0), 3)
    assert sorted(stream.start_s for job in jobs for stream in job.streams) == list(range(7))
    assert [len(job.streams) for job in jobs] == [3, 2, 2]


def unframed(frame: bytes) -> bytes:
    reader = StreamReader()
    reader.feed_data(frame)
    parser = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as parsed:
        next(parser)
    assert parsed.value.value.opcode is Opcode.BINARY
    return bytes(parsed.value.value.data)


def test_frames_hold_the_audio_in_the_encoding_of_the_protocol() -> None:
    audio = array("h", range(-16_000, 16_000, 16)).tobytes()
    for dialect in ("native", "funasr"):
        assert b"".join(map(unframed, audio_frames(audio, dialect, 60))) == audio
    frames = audio_frames(audio, "sherpa", 60)
    assert [len(unframed(frame)) for frame in frames] == [3840, 3840, 320]
    floats = array("f", b"".join(map(unframed, frames)))
    assert list(floats) == [sample / 32768 for sample in samples(audio)]


class Wire:
    """A client's connection as a sender sees it: takes frames while it is open."""

    def __init__(self) -> None:
        self.finished = False
        self.taking = True
        self.taken: list[bytes] = []

    def write(self, frame: bytes) -> bool:
        if self.taking:
            self.taken.append(frame)
        return self.taking

    def stop(self, patience_s: float) -> None:
        self.taken.append(b"stop")


def test_what_is_late_goes_out_late_and_moves_nothing_after_it() -> None:
    wire, lateness = Wire(), Lateness()
    sender = Sender(wire, [b"0", b"1", b"2", b"3"], 0.06, 30.0, lateness)
    assert sender.begin(10.0) == 10.0
    assert sender.send(10.001) == pytest.approx(10.06)
    wire.taking = False
    assert 10.06 < sender.send(10.06) < 10.07
    wire.taking = True
    assert sender.send(10.125) == pytest.approx(10.18), "messages 1 and 2 at once, message 3 when it was due"
    assert wire.taken == [b"0", b"1", b"2"]
    assert sender.send(10.30) is None
    assert wire.taken[-2:] == [b"3", b"stop"]
    assert (lateness.messages, lateness.late, lateness.late_blocked) == (4, 2, 1)
    assert lateness.longest_s == pytest.approx(0.12)


def test_a_stream_that_has_ended_is_sent_no_more() -> None:
    wire = Wire()
    sender = Sender(wire, [b"0", b"1"], 0.06, 30.0, Lateness())
    sender.send(sender.begin(0.0))
    wire.finished = True
    assert sender.send(0.06) is None
    assert wire.taken == [b"0"]


async def test_the_wheel_turns_until_all_streams_have_sent_everything_in_the_order_of_the_clock() -> None:
    wire = Wire()
    senders = [(Sender(wire, [name + b"0", name + b"1"], 0.02, 30.0, Lateness()), start)
               for name, start in ((b"a", 0.010), (b"b", 0.0))]
    moments = iter(range(1_000))
    await turn(senders, clock=lambda: next(moments) * 0.001)
    assert wire.taken == [b"b0", b"a0", b"b1", b"stop", b"a1", b"stop"]


def test_sherpas_cpp_server_says_what_is_final_and_when_it_is_done() -> None:
    dialect = SherpaDialect(Wishes())
    assert dialect.open()[0] == ""
    assert dialect.receive('{"text":"","segment":0,"is_final":false}') == []
    assert dialect.receive('{"text":"今天","segment":0,"is_final":false}') == [
        Partial(segment=0, text="今天", revision=1)]
    assert dialect.receive('{"text":"今天","segment":0,"is_final":false}') == []
    assert dialect.receive('{"text":"今天好","segment":0,"is_final":true}') == [
        Partial(segment=0, text="今天好", revision=2), Final(segment=0, text="今天好", revision=3)]
    assert dialect.receive('{"text":"吗","segment":1,"is_final":true,"is_eof":true}') == [
        Partial(segment=1, text="吗", revision=1), Final(segment=1, text="吗", revision=2)]
    assert dialect.close() == "Done"
    assert dialect.receive("Done!") == [Ended(segments=2)]
    assert dialect.ended


def test_sherpas_python_server_counts_segments_and_closes() -> None:
    dialect = SherpaDialect(Wishes())
    dialect.receive('{"text":"今天","segment":0}')
    assert dialect.receive('{"text":"好","segment":1}') == [
        Final(segment=0, text="今天", revision=2), Partial(segment=1, text="好", revision=1)]
    assert dialect.closed() == [Final(segment=1, text="好", revision=2), Ended(segments=2)]


@pytest.mark.parametrize("text", ["[1]", "hello", '{"type":"ready"}'])
def test_what_is_not_sherpas_is_told(text: str) -> None:
    with pytest.raises(ServerError, match="not of sherpa-onnx's protocol"):
        SherpaDialect(Wishes()).receive(text)
