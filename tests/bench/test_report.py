from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.bench.report import json_line, percentile, table


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([50, 95, 99, 100]))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values)
    assert sum(value < found for value in values) < percent / 100 * len(values)


def test_a_table_is_aligned() -> None:
    lines = table([{"streams": 4, "p99 ms": 81.25}, {"streams": 128, "p99 ms": 1234.5}]).splitlines()
    assert lines == ["streams  p99 ms", "      4   81.25", "    128    1234"]


@pytest.mark.parametrize(("value", "said"), [
    (0.123456, 0.1235), (123456789, 123456789), ("cpu", "cpu"), (None, None), ([0.123456, None, 2], [0.1235, None, 2]),
])
def test_json_keeps_four_digits_of_what_was_measured(value: object, said: object) -> None:
    assert json.loads(json_line({"name": value})) == {"name": said}
