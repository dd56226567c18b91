"""A whole test: maps, results.json, streams.json and the contact sheet of a model on its test sets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from samsod.config import Config
from samsod.data.decoding.images import read_truth
from samsod.data.pair_images import read_pictures
from samsod.data.sources.catalog import Pair, PairSet
from samsod.evaluation.contact_sheet import contact_sheet, write_png
from samsod.evaluation.evaluator import FINAL, evaluate, predict, to_grey
from samsod.evaluation.metrics.saliency import overall
from samsod.modeling.samsod import SaliencyModel
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.utils.files import write_text

Results = dict[str, dict[str, float]]


def run_test(model: SaliencyModel, sets: Sequence[PairSet], config: Config, output: Path) -> dict[str, Results]:
    """Tests a model on sets and writes everything below `output`.

    Args:
        model: The model; it is put in evaluation mode.
        sets: The test sets.
        config: The run's config.
        output: Folder of the results.

    Returns:
        By map name (`final`, and the streams when `test.streams`) the results of every set, and `Overall` of several.

    Raises:
        UserError: Two sets have one name, or a file of a set cannot be used.
    """
    _check_names(sets)
    model.eval()
    results: dict[str, Results] = {}
    for pairs in sets:
        with _maps_folder(output / "maps" / pairs.name) as folder:
            metrics = evaluate(model, pairs, config, config.test.streams, save=_writer(folder))
        for name, metric in metrics.items():
            results.setdefault(name, {})[pairs.name] = metric.result()
    if len(sets) > 1:
        results = {name: {**by_set, "Overall": overall(by_set)} for name, by_set in results.items()}
    if distributed.is_main():
        write_text(output / "results.json", json.dumps(results[FINAL], indent=1) + "\n")
        if config.test.streams:
            write_text(output / "streams.json", json.dumps(results, indent=1) + "\n")
        if config.test.contact_sheet:
            write_png(output / "contact_sheet.png", draw_examples(model, sets, config))
    distributed.barrier()
    return results


def draw_examples(model: SaliencyModel, sets: Sequence[PairSet], config: Config) -> np.ndarray:
    """The contact sheet: pairs spread evenly over the sets, RGB | thermal | truth | fused | RGB-only | thermal-only."""
    pairs = [pair for found in sets for pair in found.pairs]
    chosen = np.linspace(0, len(pairs) - 1, min(config.test.contact_sheet, len(pairs))).round().astype(int)
    examples = PairSet("contact sheet", tuple(pairs[i] for i in chosen))
    alone = replace(config, data=replace(config.data, workers=0))
    names, rows = config.model.modalities, []
    for pair, maps in predict(model, examples, alone, streams=True, sharded=False):
        truth = read_truth(pair.ground_truth)
        grey = {name: to_grey(values, truth.shape, config.test.normalize_maps) for name, values in maps.items()}
        images = [
            *read_pictures(pair.images, config.data).values(),
            truth.astype(np.uint8) * 255,
            grey[FINAL],
            *(grey.get(name) for name in pair.images),
        ]
        rows.append((pair.stem, images))
    return contact_sheet(rows, [*names, "truth", "fused", *(f"{name}-only" for name in names)])


@contextmanager
def _maps_folder(folder: Path) -> Iterator[Path]:
    """A folder that all ranks fill and that gets its name, in place of an older one, only when all are done."""
    partial = folder.with_name(f".{folder.name}.partial")
    if distributed.is_main():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    distributed.barrier()
    try:
        yield partial
        distributed.barrier()
        if distributed.is_main():
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    finally:
        if distributed.is_main():
            shutil.rmtree(partial, ignore_errors=True)


def _writer(folder: Path) -> Callable[[Pair, np.ndarray], None]:
    return lambda pair, grey: write_png(folder / f"{pair.stem}.png", grey)


def _check_names(sets: Sequence[PairSet]) -> None:
    names = [pairs.name for pairs in sets]
    if not names:
        raise UserError("data.test: lists no data set")
    for name in names:
        if names.count(name) > 1 or name == "Overall":
            raise UserError(f"data.test: the name {name!r} is taken; give each data set a name of its own")
