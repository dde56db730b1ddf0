from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.bench.search import PRECISION, most


@settings(deadline=None)
@given(st.data(), st.integers(1, 5000))
def test_the_largest_that_holds_is_found(data: st.DataObject, limit: int) -> None:
    largest = data.draw(st.integers(0, limit))
    tried: list[int] = []

    def holds(number: int) -> bool:
        tried.append(number)
        return number <= largest

    found = most(holds, data.draw(st.integers(-5, 2 * limit)), limit)
    assert all(1 <= number <= limit for number in tried)
    assert found == 0 or found in tried
    # The first number known to fail is within the precision, and at least one more.
    assert found <= largest < found + max(2, PRECISION * found + 1)
    assert len(tried) == len(set(tried)) <= 2 * limit.bit_length() + 1


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.randoms(use_true_random=False))
def test_it_ends_and_says_what_has_held_however_noisy(limit: int, first: int, chance) -> None:
    held = {0}

    def holds(number: int) -> bool:
        if chance.random() < 0.5:
            held.add(number)
            return True
        return False

    assert most(holds, first, limit) in held
