"""What marks and written numbers cost a final: `python -m benchmarks punctuation`."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

SAID = "明天下午三点半在会议室开会讨论新闻和预算数据增长了百分之三十五请张伟上午十点到报告厅来一下"
NO_NUMBERS = "请张伟到报告厅来和大家讨论新闻和预算我们觉得这个项目非常重要"
LENGTHS = (20, 100)
BATCHES = (1, 8)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks punctuation", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["demo", "random", "realtime"],
                        help="names, or `realtime`: random weights in the streaming model's sizes (default: all three)")
    parser.add_argument("--piece", type=int, default=20, help="words read at a time (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=15, help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(argv)
    import torch

    torch.set_num_threads(options.threads)
    rows = [row for name in options.models for row in _marks(name, options.piece, options.repeats)]
    rows += _numbers(options.repeats)
    if options.json:
        print(json.dumps({"threads": options.threads, "rows": rows}, ensure_ascii=False))
        return 0
    for row in rows:
        print(f"{row['what']:<34} {row['tokens']:>4} tokens, batch {row['batch']}: {row['ms_a_final']:8.2f} ms a final "
              f"(process time {row['cpu_ms_a_final']:.2f})")
    return 0


def _marks(name: str, piece: int, repeats: int) -> list[dict[str, object]]:
    from stream_server.models.punctuation_architecture import CT_PUNC_REALTIME
    from stream_server.models.punctuation_checkpoint import load_punctuation, random_punctuation_model
    from stream_server.speech.punctuated import Words

    before = _resident_mb()
    model = random_punctuation_model(CT_PUNC_REALTIME) if name == "realtime" else load_punctuation(name)
    punctuator = model.punctuator(piece)
    rows = []
    for tokens in LENGTHS:
        for batch in BATCHES:
            texts = [Words(list((SAID * 5)[place : place + tokens])) for place in range(batch)]
            rows.append(_row(f"marks, {name}", tokens, batch, repeats, lambda texts=texts: punctuator.step(texts)))
    rows[0]["resident_mb"] = _resident_mb() - before
    return rows


def _numbers(repeats: int) -> list[dict[str, object]]:
    from stream_server.speech.written import Writer

    before = _resident_mb()
    writer = Writer()
    texts = {"a third of the text": SAID, "none": NO_NUMBERS, "nothing else": "一三八零五七二九四六一"}
    rows = [
        _row(f"numbers, {kind}", tokens, 1, repeats, lambda text=(text * 10)[:tokens]: writer.write(text))
        for kind, text in texts.items()
        for tokens in LENGTHS
    ]
    rows[0]["resident_mb"] = _resident_mb() - before
    return rows


def _row(what: str, tokens: int, batch: int, repeats: int, run: Callable[[], object]) -> dict[str, object]:
    run()
    wall, cpu = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return {
        "what": what, "tokens": tokens, "batch": batch,
        "ms_a_final": round(1000 * statistics.median(wall) / batch, 3),
        "cpu_ms_a_final": round(1000 * statistics.median(cpu) / batch, 3),
    }


def _resident_mb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // 2**20
