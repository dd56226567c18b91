"""Weights as the Hugging Face Hub keeps them: a folder of `config.json`, `model.safetensors` and `README.md`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from samsod.utils.errors import UserError
from samsod.utils.files import check_writable, read_json, temporary_folder, write_bytes, write_text
from samsod.utils.weights import file_digest, import_safetensors, read_safetensors, tensors_digest

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
TENSORS, DIGEST = "model", "tensors_sha256"


def read_weights_folder(folder: Path, expected: str) -> dict[str, Any]:
    """What `write_weights_folder` wrote: the entries of its config.json, and as `model` the tensors.

    Messages say what was `expected`.

    Raises:
        UserError: One line: a file is missing, damaged or of another format, or safetensors is not installed.
    """
    if os.access(folder, os.X_OK) and not os.path.exists(folder / CONFIG):
        raise UserError(f"{folder}: a folder without {CONFIG}; expected {expected}")
    content = read_json(folder / CONFIG, f"that of {expected}")
    return {**content, TENSORS: read_safetensors(folder / WEIGHTS, f"that of {expected}")}


def write_weights_folder(folder: Path, content: Mapping[str, Any], card: str) -> None:
    """Writes weights to share, whole or not at all: beside the folder, and renamed when all is there.

    Args:
        folder: A new folder, or an empty one.
        content: As `model` the tensors; the rest, of JSON's types, goes into config.json, and with it the tensors'
            SHA-256: a safetensors file has no checksum.
        card: The model card, README.md.

    Raises:
        UserError: The folder is there and not empty, or cannot be written to; or safetensors is not installed.
        OSError: A file cannot be written; the error names it.
    """
    import_safetensors(str(folder), "write")
    from safetensors.torch import save

    check_free(folder)
    folder = folder.resolve()  # a link, or the folder one is in, has no name of its own to rename to
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in sorted(content[TENSORS].items())}
    described = {key: value for key, value in content.items() if key != TENSORS}
    described[DIGEST] = digest_of_tensors(tensors)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent, f".{folder.name}.partial") as partial:
        made = partial / folder.name
        made.mkdir()
        write_text(made / CONFIG, json.dumps(described, indent=1) + "\n")
        write_text(made / CARD, card)
        write_bytes(made / WEIGHTS, save(tensors, {"format": "pt"}))
        made.replace(folder)


def check_free(folder: Path) -> None:
    """Raises UserError for a folder that is there and not empty, or could not be made."""
    check_writable(folder)
    if os.path.isdir(folder) and any(folder.iterdir()):
        raise UserError(f"{folder}: is not empty; name a new folder")


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors by name, in whatever order they are."""
    return tensors_digest(sorted(tensors.items()))


def weights_file(path: str | Path) -> Path:
    """The file that holds the tensors: the path itself, or the one in a folder of weights."""
    return Path(path) / WEIGHTS if os.path.isdir(path) else Path(path)


def weights_digest(path: str | Path) -> str:
    """SHA-256 of a checkpoint's file; of a folder that of all its predictions depend on.

    Raises:
        UserError: A file cannot be read.
    """
    if not os.path.isdir(path):
        return file_digest(path)
    parts = [file_digest(Path(path) / name) for name in (CONFIG, WEIGHTS)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()
