"""The page in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from samsod.data.decoding.images import cv2, read_rgb
from samsod.data.pictures import write_png
from samsod.prediction.page.server import PageServer
from tests.pictures import count_colours
from tests.prediction.films import moving
from tests.prediction.page.browser import CHROMIUM, Browser
from tests.prediction.page.conftest import Serve

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; on Debian: apt install chromium")

UNREACHABLE = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
DONE = "!at('result').hidden && at('state').textContent === ''"
PIXELS = "[...at('canvas').getContext('2d').getImageData(0, 0, at('canvas').width, at('canvas').height).data]"


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    one_browser.heard.clear()
    one_browser.resize(1280, 900)
    yield one_browser
    assert not one_browser.events("Runtime.exceptionThrown"), "an error in the page's script"


def press(browser: Browser, box: str, title: str) -> None:
    browser.run(f"[...document.querySelectorAll('#{box} button')].find(b => b.textContent === '{title}').click()")


def shown(browser: Browser) -> np.ndarray:
    """What the canvas shows, `[H,W,3]`."""
    width = browser.run("at('canvas').width")
    return np.array(browser.run(PIXELS), np.uint8).reshape(-1, width, 4)[..., :3]


def photographs(folder: Path) -> dict[str, Path]:
    for index, name in enumerate(("rgb", "thermal")):
        write_png(folder / f"{name}.png", moving(1, index, 40, 56)[0])
    return {name: folder / f"{name}.png" for name in ("rgb", "thermal")}


def test_choosing_two_images_shows_the_map(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    server, paths = serve(), photographs(tmp_path)
    browser.open(server.url)
    assert browser.run("at('predict').disabled && at('result').hidden && at('examples-box').hidden")
    for name, path in paths.items():
        browser.choose_file(f"#file-{name}", path)
    browser.wait_for(DONE)
    result = server.demo.predictor.predict(**paths)
    press(browser, "views", "Map")
    assert np.array_equal(shown(browser)[..., 0], result.grey())
    press(browser, "views", "Mask")
    for threshold in (0.5, 0.2):
        browser.run(f"at('threshold').value = {threshold}, at('threshold').dispatchEvent(new Event('input'))")
        mask = result.grey() >= threshold * 255
        assert np.array_equal(shown(browser)[..., 0] > 0, mask)
        assert browser.run("at('share').textContent").startswith(f"{100 * mask.mean():.1f} %")
    press(browser, "streams", "thermal alone")
    stream = np.rint(result.streams["thermal"] * 255)
    assert np.array_equal(shown(browser)[..., 0] > 0, stream >= 0.2 * 255)
    browser.run("at('adaptive').click()")
    assert abs(browser.run("state.threshold") - min(1, 2 * stream.mean() / 255)) <= 0.006
    press(browser, "views", "Overlay")
    assert count_colours(shown(browser)) > 100
    assert "56\u00d740 pixels" in browser.run("at('timing').textContent")
    assert len(browser.run("[...at('maps').children].map(each => each.textContent)")) == 6
    assert all(url.startswith((server.url, "data:", "blob:")) for url in browser.requests())


def test_what_goes_wrong_is_said_on_the_page(browser: Browser, serve: Serve, tmp_path: Path) -> None:
    server, paths = serve(limit=20_000), photographs(tmp_path)
    browser.open(server.url)
    (tmp_path / "notes.png").write_text("no image")
    (tmp_path / "large.png").write_bytes(bytes(30_000))
    browser.choose_file("#file-rgb", paths["rgb"])
    browser.choose_file("#file-thermal", tmp_path / "notes.png")
    browser.wait_for("!at('error').hidden")
    assert browser.run("at('error').textContent") == "the thermal image: not an image OpenCV can read, or a damaged one"
    assert browser.run("at('result').hidden && !at('predict').disabled")
    browser.choose_file("#file-thermal", tmp_path / "large.png")
    browser.wait_for("at('error').textContent.startsWith('large.png has 0.0 MiB; at most')")
    browser.choose_file("#file-thermal", paths["thermal"])
    browser.wait_for(DONE)
    assert browser.run("at('error').hidden")
    browser.run("document.querySelector('.slot > button').click()")
    assert browser.run("at('predict').disabled")
    browser.call("Network.emulateNetworkConditions", **UNREACHABLE)
    browser.choose_file("#file-rgb", paths["rgb"])
    browser.wait_for("at('error').textContent.startsWith('The server does not answer')")
    assert browser.run("at('result').hidden")
    browser.call("Network.emulateNetworkConditions", **{**UNREACHABLE, "offline": False})


def test_missing_modalities_and_examples_at_phone_width(
    browser: Browser, serve: Serve, pairs_folder: Path, tmp_path: Path
) -> None:
    server = serve("rgb", "depth", "thermal", missing=True, examples=pairs_folder)
    browser.resize(375, 812, mobile=True)
    browser.open(server.url)
    assert browser.run("document.querySelectorAll('#examples button').length") == 12
    browser.run("document.querySelectorAll('#examples button')[1].click()")
    browser.wait_for(DONE)
    titles = "[...at('streams').children].map(each => each.textContent)"
    assert browser.run(titles) == ["fused", "fusion stream", "rgb alone", "thermal alone"]
    browser.choose_file("#file-depth", photographs(tmp_path)["thermal"])  # the example's images make room
    assert browser.run("!at('predict').disabled")
    browser.run("at('predict').click()")
    browser.wait_for(f"{titles}.includes('depth alone')")
    assert "rgb alone" not in browser.run(titles)
    assert browser.run("document.documentElement.scrollWidth") == 375
    browser.screenshot(tmp_path / "phone.png")
    picture = read_rgb(tmp_path / "phone.png")
    assert picture.shape[1] == 375 and picture.shape[0] > 812 and count_colours(cv2.resize(picture, (90, 300))) > 50


def test_dropping_a_file(browser: Browser, serve: Serve) -> None:
    server: PageServer = serve(missing=True)
    browser.open(server.url)
    browser.run("""(async () => {
      const canvas = made("canvas", {width: 20, height: 10});
      canvas.getContext("2d").fillRect(0, 0, 9, 9);
      const data = new DataTransfer();
      data.items.add(new File([await new Promise(done => canvas.toBlob(done))], "dropped.png"));
      document.querySelector(".drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
      at("predict").click();
    })()""")
    browser.wait_for(DONE)
    assert browser.run("[at('canvas').width, at('canvas').height]") == [20, 10]
    assert browser.run("document.querySelector('.drop').textContent") == "rgbdropped.png"
