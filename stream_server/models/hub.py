"""Models by name from ModelScope, through FunASR."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from stream_server.errors import ModelError

ALL_FILES = "config.yaml, model.pt, am.mvn and tokens.json"

HUB_IDS = {"paraformer-zh-streaming": "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-online"}
"""Short names, as FunASR has them, of models that this server can run."""


def locate(model: str, kind: str, demo: Path, hub_ids: Mapping[str, str], files: str = ALL_FILES) -> Path:
    """The directory of the model that `model` names: `demo`, a directory, one of the short names of `hub_ids`, or a
    hub id. `kind` is what such a model is called in errors. Raises ModelError where there is none."""
    if model == "demo":
        return demo
    if Path(model).is_dir():
        return Path(model)
    hub_id = hub_ids.get(model, model)
    if looks_like_hub_id(hub_id):
        return download(hub_id, files)
    known = ", ".join(["demo", "random", *hub_ids])
    raise ModelError(f"{kind} {model!r} is unknown; needed one of {known}, a directory, or a hub id such as owner/name")


def looks_like_hub_id(model: str) -> bool:
    """Whether `model` has the form owner/name."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", model) is not None


def download(hub_id: str, files: str = ALL_FILES) -> Path:
    """The directory with the hub's model, fetched unless it was before. Raises ModelError where that fails."""
    try:
        return _fetched_before(hub_id) or _fetch(hub_id)
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(
            f"model {hub_id} could not be fetched ({reason}); without a network, put {files} of "
            f"https://www.modelscope.cn/models/{hub_id} into a directory and name that"
        ) from error


def _fetched_before(hub_id: str) -> Path | None:
    # Asking the hub for news first, as FunASR does, would tie every start of the server to the network.
    from modelscope.hub.snapshot_download import snapshot_download

    try:
        directory = Path(snapshot_download(hub_id, local_files_only=True))
    except Exception:
        return None
    return directory if (directory / "model.pt").is_file() else None


def _fetch(hub_id: str) -> Path:
    # Seconds to import, and nobody else needs it.
    from funasr.download.download_model_from_hub import get_or_download_model_dir

    return Path(get_or_download_model_dir(hub_id))
