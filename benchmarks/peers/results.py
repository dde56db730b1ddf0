"""What came out: the rates of every round, their medians and ratios, a table for people and one flat object."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.peers.engines import Form

_FEATURES = {"avx2": "avx2", "avx512f": "avx512", "avx512_vnni": "avx512_vnni", "avx512_bf16": "avx512_bf16",
             "amx_tile": "amx"}


@dataclass(frozen=True, slots=True)
class Contender:
    """A form with one of its batch sizes."""

    form: Form
    batch: int

    def __str__(self) -> str:
        batch = f", batch {self.batch}" if self.form.engine == "ours" else ""
        return f"{self.form}{batch}"


@dataclass
class Results:
    """Hops a second of each contender in every round, in the rounds' order; peak memory by form, MB a process."""

    rates: dict[Contender, list[float]] = field(default_factory=dict)
    peaks_mb: dict[Form, list[int]] = field(default_factory=dict)

    def best(self, engine: str, numbers: str | None = None, processes: int | None = None) -> Contender | None:
        """The fastest such contender by its median; None where there was none."""
        such = [
            contender for contender in self.rates
            if contender.form.engine == engine and numbers in (None, contender.form.numbers)
            and processes in (None, contender.form.processes)
        ]
        return max(such, key=self.rate, default=None)

    def rate(self, contender: Contender | None) -> float | None:
        return None if contender is None else round(median(self.rates[contender]), 2)

    def ratio(self, upper: Contender | None, lower: Contender | None) -> float | None:
        """Of the two rates, taken round by round."""
        if upper is None or lower is None:
            return None
        pairs = zip(self.rates[upper], self.rates[lower], strict=True)
        return round(median(above / below for above, below in pairs), 2)

    def table(self) -> str:
        """A line for each contender: its rate, the rates of all rounds, ours against it, its memory."""
        ours = self.best("ours")
        rows = [("engine, numbers, processes x threads", "hops/s", "in each round", "ours is", "peak MB a process")]
        for contender, rates in self.rates.items():
            ratio = self.ratio(ours, contender)
            rows.append((
                str(contender), f"{self.rate(contender):.2f}", " ".join(f"{rate:.2f}" for rate in rates),
                "" if ratio is None else f"{ratio:.2f} x",
                " ".join(map(str, self.peaks_mb[contender.form])),
            ))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                         for row in rows)

    def summary(self) -> dict[str, object]:
        """Flat; null where something was not measured."""
        ours, int8, fp32 = self.best("ours"), self.best("sherpa", "int8"), self.best("sherpa", "fp32")
        one, many = self.best("funasr", processes=1), self._several("funasr")
        return {
            "ours_chunks_per_s": self.rate(ours),
            "ours_best": None if ours is None else str(ours),
            "ours_peak_mb": self._peak(ours),
            "funasr_chunks_per_s": self.rate(one),
            "funasr_two_processes_chunks_per_s": self.rate(many),
            "funasr_peak_mb": self._peak(one),
            "sherpa_int8_chunks_per_s": self.rate(int8),
            "sherpa_int8_peak_mb": self._peak(int8),
            "sherpa_fp32_chunks_per_s": self.rate(fp32),
            "sherpa_fp32_peak_mb": self._peak(fp32),
            "ratio_funasr": self.ratio(ours, one),
            "ratio_funasr_two_processes": self.ratio(ours, many),
            "ratio_sherpa_int8": self.ratio(ours, int8),
            "ratio_sherpa_fp32": self.ratio(ours, fp32),
        }

    def _several(self, engine: str) -> Contender | None:
        such = [contender for contender in self.rates
                if contender.form.engine == engine and contender.form.processes > 1]
        return max(such, key=self.rate, default=None)

    def _peak(self, contender: Contender | None) -> int | None:
        return None if contender is None else max(self.peaks_mb[contender.form])


def cpu_features() -> str:
    """Of the vector instructions that decide how fast matrices are, those that this processor has."""
    flags = set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):
            flags = set(line.partition(":")[2].split())
            break
    return ",".join(name for flag, name in _FEATURES.items() if flag in flags)


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
