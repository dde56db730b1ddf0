from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.engine.slots import Lease, Slots


@settings(deadline=None)
@given(count=st.integers(1, 6), choices=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60))
def test_no_slot_has_two_tenants_and_none_is_lost(count: int, choices: list[tuple[bool, int]]) -> None:
    slots = Slots(count)
    held: list[Lease] = []
    former: list[Lease] = []
    for take, which in choices:
        if take:
            lease = slots.lease()
            assert (lease is None) == (len(held) == count)
            if lease is not None:
                held.append(lease)
        elif held:
            lease = held.pop(which % len(held))
            slots.give_back(lease)
            former.append(lease)
        assert len({lease.slot for lease in held}) == len(held) == slots.in_use
        assert all(slots.holds(lease) for lease in held)
        assert not any(slots.holds(lease) for lease in former)


def test_a_former_tenant_cannot_give_back_its_successors_slot() -> None:
    slots = Slots(1)
    former = slots.lease()
    slots.give_back(former)
    successor = slots.lease()
    assert successor.slot == former.slot
    with pytest.raises(AssertionError, match="not held"):
        slots.give_back(former)
    assert slots.holds(successor)


def test_an_engine_without_slots_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        Slots(0)
