"""Whether data sets that were moved, and the file an encoder comes from, are still the same."""

from __future__ import annotations

import functools
from pathlib import Path

from samsod.config import Config
from samsod.data.sources.catalog import look_up, pairs_id
from samsod.utils.errors import UserError

_known: dict[str, str] = {}


def data_digest(config: Config) -> str:
    """The `pairs_id` of all sets a config lists; empty when one is not there.

    Looked up once for each list of sets, as rows of a table share theirs.
    """
    data = config.data
    key = f"{data} {config.model.modalities}"
    if key not in _known:
        try:
            items = (*data.train, *data.val, *data.test)
            _known[key] = pairs_id([look_up(item, data.root, config.model.modalities).whole for item in items])
        except UserError:
            return ""
    return _known[key]


def encoder_digest(config: Config) -> str:
    """The SHA-256 of the file that encoder and decoder start from; empty when there is none."""
    path = Path(config.model.base)
    if not config.model.base or not path.exists():
        return ""
    return _digest(path, path.stat().st_mtime_ns, path.stat().st_size)


@functools.cache
def _digest(path: Path, changed: int, size: int) -> str:
    """Of a file of many rows, read once as long as it is not written anew."""
    from samsod.utils.weights_folder import weights_digest  # brings PyTorch along, and faults in a plan need none

    return weights_digest(path)
