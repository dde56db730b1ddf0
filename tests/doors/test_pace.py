from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stream_server.doors.pace import Pace


@given(idle=st.lists(st.floats(0, 3), max_size=20))
def test_once_in_an_interval_and_at_once_where_the_last_time_is_long_ago(idle: list[float]) -> None:
    pace, now, had = Pace(0.5), 100.0, []
    for seconds in idle:
        now += seconds
        asked = now
        now += pace.wait(now)
        assert now - asked <= 0.5 + 1e-9
        assert now == asked or not had or asked - had[-1] < 0.5
        had.append(now)
    assert all(later - earlier >= 0.5 - 1e-9 for earlier, later in pairwise(had))
