"""Fetch a model from the hub: safetensors, configuration and tokenizer; never pickled weights."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ftx import Artifact, Context, FtxError
from ftx.sources import HUB, MODEL_FILES, read_model_folder
from ftx_plugins.checkpoint import quiet_transformers
from ftx_plugins.model.hooks import HubConfig


def run(config: HubConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Copy the model's files into the store. Returns `files` and `bytes`; the commit goes into the manifest."""
    name = config.name.removeprefix(HUB)
    snapshot = download(name, config.revision, "model", allow_code=context.model.trust_remote_code)
    for path in sorted(snapshot.iterdir()):
        if path.is_file():
            shutil.copyfile(path, context.out / path.name)
    read_model_folder(context.out, context.model.task)  # refuses what could never be loaded
    context.describe(name=config.name, revision=config.revision, commit=snapshot.name)
    files = list(context.out.iterdir())
    return {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}


def download(name: str, revision: str, table: str, *, allow_code: bool, setting: str = "name") -> Path:
    """The snapshot in the hub's own cache, whose folder is named by the commit; fetched where it is not there yet.

    `table` and `setting` are where the user wrote the name.
    """
    asked = f"{table}.{setting}"
    patterns = [pattern for pattern in MODEL_FILES if allow_code or pattern != "*.py"]
    try:
        with quiet_transformers():
            return Path(
                snapshot_download(
                    name,
                    revision=revision,
                    allow_patterns=patterns,
                    ignore_patterns=["*/*", "*.onnx"],
                )
            )
    except GatedRepoError as error:
        raise FtxError(f"the model {name} is gated", "ask for access on its page, then: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise FtxError(
            f"there is no model {name!r} on the hub (or it is private), and no such folder",
            f"correct {asked}, or give a folder",
        ) from error
    except RevisionNotFoundError as error:
        raise FtxError(
            f"the model {name} has no revision {revision!r}", f"correct the revision in [{table}]"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise FtxError(
            f"the model {name} could not be fetched: the hub cannot be reached, and the local cache lacks it",
            f"check the network, or give a folder: --set {asked}=DIR",
        ) from error
