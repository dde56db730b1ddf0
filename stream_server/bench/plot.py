"""Pictures of measurements: self-contained SVG, in colours that the colour-blind tell apart (Okabe and Ito's)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stream_server.errors import SettingsError

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MARKERS = ("o", "s", "^", "D")
LIMIT_COLOUR = "#555555"
SEEN_LIMITS = 4
"""How many times the limit is still drawn: far beyond it nothing is told apart but what is not wanted anyway."""

PANEL_INCHES = (5.2, 3.6)


@dataclass(frozen=True, slots=True)
class Curve:
    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. `limit` is drawn as a dashed level; `logarithmic` is of x, in powers of two."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    limit: float | None = None
    logarithmic: bool = False
    markers: bool = True


def check_plotting() -> None:
    """Raises SettingsError where matplotlib is not installed: better before an hour's measuring than after."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingsError("--plot needs matplotlib, which is not installed: pip install 'stream-server[bench]', "
                            "or ./run_stream.sh bench")


def draw(file: Path, title: str, panels: Sequence[Panel]) -> None:
    """Writes the panels side by side as an SVG file. Raises SettingsError where it cannot be written."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    width, height = PANEL_INCHES
    with matplotlib.rc_context({"svg.hashsalt": "stream-server", "font.size": 9}):
        figure = Figure(figsize=(width * len(panels), height), layout="constrained")
        FigureCanvasSVG(figure)
        figure.suptitle(title, fontsize=10)
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _fill(axes, panel)
        try:
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        except OSError as error:
            raise SettingsError(f"--plot {file}: cannot be written ({error.strerror or error})") from error


def _fill(axes, panel: Panel) -> None:
    for number, curve in enumerate(panel.curves):
        axes.plot(curve.x, curve.y, label=curve.label, color=COLOURS[number % len(COLOURS)],
                  marker=MARKERS[number % len(MARKERS)] if panel.markers else None, markersize=4, linewidth=1.4)
    if panel.limit is not None:
        axes.axhline(panel.limit, color=LIMIT_COLOUR, linestyle="--", linewidth=1)
        axes.annotate(f"limit {panel.limit:g}", (0, panel.limit), xycoords=("axes fraction", "data"), xytext=(4, 3),
                      textcoords="offset points", color=LIMIT_COLOUR)
    if panel.logarithmic:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    highest = max(value for curve in panel.curves for value in curve.y)
    axes.set_ylim(0, None if panel.limit is None else min(1.05 * max(highest, panel.limit), SEEN_LIMITS * panel.limit))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
