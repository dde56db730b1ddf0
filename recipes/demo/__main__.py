"""Make the demonstration model: `python -m recipes.demo`.  Run again after a stop, it goes on."""

import argparse
from pathlib import Path

import torch

from recipes.demo import batches, evaluate, speech
from recipes.demo.export import export
from recipes.demo.features import read_normalisation, write_normalisation
from recipes.demo.model import Size
from recipes.demo.recognise import Recogniser
from recipes.demo.train import Plan, train

HUB = Path(__file__).parents[2] / "stream_server" / "data" / "demo"
EVALUATION_SEED = 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m recipes.demo", description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("build/demo"), help="corpus and checkpoint (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=HUB, help="hub directory to write (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="for the synthesis (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the training (default: %(default)s)")
    parser.add_argument("--utterances", type=int, default=500, help="held out, to measure on (default: %(default)s)")
    parser.add_argument("--only-evaluate", action="store_true", help="measure what is in --output")
    return parser.parse_args()


def _make(arguments: argparse.Namespace, size: Size) -> None:
    """Synthesise, train, export."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    corpus = speech.make_corpus(arguments.work, arguments.processes)
    print(f"{len(corpus)} utterances, {len(corpus.sound) / speech.RATE / 3600:.1f} hours", flush=True)
    statistics = arguments.work / "am.mvn"
    if not statistics.exists():
        write_normalisation(statistics, *batches.normalisation(corpus))
    normalisation, plan = read_normalisation(statistics), Plan()
    source = batches.Batches(corpus, normalisation, size.size, plan.seconds)
    state = train(arguments.work, source, size, plan)
    export(arguments.output, state.average, size, normalisation)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    size = Size(vocabulary=len(batches.tokens()))
    if not arguments.only_evaluate:
        _make(arguments, size)
    rows = evaluate.report(Recogniser.load(arguments.output, size), arguments.utterances, EVALUATION_SEED)
    rows += evaluate.funasr_report(arguments.output, min(150, arguments.utterances), EVALUATION_SEED)
    print(evaluate.table(rows))


if __name__ == "__main__":
    main()
