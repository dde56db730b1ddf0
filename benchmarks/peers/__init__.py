"""The same weights in FunASR, in sherpa-onnx and here: hops of 600 ms that each gets through in a second.

All hear the same recordings, on the same cores, in one run: every engine in processes of its own, taking turns. Each
is run as it is best run on them: FunASR as one process with all threads and as one process a core; sherpa-onnx with a
single-threaded stream on each core; ours in batches, as one process and as one a core. The best of ours is compared.
sherpa-onnx's steps are counted by the audio they consume: its window is 18 frames without look-back, ours and FunASR's
15 with 40 frames of look-back. The last line is one flat JSON object.
"""

from __future__ import annotations

import os

# Threads that spin while they wait are slow where others share the cores. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.peers.engines import Form, Material
from benchmarks.peers.preparation import prepared
from benchmarks.peers.results import Contender, Results, cpu_features, cpu_name
from benchmarks.peers.sherpa_files import SherpaModel
from benchmarks.peers.sockets import carried, our_server, sherpa_server
from benchmarks.peers.workers import Crew, crews
from tests.support import recordings

ENGINES = ("funasr", "sherpa", "ours")
DTYPES = ("auto", "fp32", "bf16", "fp16", "int8")
SOCKETS = ("ours_sockets", "sherpa_int8_sockets", "ratio_sockets_sherpa_int8")


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    if not recordings.present():
        print(recordings.ABSENT, file=sys.stderr)
        return 2
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, cores)
    say = _silent if options.json else _aloud
    say(f"{cpu_name()} ({cpu_features()}), {len(cores)} cores; model {options.model}")
    with_sockets = not options.without_sockets
    material = prepared(options.model, options.cache, with_sockets or "sherpa" in options.engines)
    results = Results()
    if not options.without_engines:
        with crews(_forms(options, len(cores)), material) as ready:
            _measure(ready, options.rounds, options.seconds, results)
        say(results.table())
    sockets = _sockets(options, material, len(cores), say) if with_sockets else {}
    summary = results.summary() | {name: sockets.get(name) for name in SOCKETS}
    summary |= {"cores": len(cores), "cpu": cpu_name(), "cpu_features": cpu_features(), "model": options.model}
    print(json.dumps(summary))
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks peers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="random", help="as for stream-server serve")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["auto", "int8"],
                        help="ours alone; FunASR computes in fp32, sherpa-onnx in int8 and fp32")
    parser.add_argument("--socket-dtype", choices=DTYPES, default="int8", help="ours, against sherpa-onnx's int8")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32], help="ours alone")
    parser.add_argument("--cores", type=int, default=2, help="cores to use, of those that this process may")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6, help="that each is measured in each round, at least")
    parser.add_argument("--without-engines", action="store_true", help="the servers alone")
    parser.add_argument("--without-sockets", action="store_true", help="the engines alone, in process")
    parser.add_argument("--socket-seconds", type=float, default=12, help="of speech by each socket in each trial")
    parser.add_argument("--lag-ms", type=float, default=300, help="p99 of the lag up to which sockets are carried")
    parser.add_argument("--cache", type=Path, default=Path("build/peers"), help="where the export is kept")
    parser.add_argument("--json", action="store_true", help="nothing but the last line")
    options = parser.parse_args(argv)
    for name, least in (("cores", 1), ("rounds", 1), ("seconds", 0.1), ("socket_seconds", 3), ("lag_ms", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}; needed at least {least}")
    if min(options.batches) < 1:
        parser.error(f"--batches is {options.batches}; needed whole numbers from 1")
    return options


def _forms(options: argparse.Namespace, cores: int) -> list[Form]:
    # On one core both shapes are the same.
    shapes = sorted({(1, cores), (cores, 1)})
    batches = tuple(sorted(set(options.batches)))
    forms = {
        "funasr": [Form("funasr", "fp32", *shape) for shape in shapes],
        "sherpa": [Form("sherpa", numbers, 1, cores) for numbers in ("int8", "fp32")],
        "ours": [Form("ours", dtype, *shape, batches) for dtype in dict.fromkeys(options.dtypes) for shape in shapes],
    }
    return [form for engine in ENGINES if engine in options.engines for form in forms[engine]]


def _measure(ready: Sequence[Crew], rounds: int, seconds: float, results: Results) -> None:
    for _ in range(rounds):
        for crew in ready:
            for batch in crew.form.batches:
                rate = crew.measure(batch, seconds)
                results.rates.setdefault(Contender(crew.form, batch), []).append(rate)
            results.peaks_mb[crew.form] = crew.peaks_mb


def _sockets(options: argparse.Namespace, material: Material, cores: int, say: Callable[[str], None]) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with our_server(options.model, options.socket_dtype, folder / "ours.log") as server:
            ours = carried(server, "ours", options.socket_seconds, options.lag_ms, folder, say)
        files = SherpaModel(material.sherpa)
        with sherpa_server(files, "int8", cores, folder / "sherpa.log") as server:
            sherpa = carried(server, "sherpa-int8", options.socket_seconds, options.lag_ms, folder, say)
    say(f"sockets that all speak, p99 of the lag below {options.lag_ms:g} ms: ours {ours}, sherpa-onnx int8 {sherpa}")
    return {"ours_sockets": ours, "sherpa_int8_sockets": sherpa,
            "ratio_sockets_sherpa_int8": round(ours / sherpa, 2) if sherpa else None}


def _aloud(line: str) -> None:
    print(line, flush=True)


def _silent(line: str) -> None:
    pass
