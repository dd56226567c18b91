"""A whole test: maps, results.json, streams.json and the contact sheet of a model on its test sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from samsod.config import Config
from samsod.config.data_schema import OVERALL
from samsod.data.decoding.images import read_truth
from samsod.data.pair_images import read_pictures
from samsod.data.pictures import to_grey, write_png
from samsod.data.sources.catalog import PairSet
from samsod.evaluation.contact_sheet import contact_sheet
from samsod.evaluation.evaluator import evaluate, predict
from samsod.evaluation.maps.folder import MapsFolder
from samsod.evaluation.metrics.choice import chosen_metrics
from samsod.evaluation.metrics.saliency import Results, with_overall
from samsod.modeling.samsod import SaliencyModel
from samsod.utils import distributed
from samsod.utils.errors import UserError
from samsod.utils.files import check_file_writable, write_text
from samsod.utils.maps import FINAL

RESULTS, STREAMS, SHEET = "results.json", "streams.json", "contact_sheet.png"


def run_test(model: SaliencyModel, sets: Sequence[PairSet], config: Config, output: Path) -> Results:
    """Tests a model on sets and writes everything below `output`.

    What cannot be written there is found before the work. Files under `maps/` that no test wrote stay; see
    `MapsFolder`.

    Args:
        model: The model; it is put in evaluation mode.
        sets: The test sets.
        config: The run's config.
        output: Folder of the results.

    Returns:
        By map name (`final`, and the streams when `test.streams`) the results of every set, and `Overall` of several.

    Raises:
        UserError: Two sets have one name, a file of a set cannot be used, or another file is in the way of the results.
        Failure: A prediction is not finite.
        OSError: A file cannot be written; the error names it.
    """
    _check_names(sets)
    chosen = chosen_metrics(config.test.metrics, "test.metrics")
    folders = [MapsFolder(output / "maps" / found.name, [pair.stem for pair in found.pairs]) for found in sets]
    results: Results = {}
    try:
        distributed.on_main(lambda: _prepare(output, folders))
        model.eval()
        for found, folder in zip(sets, folders, strict=True):
            metrics = evaluate(model, found, config, config.test.streams, chosen, folder.save)
            distributed.on_main(folder.publish)
            for name, metric in metrics.items():
                results.setdefault(name, {})[found.name] = metric.result()
        results = {name: with_overall(by_set) for name, by_set in results.items()}
        distributed.on_main(lambda: _write(model, sets, config, output, results))
    finally:
        if distributed.is_main():
            for folder in folders:
                folder.discard()
    return results


def draw_examples(model: SaliencyModel, sets: Sequence[PairSet], config: Config) -> np.ndarray:
    """The contact sheet, of pairs spread evenly over the sets.

    Its columns: the image of every modality, the truth, the final map and, when there are several, that of each stream.
    """
    pairs = [pair for found in sets for pair in found.pairs]
    chosen = np.linspace(0, len(pairs) - 1, min(config.test.contact_sheet, len(pairs))).round().astype(int)
    examples = PairSet("contact sheet", tuple(pairs[i] for i in chosen))
    alone = replace(config, data=replace(config.data, workers=0))
    rows: list[tuple[str, list[np.ndarray | None]]] = []
    titles: list[str] = []
    with closing(predict(model, examples, alone, streams=True, sharded=False)) as predictions:
        for pair, maps, _ in predictions:
            pictures = read_pictures(pair.images, config.data, config.test.shift)
            truth = read_truth(pair.ground_truth)
            streams = [name for name in maps if name != FINAL]
            shown = [FINAL, *(streams if len(streams) > 1 else [])]
            greys = [to_grey(maps[name], truth.shape, config.test) for name in shown]
            rows.append((pair.stem, [*pictures.values(), truth.astype(np.uint8) * 255, *greys]))
            titles = [*pictures, "truth", *(f"{name} alone" if name in pictures else name for name in shown)]
    return contact_sheet(rows, titles)


def _prepare(output: Path, folders: Sequence[MapsFolder]) -> None:
    """Finds before the work what cannot be written."""
    for name in (RESULTS, STREAMS, SHEET):
        check_file_writable(output / name)
    for folder in folders:
        folder.prepare()


def _write(model: SaliencyModel, sets: Sequence[PairSet], config: Config, output: Path, results: Results) -> None:
    write_text(output / RESULTS, json.dumps(results[FINAL], indent=1) + "\n")
    if config.test.streams:
        write_text(output / STREAMS, json.dumps(results, indent=1) + "\n")
    if config.test.contact_sheet:
        write_png(output / SHEET, draw_examples(model, sets, config))


def _check_names(sets: Sequence[PairSet]) -> None:
    names = [pairs.name for pairs in sets]
    if not names:
        raise UserError("data.test: lists no data set")
    for name in names:
        if names.count(name) > 1 or name == OVERALL:
            raise UserError(f"data.test: the name {name!r} is taken; give each data set a name of its own")
