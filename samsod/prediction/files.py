"""Prediction of many files or of videos: read, predicted and written at the same time, each once over the ranks."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from samsod.data.pictures import to_saliency
from samsod.prediction.folder import PredictionFolder
from samsod.prediction.items import Item, Items
from samsod.prediction.predictor import Predictor
from samsod.prediction.scene_pictures import SIDE_BY_SIDE, read_look
from samsod.prediction.scene_predictor import Scene
from samsod.prediction.scenes import find_items
from samsod.utils import distributed
from samsod.utils.errors import UserError, shown
from samsod.utils.files import check_writable, expanded
from samsod.utils.maps import FINAL, Maps, check_finite
from samsod.utils.progress import progress
from samsod.utils.threads import Stages, behind, in_threads, taken_ahead
from samsod.utils.weights_folder import weights_digest


class Summary(NamedTuple):
    """How many images were predicted now and were there before, and a line for each fault that left some out."""

    predicted: int
    there: int
    left_out: list[str]


class _Predicted(NamedTuple):
    item: Item
    maps: Maps
    shape: tuple[int, int]


def predict_files(
    predictor: Predictor,
    checkpoint: str | Path,
    sources: Mapping[str, str],
    folder: PredictionFolder,
    threads: int = 2,
    skip_bad: bool = False,
) -> Summary:
    """Predicts files into a folder, which is held meanwhile; what an earlier run finished there stays.

    Under torchrun every rank predicts its share. No more than a few batches are in memory. What is unusual about the
    files is said on stderr.

    Args:
        predictor: The model.
        checkpoint: Its file or folder: maps of another do not mix with its own.
        sources: By modality where the images are; see `find_items`.
        folder: Where everything goes.
        threads: How many read, and how many write, beside the network; 0: neither, all in this thread.
        skip_bad: Leave out files that cannot be read or lack a partner, instead of stopping at the first.

    Raises:
        UserError: A file or folder cannot be used, on any rank; or another process works in the output folder.
        Failure: A prediction is not finite; the line names the image.
        OSError: A file cannot be written.
    """
    check_writable(folder.path)
    items = find_items(sources, predictor.modalities, predictor.allow_missing)
    if items.unmatched and not skip_bad:
        raise UserError(*items.unmatched)
    if next(items.stems(), None) is None:
        raise UserError(*items.unmatched, "nothing to predict: no image has all its partners")
    for note in items.notes if distributed.is_main() else ():
        print(f"note: {shown(note)}", file=sys.stderr, flush=True)
    settings = {
        "checkpoint": weights_digest(checkpoint),
        "precision": predictor.precision,
        "sources": {name: str(expanded(place).resolve()) for name, place in sources.items()},
    }
    with distributed.held(folder.path):
        distributed.on_main(lambda: folder.prepare(settings))
        shares = distributed.agreed(lambda: predict_share(predictor, items, folder, threads, skip_bad))
        left_out = [*items.unmatched, *(fault for share in shares for fault in share.left_out)]
        distributed.on_main(lambda: folder.list_left_out(left_out))
    return Summary(sum(share.predicted for share in shares), sum(share.there for share in shares), left_out)


def predict_share(
    predictor: Predictor, items: Items, folder: PredictionFolder, threads: int, skip_bad: bool
) -> Summary:
    """Predicts this rank's share of the items into a folder that is prepared; see `predict_files`."""
    rank, ranks = distributed.rank(), distributed.world_size()
    there = 0
    left_out: list[str] = []

    def is_wanted(index: int, stem: str) -> bool:
        nonlocal there
        mine = index % ranks == rank
        whole = mine and folder.is_whole(stem)
        there += whole
        return mine and not whole

    def read(item: Item) -> tuple[Item, Scene | UserError]:
        try:
            return item, _read(predictor, item)
        except UserError as error:
            if not skip_bad:
                raise
            return item, error

    def write(done: _Predicted) -> None:
        saliency = to_saliency(done.maps[FINAL], done.shape, predictor.config.test)
        whole = SIDE_BY_SIDE in folder.pictures
        look = read_look(done.item, items.modalities, predictor.config.data, whole) if folder.pictures else None
        folder.save(done.item.stem, saliency, look)

    total = sum(is_wanted(index, stem) for index, stem in enumerate(items.stems()))
    there = 0
    with Stages() as stages:
        waiting = stages.add(taken_ahead(items.read(is_wanted), threads, "decoding"))
        scenes_read = stages.add(in_threads(read, waiting, threads, "reading"))
        predicted = stages.add(_predict(predictor, scenes_read, left_out))
        written = stages.add(in_threads(write, predicted, threads, "writing"))
        count = sum(1 for _ in progress(written, total, "predicting"))
    return Summary(count, there, left_out)


def _read(predictor: Predictor, item: Item) -> Scene:
    if item.faults:
        raise UserError(*item.faults)
    try:
        return predictor.read(item.images, "--sizes any")
    except UserError as error:
        if all(isinstance(image, Path) for image in item.images.values()):  # their names are said
            raise
        raise UserError(*(f"{item.called}: {fault}" for fault in error.args)) from None


def _predict(
    predictor: Predictor, scenes: Iterable[tuple[Item, Scene | UserError]], left_out: list[str]
) -> Generator[_Predicted, None, None]:
    def usable() -> Iterator[tuple[Item, Scene]]:
        for item, scene in scenes:
            if isinstance(scene, UserError):
                left_out.extend(scene.args)
            else:
                yield item, scene

    batches = predictor.batches(usable(), lambda pair: pair[1])
    started = ((batch, predictor.start([scene for _, scene in batch])) for batch in batches)
    for batch, sent in behind(started, int(predictor.device.type != "cpu")):
        for (item, scene), maps in zip(batch, sent.read(), strict=True):
            check_finite(maps, item.called)
            yield _Predicted(item, maps, scene.shape)
