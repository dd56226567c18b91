"""What an exported file says of itself: what goes in, what comes out, and what is left to the caller.

It is text by key, as ONNX's metadata is. Nothing here needs PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from samsod.config import Config, stored_config
from samsod.data import imagenet
from samsod.data.sources.modalities import settings_of
from samsod.utils.errors import UserError

FORMAT = "samsod-export-1"
OPSET = 20
"""Version of ONNX's operators; the first that has GELU."""
LOGITS, SALIENCY = "logits_", "saliency_"
"""What the names of the outputs begin with; then comes `final` or a stream's name."""

_READING = ("scale", "range", "invert", "missing", "fill")


class Contract(NamedTuple):
    """What a program needs to know of an exported file.

    Attributes:
        config: The training's: how images are read, the side of the input, and how maps are made.
        modalities: Names of the inputs, the reference first.
        maps: `final` and the streams, of each of which there are two outputs.
    """

    config: Config
    modalities: tuple[str, ...]
    maps: tuple[str, ...]


def output_names(maps: Iterable[str]) -> list[str]:
    """The outputs in their order, of maps by name: the saliency of each, then the logits of each."""
    names = list(maps)
    return [f"{kind}{name}" for kind in (SALIENCY, LOGITS) for name in names]


def metadata_of(contract: Contract, origin: Mapping[str, Any]) -> dict[str, str]:
    """What is written into the file, text by key; see docs/export.md.

    The origin is the checkpoint it comes from: file, SHA-256, step, versions.

    Raises:
        UserError: A modality's name is that of an output.
    """
    config, size = contract.config, contract.config.model.image_size
    outputs = output_names(contract.maps)
    if taken := set(outputs) & set(contract.modalities):
        raise UserError(f"the modality {taken.pop()!r} is called as an output is; it cannot be exported")
    parts = {
        "inputs": {name: _input(name, config) for name in contract.modalities},
        "outputs": {
            name: {"shape": ["batch", 1, size, size], "type": "float32", "is": _meaning(name)} for name in outputs
        },
        "left_to_the_caller": _left(config),
        "maps": contract.maps,
        "opset": OPSET,
        "origin": origin,
        "config": asdict(config),
    }
    return {"samsod.format": FORMAT, **{f"samsod.{key}": json.dumps(value) for key, value in parts.items()}}


def read_metadata(metadata: Mapping[str, str], path: object) -> Contract:
    """What the metadata of a file says.

    Raises:
        UserError: It is none of tools/export.py, or of another format.
    """
    form = metadata.get("samsod.format")
    if form != FORMAT:
        found = f", but {form}" if form else ""
        raise UserError(f"{path}: not an exported model of the format {FORMAT}{found}; expected one of tools/export.py")
    try:
        inputs, maps, config = (json.loads(metadata[f"samsod.{key}"]) for key in ("inputs", "maps", "config"))
        return Contract(stored_config(config, str(path)), tuple(inputs), tuple(maps))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: its metadata is altered or damaged ({error})") from None


def _input(name: str, config: Config) -> dict[str, Any]:
    settings, size = settings_of(name, config.data), config.model.image_size
    plain: Sequence[float] = (0.0, 0.0, 0.0)
    return {
        "shape": ["batch", 3, size, size],
        "type": "float32",
        "channels": "red, green, blue; of one channel three equal ones",
        "reading": {key: getattr(settings, key) for key in _READING},
        "resize": "8 bits to the square: bilinear, antialiased, rounded to whole numbers after each axis",
        "divide_by": 255,
        "subtract": imagenet.MEAN if settings.normalize else plain,
        "then_divide_by": imagenet.STD if settings.normalize else (1.0, 1.0, 1.0),
    }


def _meaning(name: str) -> str:
    if name.startswith(SALIENCY):
        return f"sigmoid of {LOGITS}{name.removeprefix(SALIENCY)}, in 0-1, not resized"
    if name == f"{LOGITS}final":
        return "the sum of the logits of all streams"
    return f"what the stream {name.removeprefix(LOGITS)} predicts alone"


def _left(config: Config) -> list[str]:
    """What `to_saliency` does to a map, as steps."""
    resize = "resize {} bilinearly, half-pixel centres, to the size of the first modality's image"
    if config.test.resize == "logits":
        steps = [resize.format("logits_*"), "take the sigmoid"]
    else:
        steps = [resize.format("saliency_*")]
    stretch = "stretch each map from its own minimum and maximum to 0-1, unless it is constant"
    return [*steps, stretch] if config.test.normalize_maps else steps
