"""The figures, as a table for people and as one flat object for programs."""

from __future__ import annotations

from stream_client.load.figures import Figures, Lags
from stream_client.load.plan import Load

BUSY = 0.7
"""Share of a core from which on the tool itself may be what is slow."""
LATE = 0.01
"""Share of the messages that may be late by the tool's fault."""


def flat(load: Load, figures: Figures) -> dict[str, object]:
    """Everything by one name each: `partial_lag_p99_ms` and so on; what was asked for, too."""
    asked = {name: getattr(load, name) for name in ("url", "dialect", "streams", "seconds", "silence", "start",
                                                     "ramp_s", "seed", "message_ms", "distinct")}
    found: dict[str, object] = {**asked, "processes": load.worker_count}
    for name, value in vars(figures).items():
        if isinstance(value, Lags):
            found |= {f"{name}_{rank}_ms": getattr(value, rank) for rank in ("p50", "p95", "p99", "max")}
            found[f"{name}_count"] = value.count
        else:
            found[name] = value
    return found


def table(load: Load, figures: Figures) -> str:
    """For people."""
    lines = [f"{load.streams} streams of {load.seconds:g} s to {load.url} ({load.dialect}), {load.silence:.0%} silence"]
    if figures.interrupted:
        lines[0] += "; interrupted: what came until then"
    lines.append(f"{'ms':28}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}{'count':>9}")
    for title, lags in (("first partial", figures.first_partial), ("partial lag", figures.partial_lag),
                        ("final after the end of speech", figures.final_lag)):
        values = "".join(f"{'-' if value is None else format(value, '.0f'):>9}"
                         for value in (lags.p50, lags.p95, lags.p99, lags.max))
        lines.append(f"{title:28}{values}{lags.count:9}")
    lines += [
        f"streams   {figures.streams_finished} finished, {figures.streams_refused} refused, "
        f"{figures.streams_failed} failed",
        f"tokens    {figures.tokens_compared} compared, {figures.tokens_missing} missing, "
        f"{figures.tokens_different} different, {figures.tokens_extra} too many",
        f"audio     {figures.messages_sent} messages, {figures.messages_late} late "
        f"({figures.messages_late_blocked} of them as the server did not read), at most {figures.late_max_ms:.0f} ms",
        f"this tool {figures.tool_cpu_share:.0%} of a core in its busiest process, "
        f"{figures.tool_cpu_us_per_message:.0f} us a message",
    ]
    lines += [f"{count:9} x {reason}" for reason, count in [*figures.failures.items(), *figures.problems.items()]]
    return "\n".join(lines + _warnings(figures))


def _warnings(figures: Figures) -> list[str]:
    found = []
    if figures.tokens_early:
        found.append(f"not to be trusted: {figures.tokens_early} tokens came before they were due by the slow run; "
                     "was the server idle then?")
    if figures.tool_cpu_share > BUSY:
        found.append("not to be trusted: the tool itself was busy; give it more --processes, or a machine of its own")
    elif figures.messages_late - figures.messages_late_blocked > LATE * figures.messages_sent:
        found.append("not to be trusted: the tool did not get the processor when audio was due, which the lags "
                     "contain; give it a machine of its own")
    return found
