"""Runs a model over a set: every image once over all ranks, scored at the ground truth's size."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from samsod.config import Config
from samsod.data.dataset import SceneDataset
from samsod.data.decoding.images import read_truth
from samsod.data.loader import Batch, eval_loader
from samsod.data.pair_images import check_sizes
from samsod.data.pictures import to_grey
from samsod.data.sources.catalog import Pair, PairSet
from samsod.evaluation.metrics.choice import QUICK, STANDARD
from samsod.evaluation.metrics.saliency import ImageScores, SaliencyMetrics, overall, score_image
from samsod.evaluation.photos import photo_reader
from samsod.modeling.samsod import SaliencyModel, SentMaps
from samsod.modeling.shortened import shortened
from samsod.utils import distributed
from samsod.utils.maps import FINAL, Maps, check_finite
from samsod.utils.precision import autocast
from samsod.utils.progress import progress
from samsod.utils.threads import Stages, behind, in_threads


class Predicted(NamedTuple):
    """A pair, its logits by map name, float32 `[S,S]` at the model's input size, and its reference's stored shape."""

    pair: Pair
    maps: Maps
    shape: tuple[int, int]


def predict(
    model: SaliencyModel, pair_set: PairSet, config: Config, streams: bool = False, sharded: bool = True
) -> Generator[Predicted, None, None]:
    """Predicts a set, or this rank's share of it; no mask is read.

    Args:
        model: The model, in evaluation mode.
        pair_set: The set, with images of the modalities it is tested with.
        config: The run's config.
        streams: Also give the maps of the single streams.
        sharded: Every rank its share; else this rank all.

    Yields:
        What was predicted, in the set's order; to be closed, which ends the loader processes.
    """
    dataset = SceneDataset(pair_set, config.model.image_size, config.data, config.test.shift)
    rank, world_size = (distributed.rank(), distributed.world_size()) if sharded else (0, 1)
    model, device = shortened(model, config.engine.precision), next(model.parameters()).device
    on_gpu = device.type == "cuda"
    given = config.tested_modalities()

    def sent_batches(loader: Iterator[Batch]) -> Iterator[tuple[Batch, SentMaps]]:
        for batch in loader:
            images = {name: batch[name].to(device, non_blocking=True) for name in given}
            with torch.inference_mode(), autocast(device, config.engine.precision):
                sent = (model(images, given) if config.test.modalities else model(images)).sent(streams)
            yield batch, sent

    with closing(eval_loader(dataset, config.test.batch_size, rank, world_size, config.data.workers, on_gpu)) as loader:
        for batch, sent in behind(sent_batches(loader), int(device.type != "cpu")):
            for index, shape, maps in zip(batch["index"].tolist(), batch["shape"].tolist(), sent.read(), strict=True):
                yield Predicted(pair_set.pairs[index], maps, tuple(shape))


def evaluate(
    model: SaliencyModel,
    pair_set: PairSet,
    config: Config,
    streams: bool = False,
    metrics: Sequence[str] = STANDARD,
    save: Callable[[str, np.ndarray], None] | None = None,
) -> dict[str, SaliencyMetrics]:
    """Scores a model on a set; the same result on every rank.

    As many threads as `data.workers` score and save beside the forward pass, and no map has to be copied to another
    process; the result does not depend on them.

    Args:
        model: The model, in evaluation mode.
        pair_set: The set.
        config: The run's config.
        streams: Also score the single streams.
        metrics: Names of the metrics to compute; those that look at the image are given the reference.
        save: Called with every pair's stem and its final map, uint8 at the ground truth's size; in another thread,
            unless `data.workers` is 0.

    Returns:
        Metrics by map name.

    Raises:
        UserError: A file of the set cannot be used, on any rank.
        Failure: A prediction is not finite, on any rank; the line names the image.
        OSError: `save` does, on any rank.
    """

    def score(predicted: Predicted) -> dict[str, ImageScores]:
        return _score(predicted, config, metrics, save)

    def share() -> dict[str, list[ImageScores]]:
        images: dict[str, list[ImageScores]] = {}
        count = len(range(distributed.rank(), len(pair_set.pairs), distributed.world_size()))
        with Stages() as stages:
            predictions = stages.add(predict(model, pair_set, config, streams))
            scored = stages.add(in_threads(score, predictions, config.data.workers, "scoring"))
            for scores in progress(scored, count, f"testing {pair_set.name}"):
                for name, image in scores.items():
                    images.setdefault(name, []).append(image)
        return images

    found: dict[str, SaliencyMetrics] = {}
    for shard in distributed.agreed(share):
        for name, images in shard.items():
            found.setdefault(name, SaliencyMetrics(metrics)).extend(images)
    return found


def _score(
    predicted: Predicted, config: Config, metrics: Sequence[str], save: Callable[[str, np.ndarray], None] | None
) -> dict[str, ImageScores]:
    """Scores by map name; the mask is read here and nowhere else."""
    pair = predicted.pair
    check_finite(predicted.maps, str(pair.reference))
    truth = read_truth(pair.ground_truth)
    if config.data.sizes == "equal" or pair.has_own_mask:
        shapes = {next(iter(pair.images)): predicted.shape, "ground_truth": truth.shape}
        check_sizes(pair.files, shapes, "data.sizes=any")
    scores: dict[str, ImageScores] = {}
    for name, logits in predicted.maps.items():
        grey = to_grey(logits, truth.shape, config.test)
        scores[name] = score_image(grey, truth, metrics, photo_reader(pair.reference, truth))
        if save and name == FINAL:
            save(pair.stem, grey)
    return scores


def validate(model: SaliencyModel, sets: Sequence[PairSet], config: Config) -> dict[str, float]:
    """Scores of the final prediction from all modalities over several sets, without the weighted F-measure.

    No modality is left out or moved, as a test may ask for. Images go one by one if the gate sees a whole batch: their
    scores would depend on how they are batched.
    """
    alone = config.model.adapter.gate_scope == "batch"
    share = 1 if alone else max(1, config.train.batch_size // distributed.world_size())
    quick = replace(config, test=replace(config.test, batch_size=share, modalities=[], shift=[]))
    results = {str(i): evaluate(model, pairs, quick, metrics=QUICK)[FINAL].result() for i, pairs in enumerate(sets)}
    return overall(results)
