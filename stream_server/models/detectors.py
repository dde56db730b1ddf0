"""Where the networks of voice activity detection lie: directories, and what the hub has by name.

`python -m stream_server.models.detectors HUB_ID` fetches one and says where it lies, so that the process which wants
it loads neither the hub's package nor torch.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from stream_server.errors import ModelError
from stream_server.models import hub
from stream_server.speech.detectors import SILERO

HUB_IDS = {"fsmn-vad": "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"}
"""Short names, as FunASR has them."""

FILES = "config.yaml, model.pt and am.mvn"


def locate(models: Sequence[str]) -> tuple[str, ...]:
    """Each of `models` as `speech.detectors.load` takes it: a directory, fetched where need be, or `silero`.

    Raises ModelError where one is none of these, cannot be fetched, or a second of its kind.
    """
    places = tuple(model if model == SILERO else _directory(model) for model in models)
    if len({place == SILERO for place in places}) < len(places):
        raise ModelError(f"vad-model {' '.join(models)}: two of one kind; needed one FSMN-VAD, silero, or both")
    return places


def _directory(model: str) -> str:
    if Path(model).is_dir():
        return str(Path(model).resolve())
    hub_id = HUB_IDS.get(model, model)
    if not hub.looks_like_hub_id(hub_id):
        raise ModelError(f"vad-model {model}: no such directory; needed one, a hub id (owner/name), "
                         f"{', '.join(HUB_IDS)} or {SILERO}")
    fetching = subprocess.run([sys.executable, "-m", __name__, hub_id], stdout=subprocess.PIPE, text=True)
    if fetching.returncode:
        raise ModelError(f"vad-model {model} cannot be had; see above")
    return fetching.stdout.splitlines()[-1]


def main() -> int:
    """Fetches the one that is named; its directory is the last line of standard output."""
    try:
        print(hub.download(sys.argv[1], FILES))
    except ModelError as error:
        print(f"stream-server: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
