from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="psutil is absent: pip install '.[bench]'")

from benchmarks.soak import Memory, Run, draw_soak, growth, main, share_of, summary  # noqa: E402
from stream_client.load.figures import Tally, figures  # noqa: E402
from stream_server.bench.capacity import HIGH, LOW  # noqa: E402
from stream_server.bench.report import json_line  # noqa: E402
from stream_server.bench.sockets import Point  # noqa: E402

TOKENS = {LOW: 20, HIGH: 80}
RUN_MINUTES = 0.5


def soak(minutes: float, megabytes) -> list[Memory]:
    """A sample every 5 s; `megabytes` of the minute, in two processes."""
    return [Memory(at, {"engine-0": 0.75 * megabytes(at / 60), "door-0": 0.25 * megabytes(at / 60)})
            for at in range(5, int(60 * minutes) + 1, 5)]


def runs(minutes: float, lag_s: Callable[[float, float], float], numbers: Callable[[int], float] = share_of,
         **tally) -> list[Run]:
    """Runs of half a minute, in which every token of a run is `lag_s` late: of the minute and of its share."""
    found = []
    for number in range(round(minutes / RUN_MINUTES)):
        minute, share = RUN_MINUTES * number, numbers(number)
        heard = Tally(**tally)
        heard.partial.extend([lag_s(minute, share)] * TOKENS[share])
        point = Point(sockets=TOKENS[share], figures=figures(heard, interrupted=False), door_seconds=0.0)
        found.append(Run(60 * minute, 60 * (minute + RUN_MINUTES), share, point))
    return found


def found(*of_runs, **tally) -> dict[str, object]:
    return summary(soak(60, lambda minute: 100), runs(*of_runs, **tally), capacity=100)


def test_an_hour_is_compared_with_its_sixth_to_tenth_minute() -> None:
    assert growth(soak(60, lambda minute: 100 + minute)) == pytest.approx((157.5 - 107.5) / 107.5, rel=0.01)


def test_what_a_warming_server_takes_is_no_growth() -> None:
    assert growth(soak(60, lambda minute: min(minute, 4.9))) == pytest.approx(0)


def test_what_calm_runs_take_less_is_no_growth() -> None:
    def megabytes(minute: float) -> float:
        return 100 if share_of(int(minute / RUN_MINUTES)) == LOW else 200

    assert growth(soak(60, megabytes)) == pytest.approx(0)


def test_a_short_soak_is_compared_too() -> None:
    assert growth(soak(2, lambda minute: 200 if minute < 1.5 else 300)) == pytest.approx(0.5)


def test_one_moment_of_more_is_no_growth() -> None:
    assert growth(soak(60, lambda minute: 1000 if minute > 59.9 else 100)) == pytest.approx(0)


def test_a_fifth_of_the_runs_is_calm_each_between_busy_ones() -> None:
    shares = [share_of(number) for number in range(100)]
    assert Counter(shares) == {LOW: 20, HIGH: 80}
    assert all(shares[number - 1] == shares[number + 1] == HIGH for number in range(1, 99) if shares[number] == LOW)


def lag_of_a_machine_that_slows(minute: float, share: float) -> float:
    """Busy runs are twice as late as calm ones in the same minute; after an hour both are twice as late as before."""
    return (0.2 if share == HIGH else 0.1) * (1 + minute / 60)


def test_a_machine_that_slows_down_changes_the_ratio_hardly() -> None:
    assert found(60, lag_of_a_machine_that_slows)["lag_ratio"] == pytest.approx(2, rel=0.02)


def test_calm_runs_of_the_first_minutes_alone_would_have_said_something_else() -> None:
    at_first = found(60, lag_of_a_machine_that_slows, lambda number: LOW if number < 12 else HIGH)
    assert at_first["lag_ratio"] > 3.5


def test_a_machine_that_slows_down_is_seen_by_quarters_of_an_hour() -> None:
    slowing = found(60, lag_of_a_machine_that_slows)
    for key in ("lag_p99_ms_20_by_quarter", "lag_p99_ms_80_by_quarter"):
        assert len(slowing[key]) == 4
        assert slowing[key] == sorted(set(slowing[key]))
    steady = found(60, lambda minute, share: share)
    assert steady["lag_p99_ms_20_by_quarter"] == [200] * 4 and steady["lag_p99_ms_80_by_quarter"] == [800] * 4


def test_every_token_of_a_share_counts_once_whichever_run_it_is_of() -> None:
    def lag_s(minute: float, share: float) -> float:
        return 5 if minute == 10 else 0.1

    seldom = found(60, lag_s)
    assert (seldom["lag_p99_ms_20"], seldom["lag_p99_ms_80"]) == (100, 5000), "one busy run is more than 1 in 100"
    assert seldom["lag_p99_ms_80_by_quarter"] == [5000, 100, 100, 100]
    assert found(120, lag_s)["lag_p99_ms_80"] == 100


def test_the_object_has_these_keys_and_the_share_that_was_calm() -> None:
    said = json.loads(json_line(found(60, lambda minute, share: share, failures=Counter({"closed": 1}))))
    assert list(said) == ["minutes", "memory_growth", "lag_p99_ms_20", "lag_p99_ms_80", "lag_ratio",
                          "lag_p99_ms_20_by_quarter", "lag_p99_ms_80_by_quarter", "calm_share", "sockets",
                          "runs_with_faults"]
    assert (said["minutes"], said["lag_ratio"], said["calm_share"], said["runs_with_faults"]) == (60, 4, 0.2, 120)


def test_without_text_there_is_no_lag_and_no_ratio() -> None:
    silent = [Run(0, 30, share, Point(1, figures(Tally(), interrupted=False), 0.0)) for share in (HIGH, LOW)]
    said = summary(soak(1, lambda minute: 100), silent, 5)
    assert said["lag_p99_ms_20"] is said["lag_p99_ms_80"] is said["lag_ratio"] is None
    assert said["lag_p99_ms_20_by_quarter"] == [None]


def test_both_kinds_of_runs_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is absent: pip install '.[bench]'")
    for minutes, drawn in ((20, [HIGH, LOW]), (1, [HIGH])):
        draw_soak(tmp_path / "soak.svg", soak(minutes, lambda minute: 100),
                  runs(minutes, lambda minute, share: share), "demo")
        picture = (tmp_path / "soak.svg").read_text()
        assert [share for share in (HIGH, LOW) if f"<!-- p99 at {share:.0%} -->" in picture] == drawn


def test_the_figures_can_be_had_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "--json" in capsys.readouterr().out
