"""Continuous integrate-and-fire without loops against the loop that defines it."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.models.cif import integrate


def by_definition(
    alphas: list[float], hidden: torch.Tensor
) -> tuple[list[torch.Tensor], list[int], float, torch.Tensor]:
    """Tokens' embeddings, the frames in which they fired, the weight left and its mean, in fp64."""
    total, frame, tokens, fired = 0.0, torch.zeros(hidden.shape[1], dtype=torch.float64), [], []
    for place, alpha in enumerate(alphas):
        if total + alpha < 1:
            total, frame = total + alpha, frame + alpha * hidden[place]
            continue
        tokens.append(frame + (1 - total) * hidden[place])
        fired.append(place)
        total = total + alpha - 1
        frame = total * hidden[place]
    return tokens, fired, total, frame / total if total > 0 else frame


# Sixteenths add up exactly, so that a sum of exactly one, which fires, is among the examples.
sixteenths = st.lists(st.integers(0, 16).map(lambda n: n / 16), min_size=2, max_size=20)
weights = sixteenths.map(lambda row: [row[0] * 0.9, *row[1:]])
exact = sixteenths.map(lambda row: [row[0] * 0.5, *row[1:]])


@settings(max_examples=200, deadline=None)
@given(st.lists(weights | exact, min_size=1, max_size=5))
def test_equals_the_loop_for_every_row(rows: list[list[float]]):
    longest = max(map(len, rows))
    alphas = torch.zeros(len(rows), longest, dtype=torch.float64)
    for row, values in enumerate(rows):
        alphas[row, : len(values)] = torch.tensor(values, dtype=torch.float64)
    hidden = torch.randn(len(rows), longest, 8)
    fired = integrate(alphas, hidden)
    for row, values in enumerate(rows):
        tokens, places, left, mean = by_definition(values, hidden[row].double())
        assert int(fired.count[row]) == len(tokens)
        assert fired.frames[row, : len(tokens)].tolist() == places
        assert abs(float(fired.carry[row]) - left) < 1e-9
        for token, embedding in zip(tokens, fired.embeddings[row], strict=False):
            torch.testing.assert_close(embedding.double(), token, atol=1e-5, rtol=0)
        if left > 1e-9:
            torch.testing.assert_close(fired.carried[row].double(), mean, atol=1e-5, rtol=1e-5)


def test_what_is_not_a_number_stays_in_its_row():
    alphas = torch.full((2, 6), 0.5)
    alphas[0, 3] = torch.nan
    fired = integrate(alphas, torch.ones(2, 6, 4))
    assert not fired.carry[0].isfinite()
    assert int(fired.count[1]) == 3 and fired.embeddings[1].isfinite().all()
