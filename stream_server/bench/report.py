"""How measurements are said: percentiles, tables, lines of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np


def percentile(values: Sequence[float] | np.ndarray, percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed: one that was measured, never one in between."""
    return float(np.percentile(np.asarray(values, dtype=float), percent, method="inverted_cdf"))


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of the same names as columns aligned to the right."""
    heads = list(rows[0])
    lines = [heads, *([_shown(row[head]) for head in heads] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def json_line(values: Mapping[str, object]) -> str:
    """One flat object on a line, numbers of four digits, those of lists too."""
    return json.dumps({name: _rounded(value) for name, value in values.items()}, ensure_ascii=False)


def progress(as_json: bool) -> Callable[[str], None]:
    """Says what is being done, on standard error where standard output is JSON."""
    return lambda text: print(text, file=sys.stderr if as_json else sys.stdout, flush=True)


def _shown(value: object) -> str:
    return str(_rounded(value)) if not isinstance(value, float) or value < 1000 else f"{value:.0f}"


def _rounded(value: object) -> object:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
