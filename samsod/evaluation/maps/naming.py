"""Folders and lists as the command line names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from samsod.evaluation.maps.files import Files
from samsod.evaluation.maps.results import name_folders
from samsod.utils.errors import UserError, nearest

KNOWN = ("prefix", "suffix")
_OPTIONS = re.compile(r"(.*?)((?:,\w+=[^,]*)+)", re.DOTALL)


def named_files(option: str, given: Sequence[str]) -> dict[str, Files]:
    """Folders by name from `NAME=DIR`, `DIR`, or either with `,prefix=TEXT` and `,suffix=TEXT` behind it.

    Args:
        option: What the command line calls them, for messages.
        given: What was given; a folder whose own name looks so may be given alone.

    Raises:
        UserError: See `name_folders`; or something else stands behind a folder, or the same twice.
    """
    plain, around = [], []
    for text in given:
        split = None if Path(text).is_dir() else _OPTIONS.fullmatch(text)
        pairs = [item.split("=", 1) for item in split[2].split(",")[1:]] if split else []
        for key, _ in pairs:
            if key not in KNOWN:
                raise UserError(f"{option} {text}: no {key!r}{nearest(key, KNOWN)}; known: {', '.join(KNOWN)}")
        if len(dict(pairs)) < len(pairs):
            raise UserError(f"{option} {text}: a prefix and a suffix at most once each")
        plain.append(split[1] if split else text)
        around.append(dict(pairs))
    folders = name_folders(option, plain)
    return {name: Files(folder, **more) for (name, folder), more in zip(folders.items(), around, strict=True)}
