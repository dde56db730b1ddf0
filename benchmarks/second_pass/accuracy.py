"""How right the demonstration models are, first pass and second, on held-out utterances: characters and times."""

from __future__ import annotations

import numpy as np
import torch

from recipes.demo import recognise, speech, texts
from recipes.demo.batches import tokens
from recipes.demo.evaluate import distance
from recipes.demo.geometry import DEFAULT
from recipes.demo.model import Size
from stream_server.models.checkpoint import DEMO
from stream_server.models.offline_checkpoint import load_offline

SEED = 1
"""Of the held-out texts and voices; the recipes measure with the same."""

BATCH = 16


def measure(utterances: int) -> dict[str, float]:
    """`cer_first` and `cer_second`, shares of characters that are wrong, names that sound alike taken as one; and the
    median distance in ms between a character's beginning or end and espeak-ng's, where the second pass's text is
    right. Needs espeak-ng."""
    said = sorted(speech.speak_held_out(texts.held_out_texts(utterances, SEED), SEED),
                  key=lambda each: len(each.samples))
    first = recognise.Recogniser.load(DEMO, Size(vocabulary=len(tokens())))
    second = load_offline("demo")
    errors, first_errors, characters, apart = 0, 0, 0, list[float]()
    for start in range(0, len(said), BATCH):
        part = said[start : start + BATCH]
        sounds = [each.samples for each in part]
        with torch.inference_mode():
            heard = first.texts(sounds, DEFAULT)
        for one, before, result in zip(part, heard, second.network.recognise(sounds), strict=True):
            wanted, text = texts.canonical_names(one.text), "".join(second.vocabulary[id_] for id_ in result.ids)
            characters += len(one.text)
            first_errors += distance(wanted, texts.canonical_names(before))
            errors += distance(wanted, texts.canonical_names(text))
            if wanted == texts.canonical_names(text):
                apart += np.abs(np.array(result.times) - one.spans / speech.RATE * 1000).ravel().tolist()
    return {"cer_first": first_errors / characters, "cer_second": errors / characters,
            "time_error_median_ms": float(np.median(apart)), "utterances": utterances}
