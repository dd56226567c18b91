"""Runs a model over a set: every image once over all ranks, scored at the ground truth's size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch

from samsod.config import Config
from samsod.data.dataset import PairDataset
from samsod.data.decoding.images import cv2, read_truth
from samsod.data.loader import eval_loader
from samsod.data.sources.catalog import Pair, PairSet
from samsod.evaluation.metrics.saliency import ImageScores, SaliencyMetrics, overall, score_image
from samsod.modeling.samsod import Prediction, SaliencyModel
from samsod.utils import distributed
from samsod.utils.precision import autocast
from samsod.utils.progress import progress
from samsod.utils.threads import in_threads

FINAL = "final"
"""The final prediction, sigmoid of the sum of all streams; the others go by the stream's name."""

Maps = dict[str, np.ndarray]


def predict(
    model: SaliencyModel, pair_set: PairSet, config: Config, streams: bool = False, sharded: bool = True
) -> Iterator[tuple[Pair, Maps]]:
    """Predicts a set, or this rank's share of it.

    Args:
        model: The model, in evaluation mode.
        pair_set: The set.
        config: The run's config.
        streams: Also give the maps of the single streams.
        sharded: Every rank its share; else this rank all.

    Yields:
        The pair and its maps by name, float32 `[S,S]` in 0-1 at the model's input size.
    """
    dataset = PairDataset([pair_set], config.model.image_size, config.data, augment=False, seed=config.seed)
    rank, world_size = (distributed.rank(), distributed.world_size()) if sharded else (0, 1)
    device = next(model.parameters()).device
    on_gpu = device.type == "cuda"
    loader = eval_loader(dataset, config.test.batch_size, rank, world_size, config.data.workers, on_gpu)
    for batch in loader:
        images = {name: batch[name].to(device) for name in model.modalities}
        with torch.inference_mode(), autocast(device, config.engine.precision):
            maps = stream_maps(model(images), streams)
        for row, index in enumerate(batch["index"].tolist()):
            yield pair_set.pairs[index], {name: values[row] for name, values in maps.items()}


def stream_maps(prediction: Prediction, streams: bool) -> Maps:
    """The final saliency maps, and with `streams` those of each stream, `[B,S,S]` in 0-1."""
    maps = {FINAL: prediction.saliency()}
    if streams:
        maps |= {name: logits.float().sigmoid() for name, logits in prediction.streams.items()}
    return {name: values[:, 0].cpu().numpy() for name, values in maps.items()}


def to_grey(saliency: np.ndarray, shape: tuple[int, ...], normalize: bool) -> np.ndarray:
    """A saliency map in 0-1 as the 8-bit picture of `shape` that is saved and scored.

    Args:
        saliency: `[S,S]` in 0-1.
        shape: Height and width of the picture.
        normalize: Stretch it from its own minimum and maximum to 0-255; a constant map stays as it is.
    """
    resized = cv2.resize(saliency, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    low, high = float(resized.min()), float(resized.max())
    if normalize and high > low:
        resized = (resized - low) / (high - low)
    return np.rint(resized * 255).astype(np.uint8)


def evaluate(
    model: SaliencyModel,
    pair_set: PairSet,
    config: Config,
    streams: bool = False,
    weighted_f: bool = True,
    save: Callable[[Pair, np.ndarray], None] | None = None,
) -> dict[str, SaliencyMetrics]:
    """Scores a model on a set; the same result on every rank.

    As many threads as `data.workers` score and save beside the forward pass, and no map has to be copied to another
    process; the result does not depend on them.

    Args:
        model: The model, in evaluation mode.
        pair_set: The set.
        config: The run's config.
        streams: Also score the single streams.
        weighted_f: Compute the weighted F-measure, which takes longest.
        save: Called with every pair and its final map, uint8 at the ground truth's size; in another thread, unless
            `data.workers` is 0.

    Returns:
        Metrics by map name.
    """
    metrics: dict[str, SaliencyMetrics] = {}
    predictions = predict(model, pair_set, config, streams)
    share = len(range(distributed.rank(), len(pair_set.pairs), distributed.world_size()))

    def score(predicted: tuple[Pair, Maps]) -> dict[str, ImageScores]:
        return _score(*predicted, config.test.normalize_maps, weighted_f, save)

    with closing(in_threads(score, predictions, config.data.workers, "scoring")) as scored:
        for scores in progress(scored, share, f"testing {pair_set.name}"):
            for name, image in scores.items():
                metrics.setdefault(name, SaliencyMetrics(weighted_f)).extend([image])
    return _gather(metrics, weighted_f)


def _score(
    pair: Pair, maps: Maps, normalize: bool, weighted_f: bool, save: Callable[[Pair, np.ndarray], None] | None
) -> dict[str, ImageScores]:
    """Scores by map name."""
    truth = read_truth(pair.ground_truth)
    scores = {}
    for name, saliency in maps.items():
        grey = to_grey(saliency, truth.shape, normalize)
        scores[name] = score_image(grey, truth, weighted_f)
        if save and name == FINAL:
            save(pair, grey)
    return scores


def _gather(metrics: dict[str, SaliencyMetrics], weighted_f: bool) -> dict[str, SaliencyMetrics]:
    """The metrics of all ranks together."""
    merged: dict[str, SaliencyMetrics] = {}
    for shard in distributed.gather_objects({name: metric.images for name, metric in metrics.items()}):
        for name, images in shard.items():
            merged.setdefault(name, SaliencyMetrics(weighted_f)).extend(images)
    return merged


def validate(model: SaliencyModel, sets: Sequence[PairSet], config: Config) -> dict[str, float]:
    """Scores of the final prediction over several sets together, without the weighted F-measure."""
    quick = replace(
        config, test=replace(config.test, batch_size=max(1, config.train.batch_size // distributed.world_size()))
    )
    results = {str(i): evaluate(model, pairs, quick, weighted_f=False)[FINAL].result() for i, pairs in enumerate(sets)}
    return overall(results)
