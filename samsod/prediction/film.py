"""A video of a prediction, made from the maps in its folder."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from samsod.data.decoding.images import Bytes, as_bytes
from samsod.evaluation.contact_sheet import fitted
from samsod.prediction.folder import PredictionFolder
from samsod.prediction.items import Item
from samsod.prediction.predictor import Predictor
from samsod.prediction.scene_pictures import OVERLAYS, PICTURES, SIDE_BY_SIDE, read_look
from samsod.prediction.scenes import find_items
from samsod.prediction.videos import USUAL_RATE, write_video
from samsod.utils.files import locked
from samsod.utils.progress import progress
from samsod.utils.threads import Stages, in_threads, taken_ahead


class Film(NamedTuple):
    """The video that is wanted.

    Attributes:
        path: The file; see `write_video`.
        shows: One of `PICTURES`.
        rate: Frames per second; None: as the input, or `USUAL_RATE` of images.
    """

    path: Path
    shows: str = OVERLAYS
    rate: float | None = None


def write_film(
    film: Film, predictor: Predictor, sources: Mapping[str, str], folder: PredictionFolder, threads: int = 2
) -> int:
    """Makes the video from the start, of all scenes whose maps are there; what was left out is not in it.

    The scenes are read again, drawn by threads, and encoded in their order; pictures of another size than the first
    are fitted into it. The arguments are those that `predict_files` had.

    Returns:
        How many frames it has.

    Raises:
        UserError: A file cannot be used any more, or the video cannot be encoded here.
        Failure: There is no room for it.
        OSError: It cannot be written.
    """
    items = find_items(sources, predictor.modalities, predictor.allow_missing)

    def draw(item: Item) -> Bytes:
        look = read_look(item, items.modalities, predictor.config.data, film.shows == SIDE_BY_SIDE)
        return PICTURES[film.shows](look, np.divide(folder.read_map(item.stem), 255, dtype=np.float32))

    total = sum(map(folder.has_map, items.stems()))
    with locked(folder.path), Stages() as stages:
        there = stages.add(taken_ahead(items.read(lambda _, stem: folder.has_map(stem)), threads, "decoding"))
        drawn = stages.add(in_threads(draw, (item for item in there if not item.faults), threads, "drawing"))
        shown = stages.add(_of_one_size(progress(drawn, total, "filming")))
        return write_video(film.path, shown, film.rate or items.rate or USUAL_RATE)


def _of_one_size(pictures: Iterable[Bytes]) -> Generator[Bytes, None, None]:
    shape = None
    for picture in pictures:
        shape = shape or picture.shape
        yield picture if picture.shape == shape else as_bytes(fitted(picture, shape[1], shape[0]))
