"""Weights in strangers' files: read without running code, and loaded strictly."""

from __future__ import annotations

import hashlib
import itertools
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samsod.utils.errors import UserError, check_installed

_BEFORE_1_6 = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number that files of PyTorch before 1.6, pickles one after the other, begin with."""

SHOWN = 8
"""How many keys of a kind a message names."""


def read_tensors(path: str | Path, expected: str, mapped: bool = False) -> Any:
    """What a PyTorch file holds, of plain types and tensors alone, on the CPU.

    Args:
        path: The file.
        expected: What it should have been, for the message.
        mapped: Whether the tensors are to stay in the file, for one that is copied from and let go of. (Files of
            PyTorch before 1.6 are read whole all the same.)

    Raises:
        UserError: One line: no such file, or truncated, or with bytes that changed since it was written, or not of
            PyTorch's, or it would run code.
    """
    try:
        _check_bytes(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected {expected}") from None
    except (IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; expected {expected}") from None
    except Exception as error:
        raise UserError(f"{path}: damaged, or no checkpoint ({_reason(error)}); expected {expected}") from None


def read_safetensors(path: str | Path, expected: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU, by an optional extra; messages say what was `expected`.

    Raises:
        UserError: One line: no such file, truncated, of another format, or safetensors is not installed.
    """
    import_safetensors(path, "read")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with Path(path).open("rb"):  # of a file that may not be read load_file says that there is none
            return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected {expected}") from None
    except (IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; expected {expected}") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged, or no safetensors file ({error}); expected {expected}") from None


def import_safetensors(path: str | Path, purpose: str) -> None:
    """Raises UserError when safetensors, an optional extra, is not installed; to `read` or `write` a file."""
    check_installed(f"{path}: to {purpose} it samsod", "'samsod[weights]'", "safetensors")


def _check_bytes(path: str | Path) -> None:
    """Raises ValueError for a file of another format, or cut off, or with a part that is not what its checksum says.

    PyTorch does not look at the checksums, and takes any other file for a pickle.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            if changed := file.testzip():
                raise ValueError(f"its part {changed} fails its checksum")
        return
    with Path(path).open("rb") as file:
        head = file.read(32)
    if head.startswith(b"PK"):
        raise ValueError("it is cut off")
    if _BEFORE_1_6 not in head:
        raise ValueError(f"not PyTorch's format: it begins with {head!r}" if head else "it is empty")


def _reason(error: Exception) -> str:
    """What is wrong, in a few words; PyTorch's own are about how to run a pickle's code all the same."""
    if found := re.search(r"\bGLOBAL (\S+)", str(error)):
        return f"to read it is to run {found[1]}; only tensors and plain values are read"
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file.

    Raises:
        UserError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(1 << 24):
                digest.update(chunk)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def model_digest(model: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, frozen ones and those that are not saved too."""
    return tensors_digest(itertools.chain(model.named_parameters(), model.named_buffers()))


def tensors_digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 of tensors and their names, in the order in which they come."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def copy_strictly(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], misfit: str) -> None:
    """Copies `state` into the tensors `wanted`.

    Raises:
        UserError: One line, `misfit` and the keys that are missing, unexpected or of another shape; nothing is copied.
    """
    missing = sorted(wanted.keys() - state.keys())
    unexpected = sorted(state.keys() - wanted.keys())
    reshaped = [
        f"{key} is {list(state[key].shape)}, expected {list(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    faults = [f"{len(keys)} {kind} ({shown_keys(keys)})" for kind, keys in kinds.items() if keys]
    if faults:
        raise UserError(f"{misfit}: {'; '.join(faults)}")
    with torch.no_grad():
        for key, value in wanted.items():
            value.copy_(state[key])


def shown_keys(keys: Sequence[str]) -> str:
    """The first few keys, and how many more there are."""
    more = f", and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
