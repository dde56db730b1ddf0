"""Make the demonstration model of the second pass: `python -m recipes.seaco`.  Run again after a stop, it goes on."""

import argparse
from pathlib import Path

import torch

from recipes.demo import speech
from recipes.demo.features import read_normalisation
from recipes.seaco import evaluate, finding, heard, hearing
from recipes.seaco.export import export
from recipes.seaco.names import kept_names
from recipes.seaco.network import STREAMING, architecture
from recipes.seaco.segments import SegmentBatches
from recipes.seaco.sounds import vocabulary_sounds
from stream_server.models.offline_checkpoint import load_offline_directory

HUB = STREAMING.parent / "demo-seaco"
EVALUATION_SEED = 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m recipes.seaco", description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("build/demo"), help="made if absent (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("build/seaco"), help="checkpoints (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=HUB, help="hub directory to write (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="for the synthesis (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the training (default: %(default)s)")
    parser.add_argument("--utterances", type=int, default=500, help="held out, to measure on (default: %(default)s)")
    parser.add_argument("--only-evaluate", action="store_true", help="measure what is in --output")
    return parser.parse_args()


def _make(arguments: argparse.Namespace) -> None:
    """Synthesise, learn to hear, learn to find hotwords, export."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.corpus.mkdir(parents=True, exist_ok=True)
    corpus = speech.make_corpus(arguments.corpus, arguments.processes)
    normalisation = read_normalisation(STREAMING / "am.mvn")
    network = hearing.train(arguments.work, corpus, normalisation)
    source = SegmentBatches(corpus, normalisation, hearing.Plan().seconds, heard.SEED, shuffle=True)
    known, search = heard.make_heard(arguments.work / "heard.pt", network, source), finding.Plan()
    gap = architecture().bias.kernel // 2
    sounds = vocabulary_sounds()
    lookouts = finding.Lookouts(known, sounds, kept_names(sounds), search.rows, gap)
    state = finding.train(arguments.work, network, lookouts, search)
    export(arguments.output, state.average, normalisation)


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if not arguments.only_evaluate:
        _make(arguments)
    sounds = vocabulary_sounds()
    cases = evaluate.all_cases(arguments.utterances, EVALUATION_SEED, sounds, kept_names(sounds))
    recogniser = evaluate.Recogniser(load_offline_directory(arguments.output))
    print(evaluate.table({name: recogniser.score(part) for name, part in cases.items()}))


if __name__ == "__main__":
    main()
