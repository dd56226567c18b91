"""What the page to try a model asks for: its settings, examples, and predictions as pictures in JSON."""

from __future__ import annotations

import base64
import math
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samsod.data.decoding.file_bytes import jpeg_size
from samsod.data.decoding.images import Bytes
from samsod.data.pair_images import Source
from samsod.data.pictures import data_uri, encoded, quantised, shrunk
from samsod.data.sources.folders import children
from samsod.data.sources.modalities import role_of
from samsod.prediction.items import Item
from samsod.prediction.predictor import Predictor
from samsod.prediction.scene_pictures import read_look
from samsod.prediction.scenes import find_items
from samsod.utils.errors import Failure, UserError, about
from samsod.utils.maps import FINAL

MOST_EXAMPLES = 24
LARGEST = 1600
"""Pixels of the longer side of what is shown; larger pictures and maps are shrunk."""
THUMBNAIL = 240
MOST_PIXELS = 50_000_000
_PNG_START = b"\x89PNG\r\n\x1a\n"


class Refusal(UserError):
    """A request that is not answered, and the HTTP status that says why."""

    def __init__(self, status: int, *faults: str) -> None:
        super().__init__(*faults)
        self.status = status


class Demo:
    """A model on a page; safe to ask from several threads, one prediction at a time.

    Args:
        predictor: The model.
        name: What the page calls it.
        limit: Bytes an uploaded image may have.
        examples: A folder with a folder of images for each modality, named as in a data set, of which some are offered;
            None: no examples.

    Raises:
        UserError: The examples cannot be used.
    """

    def __init__(self, predictor: Predictor, name: str, limit: int, examples: Path | None = None) -> None:
        self.predictor = predictor
        self.name = name
        self.limit = limit
        self.examples = [] if examples is None else _examples(examples, predictor)
        self._turn = threading.Lock()  # predictions side by side would only slow each other, and add up in memory

    def settings(self) -> dict[str, Any]:
        """What the page is told about the model."""
        predictor = self.predictor
        return {
            "name": self.name,
            "modalities": list(predictor.modalities),
            "allow_missing": predictor.allow_missing,
            "image_size": predictor.config.model.image_size,
            "device": str(next(predictor.model.parameters()).device),
            "limit": self.limit,
            "examples": [{"stem": item.stem, "modalities": list(item.images)} for item in self.examples],
        }

    def thumbnail(self, index: int, modality: str) -> bytes:
        """A small JPEG of an example's image.

        Raises:
            Refusal: There is none.
            UserError: The file cannot be used.
        """
        if not 0 <= index < len(self.examples) or modality not in self.examples[index].images:
            raise Refusal(404, "there is no such example")
        item = self.examples[index]
        one = Item(item.stem, item.called, {modality: item.images[modality]})
        image = read_look(one, [modality], self.predictor.config.data, whole=True).reference
        return encoded(shrunk(image, THUMBNAIL, THUMBNAIL), ".jpg")

    def predict(self, wanted: Any) -> dict[str, Any]:
        """Predicts uploaded images, or an example.

        Args:
            wanted: `{"images": {modality: file in base64}}`, or `{"example": index}`.

        Returns:
            `width` and `height` of the map and `seconds` it took; data URIs of what is shown: `images` by modality, as
            the network sees them before they are resized, and `maps`, `final` and every stream's.

        Raises:
            UserError: What is wanted, or an image, cannot be used; the line is for the page's user.
            Failure: The prediction is not finite.
        """
        if not isinstance(wanted, dict) or len({"images", "example"} & wanted.keys()) != 1:
            raise Refusal(400, 'expected {"images": {...}} or {"example": number}')
        if "example" in wanted:
            index = wanted["example"]
            if type(index) is not int or not 0 <= index < len(self.examples):
                raise Refusal(404, "there is no such example")
            return self._answer(self.examples[index].images, lambda text: text)
        files = self._decoded(wanted["images"])
        with tempfile.TemporaryDirectory(prefix="samsod-page-") as folder:
            paths = {name: Path(folder) / name for name in files}
            for name, path in paths.items():
                path.write_bytes(files[name])

            def named(text: str) -> str:
                for name, path in paths.items():
                    text = text.replace(str(path), f"the {name} image")
                return text

            return self._answer(paths, named)

    def _decoded(self, images: Any) -> dict[str, bytes]:
        if not isinstance(images, dict) or not all(isinstance(text, str) for text in images.values()):
            raise Refusal(400, "images: expected a file in base64 for each modality")
        unknown = [name for name in images if name not in self.predictor.modalities]
        if unknown:
            raise Refusal(400, f"{unknown[0]}: the model takes {', '.join(self.predictor.modalities)}")
        files = {}
        for name in self.predictor.modalities:
            if name in images:
                try:
                    files[name] = base64.b64decode(images[name], validate=True)
                except ValueError:
                    raise Refusal(400, f"the {name} image: expected base64") from None
                self._check_size(name, files[name])
        return files

    def _check_size(self, name: str, data: bytes) -> None:
        if len(data) > self.limit:
            raise Refusal(413, f"the {name} image has {len(data) / 2**20:.1f} MiB; at most {self.limit / 2**20:.0f}")
        height, width = _size(data)
        if height * width > MOST_PIXELS:
            raise Refusal(413, f"the {name} image has {width}x{height} pixels; at most {MOST_PIXELS // 10**6} million")

    def _answer(self, images: Mapping[str, Source], named: Callable[[str], str]) -> dict[str, Any]:
        """`named` puts what the user calls the images in the place of paths in a message."""
        try:
            with self._turn:
                result = self.predictor.predict(**images)
            look = read_look(Item("", "", images), list(images), self.predictor.config.data, whole=True)
        except (UserError, Failure) as error:
            raise type(error)(*(named(str(fault)) for fault in error.args)) from None
        maps = {FINAL: result.saliency, **result.streams}
        return {
            "width": result.saliency.shape[1],
            "height": result.saliency.shape[0],
            "seconds": result.seconds,
            "images": {name: _uri(image, ".jpg") for name, image in look.images.items() if image is not None},
            "maps": {name: _uri(quantised(values), ".png") for name, values in maps.items()},
        }


def _examples(folder: Path, predictor: Predictor) -> Sequence[Item]:
    found = {name: children(folder, role_of(name).names)[:1] for name in predictor.modalities}
    sources = {name: str(folders[0]) for name, folders in found.items() if folders}
    lacking = [name for name in predictor.modalities if name not in sources]
    if not sources or (lacking and not predictor.allow_missing):
        names = " or ".join(role_of(lacking[0]).names[:3])
        raise about(folder, f"no folder of {lacking[0]} images in it ({names})")
    items = find_items(sources, predictor.modalities, predictor.allow_missing)
    step = math.ceil(sum(1 for _ in items.stems()) / MOST_EXAMPLES)
    return list(items.read(lambda index, _: index % step == 0))


def _size(data: bytes) -> tuple[int, int]:
    """Height and width of a PNG or JPEG, which may have far more pixels than bytes; 0 of anything else."""
    if data.startswith(_PNG_START):
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    sides = jpeg_size(data)
    return (sides[0], sides[1]) if sides else (0, 0)


def _uri(image: Bytes, ending: str) -> str:
    return data_uri(encoded(shrunk(image, LARGEST, LARGEST), ending), ending)
