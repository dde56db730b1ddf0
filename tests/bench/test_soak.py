from __future__ import annotations

import pytest

pytest.importorskip("psutil")

from benchmarks.soak import Memory, growth, main  # noqa: E402


def soak(minutes: float, megabytes) -> list[Memory]:
    """A sample every 5 s; `megabytes` of the minute, in two processes."""
    return [Memory(at, {"engine-0": 0.75 * megabytes(at / 60), "door-0": 0.25 * megabytes(at / 60)})
            for at in range(5, int(60 * minutes) + 1, 5)]


def test_an_hour_is_compared_with_its_sixth_to_tenth_minute() -> None:
    assert growth(soak(60, lambda minute: 100 + minute), 0) == pytest.approx((157.5 - 107.5) / 107.5, rel=0.01)


def test_what_a_warming_server_takes_is_no_growth() -> None:
    assert growth(soak(60, lambda minute: min(minute, 4.9)), 0) == pytest.approx(0)


def test_the_calm_before_the_load_is_not_compared() -> None:
    assert growth(soak(60, lambda minute: 100 if minute < 6 else 200), 360) == pytest.approx(0)


def test_a_short_soak_is_compared_too() -> None:
    assert growth(soak(2, lambda minute: 100 if minute < 0.2 else 200 if minute < 1.5 else 300), 12) \
        == pytest.approx(0.5)


def test_one_moment_of_more_is_no_growth() -> None:
    assert growth(soak(60, lambda minute: 1000 if minute > 59.9 else 100), 0) == pytest.approx(0)


def test_the_figures_can_be_had_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "--json" in capsys.readouterr().out
