from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from samsod.data.decoding.images import read_saliency, read_truth
from samsod.data.pictures import write_png
from samsod.drawing import html
from samsod.drawing.run_files import open_run, read_results
from samsod.drawing.run_report import run_report
from samsod.engine.checkpoint import versions
from samsod.evaluation.metrics.saliency import score_image
from samsod.utils.errors import UserError
from samsod.utils.weights import file_digest

VOID = {"meta", "img", "source", "br", "link"}


class Page(HTMLParser):
    """Checks that tags are balanced and gathers what a page shows and refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.links += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]
        if tag == "img":
            self.alts.append(values["alt"] or "")
        if "id" in values:
            self.ids.append(values["id"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_the_report_is_whole_offline_and_escaped(tested_run: Path) -> None:
    pytest.importorskip("matplotlib")
    run = open_run(tested_run)
    text = run_report(run, images=4)
    page = Page(text)
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not re.search(r"https?://|url\(|@import", re.sub(r"data:[^\"]*", "", text)) and "script" not in page.tags
    assert {link[1:] for link in page.links if link.startswith("#")} == set(page.ids)
    for tag, needed in (("b", "<b>run&co"), ("i", "<i>set"), ("s", "<s>0")):
        assert tag not in page.tags and needed in page.text + " ".join(page.alts)
    assert page.tags.count("h1") == 1 and page.tags.count("table") == page.tags.count("caption")
    assert all(page.alts) and "started & waited" in page.text and "GMAC" in page.text and "step 1/2" not in page.text
    figures = page.tags.count("figure")
    assert figures == page.tags.count("figcaption") == page.tags.count("source") == 8  # loss ... cosines, PR and F
    assert page.tags.count("img") == figures + 2 * 4 * 4


def test_the_report_holds_the_figures_of_the_run(tested_run: Path, undrawn: None) -> None:
    pytest.importorskip("matplotlib")
    run = open_run(tested_run)
    page = Page(run_report(run, images=4))
    streams = json.loads((tested_run / "test" / "streams.json").read_text())
    for scores in (by_set["<i>set"] for by_set in streams.values()):
        assert f"{scores['S']:.4f}" in page.text and f"{scores['MAE']:.4f}" in page.text
    assert {"S↑", "MAE↓"} <= set(page.texts)
    s = {}
    for path in (tested_run / "test" / "maps" / "<i>set").iterdir():
        truth = read_truth(tested_run.parent / "four" / "GT" / path.name)
        s[path.stem] = float(score_image(read_saliency(path), truth)["S"][0])
    shown = [alt.removeprefix("saliency map of ") for alt in page.alts if alt.startswith("saliency map of ")]
    assert shown == sorted(s, key=lambda stem: s[stem]) * 2  # the worst first, then from worst to best
    assert "model.size micro large" in page.text and "model.adapter.name" not in "".join(page.texts[:40])
    assert file_digest(tested_run / "checkpoints" / "best.pt") in page.text and versions()["torch"] in page.text
    assert ("model.size", "micro", "large") in run.changed_settings()
    assert all(value != default for _, value, default in run.changed_settings())


def test_what_cannot_be_had_is_said_in_its_place(tested_run: Path, undrawn: None) -> None:
    pytest.importorskip("matplotlib")
    shutil.rmtree(tested_run.parent / "four")
    shutil.rmtree(tested_run / "checkpoints")
    text = Page(run_report(open_run(tested_run))).text
    assert "Not available: folders: no such folder" in text and "best.pt" in text
    shutil.rmtree(tested_run / "test")
    text = Page(run_report(open_run(tested_run))).text
    assert "Not tested yet" in text and "Not available: not counted" in text


def test_maps_of_another_test_are_noticed(tested_run: Path, undrawn: None) -> None:
    pytest.importorskip("matplotlib")
    remark = "The maps of <i>set are not those results.json was computed from."
    assert remark not in Page(run_report(open_run(tested_run), images=1)).text
    path = tested_run / "test" / "maps" / "<i>set" / "002.png"
    write_png(path, 255 - read_saliency(path))
    assert remark in Page(run_report(open_run(tested_run), images=1)).text


def test_streams_of_an_older_test_are_left_out(tested_run: Path) -> None:
    folder = tested_run / "test"
    assert list(read_results(folder)) == ["final", "fusion", "rgb", "thermal"]
    results = json.loads((folder / "results.json").read_text())
    results["<i>set"]["S"] += 0.1
    (folder / "results.json").write_text(json.dumps(results))
    assert read_results(folder) == {"final": results}


def test_bad_runs_are_named(tmp_path: Path, tested_run: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"metrics\.jsonl: no such file"):
        open_run(tmp_path)
    with pytest.raises(UserError, match=r"results\.json: no such file"):
        open_run(tested_run, tmp_path)
    faults = {"{": "cannot be read as JSON", "[]": "expected metrics", '{"a": 1}': "expected metrics"}
    for content, message in faults.items():
        (tested_run / "test" / "results.json").write_text(content)
        with pytest.raises(UserError, match=message):
            open_run(tested_run)
    (tested_run / "metrics.jsonl").write_text('{"step": 1, "validation": {"S": 0.5}}\n')
    with pytest.raises(UserError, match="no step is logged yet"):
        open_run(tested_run)


def test_only_markup_enters_a_table_as_it_is() -> None:
    text = html.table("<caption>", ["<h>"], [["<td>"], [html.strong("<x>")]])
    assert Page(text).tags.count("strong") == 1
    for word in ("caption", "h", "td", "x"):
        assert f"&lt;{word}&gt;" in text
