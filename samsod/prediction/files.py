"""Prediction of many files: read, predicted and written at the same time, each once over the ranks."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from samsod.data.pair_images import read_pictures
from samsod.data.pictures import to_saliency
from samsod.modeling.samsod import FINAL, Maps, check_finite
from samsod.prediction.folder import PredictionFolder
from samsod.prediction.predictor import Predictor, Scene
from samsod.prediction.scenes import SceneFiles, find_scenes
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.utils.files import check_writable, locked
from samsod.utils.progress import progress
from samsod.utils.threads import in_threads
from samsod.utils.weights_folder import weights_digest


class Summary(NamedTuple):
    """How many images were predicted now and were there before, and a line for each fault that left some out."""

    predicted: int
    there: int
    left_out: list[str]


class _Predicted(NamedTuple):
    files: SceneFiles
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

    Under torchrun every rank predicts its share. No more than a few batches are in memory.

    Args:
        predictor: The model.
        checkpoint: Its file or folder: maps of another do not mix with its own.
        sources: By modality where the images are; see `find_scenes`.
        folder: Where everything goes.
        threads: How many read, and how many write, beside the network; 0: neither, all in this thread.
        skip_bad: Leave out files that cannot be read or lack a partner, instead of stopping at the first.

    Raises:
        UserError: A file or folder cannot be used, on any rank; or another process works in the output folder.
        Failure: A prediction is not finite; the line names the image.
        OSError: A file cannot be written.
    """
    check_writable(folder.path)
    found = find_scenes(sources, predictor.modalities, predictor.allow_missing)
    if found.unmatched and not skip_bad:
        raise UserError(*found.unmatched)
    if not found.scenes:
        raise UserError(*found.unmatched, "nothing to predict: no image has all its partners")
    settings = {
        "checkpoint": weights_digest(checkpoint),
        "precision": predictor.precision,
        "sources": {name: str(Path(place).expanduser().resolve()) for name, place in sources.items()},
    }
    with ExitStack() as held:
        distributed.on_main(lambda: held.enter_context(locked(folder.path)))
        distributed.on_main(lambda: folder.prepare(settings))
        shares = distributed.agreed(lambda: _share(predictor, found.scenes, folder, threads, skip_bad))
        left_out = [*found.unmatched, *(fault for share in shares for fault in share.left_out)]
        distributed.on_main(lambda: folder.list_left_out(left_out))
    return Summary(sum(share.predicted for share in shares), sum(share.there for share in shares), left_out)


def _share(
    predictor: Predictor, scenes: list[SceneFiles], folder: PredictionFolder, threads: int, skip_bad: bool
) -> Summary:
    mine = scenes[distributed.rank() :: distributed.world_size()]
    waiting = [scene for scene in mine if not folder.is_whole(scene.stem)]
    left_out: list[str] = []

    def read(files: SceneFiles) -> tuple[SceneFiles, Scene | UserError]:
        try:
            return files, predictor.read(files.images)
        except UserError as error:
            if not skip_bad:
                raise
            return files, error

    def write(done: _Predicted) -> None:
        saliency = to_saliency(done.maps[FINAL], done.shape, predictor.config.test)
        name, path = next(iter(done.files.images.items()))
        picture = read_pictures({name: path}, predictor.config.data)[name] if folder.overlays else None
        folder.save(done.files.stem, saliency, picture)

    with ExitStack() as open_generators:

        def opened(generator: Generator) -> Generator:
            return open_generators.enter_context(closing(generator))

        scenes_read = opened(in_threads(read, waiting, threads, "reading"))
        predicted = opened(_predict(predictor, scenes_read, left_out))
        written = opened(in_threads(write, predicted, threads, "writing"))
        count = sum(1 for _ in progress(written, len(waiting), "predicting"))
    return Summary(count, len(mine) - len(waiting), left_out)


def _predict(
    predictor: Predictor, scenes: Iterable[tuple[SceneFiles, Scene | UserError]], left_out: list[str]
) -> Generator[_Predicted, None, None]:
    batch: list[tuple[SceneFiles, Scene]] = []
    for files, scene in scenes:
        if isinstance(scene, UserError):
            left_out += scene.args
            continue
        if batch and list(batch[0][1].images) != list(scene.images):
            yield from _infer(predictor, batch)
            batch = []
        batch.append((files, scene))
        if len(batch) >= predictor.batch_size:
            yield from _infer(predictor, batch)
            batch = []
    if batch:
        yield from _infer(predictor, batch)


def _infer(predictor: Predictor, batch: list[tuple[SceneFiles, Scene]]) -> Iterator[_Predicted]:
    logits = predictor.infer([scene for _, scene in batch])
    for (files, scene), maps in zip(batch, logits, strict=True):
        check_finite(maps, str(next(iter(files.images.values()))))
        yield _Predicted(files, maps, scene.shape)
