"""A run on one page: results, curves, images, cost, config and how to repeat it, in one file that opens offline."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import samsod.modeling  # noqa: F401  fills the registries
from samsod.benchmarks.cost import COST_HEADING, cost, cost_rows
from samsod.config import to_yaml
from samsod.config.data_schema import DataConfig
from samsod.data.decoding.images import read_saliency
from samsod.data.sources.catalog import find_set
from samsod.drawing import html
from samsod.drawing.choice import ranked_images
from samsod.drawing.grid import Sample, input_pictures, read_samples, score_texts
from samsod.drawing.run_files import RunFiles
from samsod.drawing.runs import Panel, draw_panel, run_panels
from samsod.drawing.style import Theme, import_matplotlib, line_style
from samsod.drawing.threshold_curves import METRICS as CURVES
from samsod.drawing.threshold_curves import ThresholdCurves, draw_curves, lowest_shown, threshold_curves
from samsod.engine.checkpoint import load_checkpoint
from samsod.evaluation.maps.score_cache import ScoreCache
from samsod.evaluation.maps.scoring import Scores, score_maps
from samsod.evaluation.maps.selected import find_method_maps
from samsod.evaluation.metrics.choice import metrics_of
from samsod.evaluation.tables.text import METRICS, results_rows
from samsod.modeling.samsod import build_model
from samsod.registry import import_user_modules
from samsod.utils.errors import UserError
from samsod.utils.maps import FINAL
from samsod.utils.weights import file_digest

SCORES = ("S", "MAE")
"""What stands below the images."""
TOLERANCE = 1e-6
NO_BREAK = "\N{NO-BREAK SPACE}"


def run_report(run: RunFiles, images: int = 4, cache: ScoreCache | None = None) -> str:
    """The report of a run, a whole HTML document with everything embedded.

    What cannot be had (a data set that is not there, a model that cannot be built) is left out, and the page says why.

    Args:
        run: The run.
        images: How many of its worst images it shows, and how many from the worst to the best.
        cache: Where the scores of its maps are looked up and kept.

    Raises:
        UserError: matplotlib is not installed.
    """
    import_matplotlib()
    sections = [
        ("results", "Results", _results),
        ("training", "Training", _training),
        ("images", "Threshold curves and images", lambda run: _from_maps(run, images, cache)),
        ("cost", "Cost", _cost),
        ("settings", "Settings", _settings),
        ("environment", "Checkpoint and environment", _environment),
        ("commands", "Commands", _commands),
    ]
    header = html.header(run.name, _summary(run), [(name, title) for name, title, _ in sections])
    body = [html.section(name, title, *_or_note(make, run)) for name, title, make in sections]
    return html.page(f"{run.name}: samsod run", header, html.Markup("<main>"), *body, html.Markup("</main>"))


def _or_note(make: Callable[[RunFiles], list[html.Markup]], run: RunFiles) -> list[html.Markup]:
    try:
        return make(run)
    except UserError as error:
        return [html.note(f"Not available: {line}") for line in str(error).splitlines()]


def _summary(run: RunFiles) -> html.Markup:
    model, last = run.config.model, run.rows[-1]
    items = [
        ("model", f"{model.name}, {model.size}, {model.adapter.name} adapters, {', '.join(model.modalities)}"),
        ("input", f"{model.image_size}x{model.image_size} pixels"),
        ("trained", f"{last['step']} steps, {last.get('epoch', '?')} epochs, {run.config.engine.gradient_rule.name}"),
    ]
    for dataset, scores in run.results.get(FINAL, {}).items():
        texts = ", ".join(f"{name} {scores[name]:.3f}" for name in ("S", "maxF", "maxE", "MAE") if name in scores)
        items.append((f"test on {dataset}", texts))
    return html.definitions(items)


def _results(run: RunFiles) -> list[html.Markup]:
    if run.test is None:
        return [html.note("Not tested yet: tools/test_net.py writes the results; the commands are below.")]
    heading, *rows = results_rows(run.results, html.strong)
    caption = f"Scores of the maps in {run.test}; the best map of each set in bold, where several were scored."
    return [html.table(caption, heading, rows, left=heading.index("images"))]


def _training(run: RunFiles) -> list[html.Markup]:
    panels = run_panels({run.name: run.rows}, "all", run.config.train.best_metric)
    figures = [_panel_figure(panel) for panel in panels if panel.series]
    notes = [html.note(f"{panel.title}: {line}") for panel in panels for line in panel.missing]
    remark = "Faint: as logged; bold: smoothed over a twelfth of the log."
    parts = [html.note(remark), html.box("figures", figures), *notes]
    validations = [row for row in run.rows if isinstance(row.get("validation"), dict)]
    if validations:
        metrics = [metric for metric in METRICS if metric in validations[-1]["validation"]]
        rows = [
            [str(row["step"]), *(f"{row['validation'].get(metric, float('nan')):.4f}" for metric in metrics)]
            for row in validations
        ]
        parts.append(html.table("Scores on the validation sets", ["step", *metrics], rows))
    return parts


def _panel_figure(panel: Panel) -> html.Markup:
    ends = "; ".join(
        f"{series.label} from {series.points[1][0]:.3g} to {series.points[1][-1]:.3g}" for series in panel.series
    )
    steps = panel.series[0].points[0]
    alt = f"Line chart over steps {steps[0]} to {steps[-1]}, {panel.title}: {ends}"
    bare = replace(panel, title="")
    caption = ": ".join(filter(None, (panel.title, panel.remark)))
    return html.figure(lambda axes, theme: draw_panel(bare, axes, theme), alt, caption)


def _from_maps(run: RunFiles, images: int, cache: ScoreCache | None) -> list[html.Markup]:
    """What the saved maps and the truths give: curves over the thresholds, worst and other images."""
    if run.test is None:
        return [html.note("Not tested yet.")]
    sets = [find_set(item, run.config.data.root, run.config.tested_modalities()) for item in run.config.data.test]
    maps = find_method_maps({FINAL: run.test / "maps"}, sets)
    scores = score_maps(maps, cache=cache, metrics=("S", *CURVES))
    curves = threshold_curves(scores)
    figures = [_threshold_figure(dataset, kind, curves[dataset]) for dataset in curves for kind in ("pr", "f")]
    parts = [*_disagreements(run, scores), html.box("figures", figures)]
    grids = []
    for rule, title in (("worst", "Worst images by S-measure"), ("spread", "From the worst to the best by S-measure")):
        places = ranked_images(scores[FINAL], "S", rule, images)
        samples = read_samples(sets, places, maps, metrics_of(SCORES))
        grids.append(_grid(title, samples, several=len(sets) > 1, data=run.config.data))
    return [*parts, html.box("grids", grids)]


def _disagreements(run: RunFiles, scores: Scores) -> list[html.Markup]:
    """A remark for every set whose maps do not give the S-measure in results.json: they are of different tests."""
    notes = []
    for dataset, by_stem in scores[FINAL].items():
        written = run.results[FINAL].get(dataset, {}).get("S")
        found = float(np.mean([image["S"] for image in by_stem.values()]))
        if written is None or abs(found - written) > TOLERANCE:
            notes.append(html.note(f"The maps of {dataset} are not those results.json was computed from."))
    return notes


def _threshold_figure(dataset: str, kind: str, curves: dict[str, ThresholdCurves]) -> html.Markup:
    best = curves[FINAL]
    title = f"{'precision over recall' if kind == 'pr' else 'F-measure over threshold'}, {dataset}"
    alt = f"Line chart, {title}: the F-measure is largest, {best.max_f:.3f}, at threshold {best.best}"
    caption = f"{title}; the marker is at the largest F-measure, {best.max_f:.3f}"

    def draw(axes: Any, theme: Theme) -> None:
        draw_curves(axes, kind, curves, {FINAL: line_style(0, theme)}, lowest_shown(curves))

    return html.figure(draw, alt, caption)


def _grid(title: str, samples: Sequence[Sample], several: bool, data: DataConfig) -> html.Markup:
    rows = []
    for sample in samples:
        name = sample.pair.stem
        pictures = {**input_pictures(sample.pair, data), "saliency map": read_saliency(sample.maps[FINAL][0])}
        cells = [html.image(pixels, f"{what} of {name}") for what, pixels in pictures.items()]
        label = f"{sample.dataset}/{name}" if several else name
        # A line may break between two scores, not within one.
        texts = " ".join(text.replace(" ", NO_BREAK) for text, _ in score_texts(sample, FINAL, SCORES))
        below = [label, *[""] * (len(cells) - 2), texts]
        rows.append([html.Markup("{}{}").format(cell, text) for cell, text in zip(cells, below, strict=True)])
    return html.table(f"{title} (S; M is the mean absolute error)", list(pictures), rows, len(pictures), "images")


def _cost(run: RunFiles) -> list[html.Markup]:
    import_user_modules(run.config.imports)
    model = build_model(run.config.model.with_base(""))
    costs = cost(model, run.config.model.image_size)
    side, parts = costs["input_size"], costs.pop("parts")
    caption = f"One pair of {side}x{side} pixels; GMAC is without attention's two matrix products."
    return [html.table(caption, COST_HEADING, cost_rows(costs, parts))]


def _settings(run: RunFiles) -> list[html.Markup]:
    rows = [[key, _short(value), _short(default)] for key, value, default in run.changed_settings()]
    return [
        html.table("Settings that differ from the defaults", ["key", "value", "default"], rows, 3, "long"),
        html.folded("The whole config, explained", to_yaml(run.config, docs=True)),
    ]


def _short(value: Any) -> str:
    """A setting as the config file has it; of entries in lists only what is set."""
    if isinstance(value, list):
        value = [{k: v for k, v in item.items() if v} if isinstance(item, dict) else item for item in value]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _environment(run: RunFiles) -> list[html.Markup]:
    path = run.folder / "checkpoints" / "best.pt"
    try:
        best = load_checkpoint(path)
        base, ranks = best.get("base"), best["world_size"]
        items = [
            ("best checkpoint", f"{path}, {path.stat().st_size / 2**20:.1f} MiB"),
            ("SHA-256", file_digest(path)),
            ("step", f"{best['step']}, the best by {run.config.train.best_metric} on the validation sets"),
            ("trained on", f"{ranks} {'rank' if ranks == 1 else 'ranks'}"),
            ("encoder from", f"{base['file']} (SHA-256 {base['sha256'][:12]})" if base else "the checkpoint itself"),
            ("written by", ", ".join(f"{name} {version}" for name, version in best["versions"].items())),
        ]
    except UserError as error:
        items = [("best checkpoint", str(error))]
    items.append(("report made on", f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"))
    parts = [html.definitions(items)]
    if run.log:
        others = [line for line in run.log if "| loss " not in line]
        parts.append(html.folded("log.txt without the training steps", "\n".join(others)))
    return parts


def _commands(run: RunFiles) -> list[html.Markup]:
    config = run.folder / "config.yaml"
    best = run.folder / "checkpoints" / "best.pt"
    test = run.test or run.folder / "test"
    lines = [
        ["python", "tools/train_net.py", "--config", config, f"output={run.folder}_again"],
        ["python", "tools/test_net.py", "--config", config, "--checkpoint", best, "--output", test],
        ["python", "tools/flops.py", "--config", config],
        ["python", "tools/plot_log.py", run.folder],
    ]
    return [
        html.note("These repeat the training into a new folder, the test, the cost and the curves:"),
        html.preformatted("\n".join(shlex.join(map(str, line)) for line in lines)),
    ]
