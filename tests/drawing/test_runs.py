from __future__ import annotations

from pathlib import Path

import pytest

from samsod.data.decoding.images import read_rgb
from samsod.drawing.run_curves import Rows, curve, read_run
from samsod.drawing.runs import Panel, Series, draw_panels, run_panels
from samsod.drawing.style import DARK, LIGHT
from samsod.utils.errors import UserError
from tests.pictures import count_colours
from tests.runs import write_run

FUSION_ONLY: dict[str, tuple[str, ...]] = dict.fromkeys(("rgb_adapter", "thermal_adapter", "decoder"), ("fusion",))
RGB_ONLY: dict[str, tuple[str, ...]] = {"rgb_adapter": ("rgb",), "decoder": ("rgb",)}


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Rows]:
    kinds = {"full": None, "without": FUSION_ONLY, "rgb": RGB_ONLY}
    return {name: read_run(write_run(tmp_path / name, 20, losses)) for name, losses in kinds.items()}


def by_name(panels: list[Panel], name: str) -> list[Panel]:
    return [panel for panel in panels if panel.name == name]


def test_panels_hold_what_was_logged(runs: dict[str, Rows]) -> None:
    panels = run_panels(runs)
    (loss,) = by_name(panels, "loss")
    assert [series.label for series in loss.series] == ["full", "without", "rgb"]
    assert loss.series[0].points == curve(runs["full"], "loss")
    (validation,) = by_name(panels, "validation")
    assert validation.series[0].points == ([10, 20], [0.1, 0.2]) and validation.marks
    cosines = by_name(panels, "cosines")
    assert [panel.title for panel in cosines[:-1]] == [
        "cosines, full, rgb adapter",
        "cosines, full, thermal adapter",
        "cosines, full, decoder",
    ]
    decoder = {series.label: series for series in cosines[2].series}
    assert set(decoder) == {"fusion-rgb", "fusion-thermal", "rgb-thermal"}
    assert decoder["rgb-thermal"].points == curve(runs["full"], "groups", "decoder", "cosines", "rgb-thermal")
    assert decoder["fusion-thermal"].style == cosines[1].series[0].style  # a pair looks the same in every panel


def test_what_a_run_lacks_is_said(runs: dict[str, Rows]) -> None:
    panels = run_panels(runs)
    (ratio,) = by_name(panels, "ratio")
    assert [(series.label, series.style) for series in ratio.series] == [("full", 0), ("without", 1)]
    assert ratio.missing == ["rgb: no ratio, has no thermal_adapter"] and ratio.reference == 1
    last = by_name(panels, "cosines")[-1]
    assert not last.series and last.missing == ["without: a single loss, no pairs", "rgb: a single loss, no pairs"]
    without_groups = {"old": [{"step": 1, "loss": 1.0}]}
    assert by_name(run_panels(without_groups), "cosines")[0].missing == ["old: logs no gradients"]


def test_a_single_figure_of_nothing_is_a_mistake(runs: dict[str, Rows]) -> None:
    alone = {"rgb": runs["rgb"]}
    for ratio in ("", "rgb/thermal"):
        with pytest.raises(UserError, match=r"^rgb: no ratio, has the adapters of one modality alone$"):
            run_panels(alone, "ratio", ratio=ratio)
    with pytest.raises(UserError, match=r"^rgb: a single loss, no pairs$"):
        run_panels(alone, "cosines")
    with pytest.raises(UserError, match=r"^rgb: logs no validation wF$"):
        run_panels(alone, "validation", "wF")
    assert len(run_panels({name: runs[name] for name in ("full", "rgb")}, "ratio")) == 1


@pytest.mark.parametrize("figure", ["all", "ratio"])
def test_figures_are_drawn(tmp_path: Path, runs: dict[str, Rows], figure: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "curves.png"
    theme = DARK if figure == "ratio" else LIGHT
    draw_panels(run_panels({"_$a_b$": runs["without"], "rgb": runs["rgb"]}, figure), path, theme)
    picture = read_rgb(path)
    paper = [int(theme.paper[i : i + 2], 16) for i in (1, 3, 5)]
    assert picture[0, 0].tolist() == paper and count_colours(picture) > 50
    assert picture.shape[1] == (1050 if figure == "ratio" else 2148)


def test_a_series_keeps_its_style_beside_runs_without_a_curve(runs: dict[str, Rows]) -> None:
    (ratio,) = run_panels({"rgb": runs["rgb"], "full": runs["full"]}, "ratio")
    assert ratio.series == [Series("full", curve(runs["full"], "gradient_ratios", "rgb/thermal"), 1)]


def test_the_ratio_of_any_two_modalities(tmp_path: Path, runs: dict[str, Rows]) -> None:
    names = ("rgb", "depth", "thermal")
    three: dict[str, tuple[str, ...]] = {f"{name}_adapter": ("fusion", name) for name in names} | {
        "decoder": ("fusion", *names)
    }
    triples = {"three": read_run(write_run(tmp_path / "three", 20, three)), "two": runs["full"]}
    panels = run_panels(triples, "ratio")
    assert [panel.title for panel in panels] == [
        "gradient norm, rgb : depth adapters",
        "gradient norm, rgb : thermal adapters",
        "gradient norm, depth : thermal adapters",
    ]
    assert panels[0].missing == ["two: no ratio, has no depth_adapter"] and len(panels[1].series) == 2
    assert panels[2].remark == "above 1 the depth adapters' gradient is the larger one"
    (inverse,) = run_panels(triples, "ratio", ratio="thermal/rgb")
    assert inverse.series[1].points == (panels[1].series[1].points[0], [1 / 1.5] * 19)
    with pytest.raises(UserError, match=r"^no ratio 'rgb/termal' is logged \(did you mean 'rgb/thermal'\?\)"):
        run_panels(triples, "ratio", ratio="rgb/termal")
    decoder = by_name(run_panels(triples), "cosines")[3]
    assert len(decoder.series) == 6 and {"rgb-depth", "depth-thermal"} <= {series.label for series in decoder.series}
