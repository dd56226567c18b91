from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from samsod.data.decoding.images import read_truth
from samsod.data.synthetic.scribbles import as_config, find_masks, make_scribbles, overlays, scribble, scribble_file
from samsod.utils.errors import UserError

Write = Callable[..., Path]


def scene(height: int = 180, width: int = 320) -> np.ndarray:
    """A large object, a smaller one, and a speck."""
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (120, 90), (60, 35), 20, 0, 360, 1, -1)
    cv2.rectangle(mask, (240, 40), (262, 110), 1, -1)
    mask[5, 5] = 1
    return mask > 0


def test_strokes_are_never_wrong_and_label_little() -> None:
    mask = scene()
    for seed in range(5):
        foreground, labelled = scribble(mask, np.random.default_rng(seed))
        assert not (foreground & ~mask).any() and not (labelled & ~foreground & mask).any()
        assert not (foreground & ~labelled).any()
        assert 0.005 < labelled.mean() < 0.04 and 0 < foreground.sum() < labelled.sum()
        assert foreground[:, :200].any() and foreground[:, 235:].any() and not labelled[5, 5]


def test_background_strokes_keep_away_from_the_object_and_go_around_it() -> None:
    mask = scene()
    around = 0
    for seed in range(5):
        foreground, labelled = scribble(mask, np.random.default_rng(seed))
        background = labelled & ~foreground
        away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
        assert away[background].min() > 3
        y, x = np.nonzero(background)
        quarters = {(down, right) for down, right in zip(y > 90, x > 120, strict=True)}
        around += len(quarters) >= 3
    assert around >= 4


def test_the_width_is_what_is_asked_for() -> None:
    for width in (1, 9):
        strokes = scribble(scene(), np.random.default_rng(0), width).labelled.astype(np.uint8)
        to_border = cv2.distanceTransform(np.pad(strokes, 1), cv2.DIST_L2, 5)
        assert width - 0.5 <= 2 * to_border.max() - 1 <= 1.3 * width + 0.5  # bends are drawn a little wider


@pytest.mark.parametrize("full", [False, True])
def test_masks_without_object_or_without_background(full: bool) -> None:
    foreground, labelled = scribble(np.full((60, 80), full), np.random.default_rng(0))
    assert labelled.any() and foreground.any() == full and (labelled == foreground).all() == full


def test_every_part_is_labelled_however_small_or_thin() -> None:
    mask = np.zeros((200, 300), bool)
    mask[50, 20:60] = mask[100:140, 100] = mask[20:22, 200:202] = True
    np.fill_diagonal(mask[150:190, 240:280], True)
    foreground, _ = scribble(mask, np.random.default_rng(0))
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert count == 5 and all(foreground[labels == label].any() for label in range(1, count))


def test_the_same_for_the_same_seed_and_stem(tmp_path: Path, write_image: Write) -> None:
    mask = scene().astype(np.uint8) * np.uint8(255)
    first, again, other = (write_image(tmp_path / name, mask) for name in ("a/one.png", "b/one.bmp", "a/two.png"))
    drawn = scribble_file(first, 3).labelled
    assert (scribble_file(again, 3).labelled == drawn).all()
    assert (scribble_file(other, 3).labelled != drawn).any() and (scribble_file(first, 4).labelled != drawn).any()


def test_a_folder_becomes_two(tmp_path: Path, write_image: Write) -> None:
    mask = scene().astype(np.uint8) * np.uint8(255)
    for stem in ("one", "two"):
        write_image(tmp_path / "GT" / f"{stem}.png", mask)
    output = tmp_path / "out" / "strokes"
    foreground, labelled = make_scribbles(find_masks(tmp_path / "GT"), output, seed=0)
    shares = [
        [read_truth(path).mean() for path in sorted((output / name).iterdir())] for name in ("foreground", "labelled")
    ]
    assert np.allclose(np.mean(shares, axis=1), [foreground, labelled])
    assert sorted(path.name for path in output.iterdir()) == ["foreground", "labelled"]
    with pytest.raises(UserError, match=r"foreground exists"):
        make_scribbles(find_masks(tmp_path / "GT"), output, seed=0)


def test_masks_alone_are_enough(tmp_path: Path, write_image: Write) -> None:
    mask = write_image(tmp_path / "GT" / "one.png", scene().astype(np.uint8) * np.uint8(255))
    make_scribbles([mask], tmp_path / "out", seed=0)
    config, pairs = as_config(tmp_path / "GT", tmp_path / "out", ["rgb", "depth"])
    assert '{"rgb": "FOLDER_OF_RGB_IMAGES", "depth": "FOLDER_OF_DEPTH_IMAGES"}' in config and not pairs
    image, truth = overlays(mask, tmp_path / "out", pairs)
    assert image is None and truth.shape == (180, 320, 3) and len(np.unique(truth.reshape(-1, 3), axis=0)) == 4


def test_bad_masks_are_all_named_and_nothing_is_left(tmp_path: Path, write_image: Write) -> None:
    write_image(tmp_path / "GT" / "good.png", scene().astype(np.uint8) * np.uint8(255))
    for stem in ("grey", "photo"):
        write_image(tmp_path / "GT" / f"{stem}.png", np.full((40, 40), 120, np.uint8))
    (tmp_path / "GT" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0no")
    with pytest.raises(UserError) as caught:
        make_scribbles(find_masks(tmp_path / "GT"), tmp_path / "out", seed=0)
    assert [Path(line.split(":")[0]).stem for line in str(caught.value).splitlines()] == ["grey", "photo", "torn"]
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(UserError, match="no such folder"):
        find_masks(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no image"):
        find_masks(tmp_path / "empty")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, write_image: Write) -> None:
    mask = write_image(tmp_path / "GT" / "one.png", scene().astype(np.uint8) * np.uint8(255))
    with pytest.raises(UserError, match="is a file, expected a folder"):
        make_scribbles([mask], mask / "below", seed=0)
