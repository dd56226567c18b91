"""The demo set: what its scenes promise, and how its maker treats files."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from samsod.data.synthetic.demo_set import make_set
from samsod.data.synthetic.scenes import make_scene
from samsod.utils.errors import UserError
from tests.places import HANG, ROOT

SCRIPT = ROOT / "data" / "make_demo_set.py"
SIZE = 96
RGB, DEPTH, THERMAL = THREE = ("rgb", "depth", "thermal")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_demo_set", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


demo = load_script()


@pytest.fixture(scope="module")
def scenes() -> list[Any]:
    return [make_scene(0, 0, index, SIZE) for index in range(90)]


@pytest.fixture(scope="module")
def triple_scenes() -> list[Any]:
    return [make_scene(0, 0, index, SIZE, THREE) for index in range(100)]


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def read(path: Path) -> npt.NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return np.asarray(image, np.uint8)


def make(output: Path, train: int = 4, test: int = 2, seed: int = 0, force: bool = False) -> dict[str, bytes]:
    make_set(output, (train, test), 64, seed, force)
    return files(output)


def run_script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG)


def border_contrast(image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> float:
    """|mean inside - mean outside| along the mask's border, in units of the deviation there; the best channel.

    A single channel's zeros are no readings, and do not count.
    """
    near = np.ones((5, 5), np.uint8)
    known = image > 0 if image.ndim == 2 else np.ones(mask.shape, np.bool_)
    inside = known & (mask > 0) & (cv2.erode(mask, near, iterations=3) == 0)
    outside = known & (mask == 0) & (cv2.dilate(mask, near, iterations=3) > 0)
    levels = image.reshape(*mask.shape, -1).astype(np.float64)
    within, beyond = levels[inside], levels[outside]
    spread = np.sqrt((within.var(axis=0) + beyond.var(axis=0)) / 2 + 1)
    return float(np.max(np.abs(within.mean(axis=0) - beyond.mean(axis=0)) / spread))


def best_threshold_iou(images: list[Any], masks: list[Any]) -> float:
    """The mean IoU of the one threshold and side that suit the whole set best."""
    scores = []
    for level in range(8, 256, 8):
        for side in (True, False):
            pairs = [((image > level) == side, mask > 0) for image, mask in zip(images, masks, strict=True)]
            scores.append(np.mean([(guess & truth).sum() / (guess | truth).sum() for guess, truth in pairs]))
    return float(max(scores))


def test_same_seed_gives_the_same_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    first, again, other = make(tmp_path / "a"), make(tmp_path / "b"), make(tmp_path / "c", seed=1)
    assert first == again
    assert first.keys() == other.keys()
    assert not [name for name in first if first[name] == other[name]]


def test_a_scene_does_not_depend_on_the_counts(tmp_path: Path) -> None:
    few, many = make(tmp_path / "few", train=2, test=1), make(tmp_path / "many", train=5, test=3)
    assert not [name for name in few if name != "demo_set.json" and few[name] != many[name]]


def test_the_splits_differ(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert made["VT5000/Train/GT/0001.png"] != made["VT5000/Test/GT/0001.png"]


def test_the_three_folders_hold_the_same_stems_and_readable_images(tmp_path: Path) -> None:
    make(tmp_path)
    for split, count in (("Train", 4), ("Test", 2)):
        folder = tmp_path / "VT5000" / split
        stems = [f"{number:04d}" for number in range(1, count + 1)]
        for name, suffix in (("RGB", ".jpg"), ("T", ".jpg"), ("GT", ".png")):
            assert sorted(path.name for path in (folder / name).iterdir()) == [stem + suffix for stem in stems]
        for stem in stems:
            thermal, mask = read(folder / "T" / f"{stem}.jpg"), read(folder / "GT" / f"{stem}.png")
            assert read(folder / "RGB" / f"{stem}.jpg").shape == thermal.shape == (64, 64, 3)
            assert np.ptp(thermal, axis=2).max() == 0
            assert mask.shape == (64, 64)
            assert set(np.unique(mask)) == {0, 255}


def test_files_hold_the_scene_with_red_as_red(tmp_path: Path) -> None:
    make(tmp_path)
    scene = make_scene(0, 0, 0, 64)
    means, blue_first = scene.images["rgb"].mean(axis=(0, 1)), read(tmp_path / "VT5000/Train/RGB/0001.jpg")
    assert abs(means[0] - means[2]) > 5
    np.testing.assert_allclose(blue_first[..., ::-1].mean(axis=(0, 1)), means, atol=2)


def test_masks_are_binary_and_of_an_area_within_bounds(scenes: list[Any]) -> None:
    areas = [np.mean(scene.mask == 255) for scene in scenes]
    assert all(set(np.unique(scene.mask)) == {0, 255} for scene in scenes)
    assert min(areas) >= 0.03
    assert max(areas) <= 0.30
    assert max(areas) > 2 * min(areas)


def test_some_objects_reach_the_border_and_most_do_not(scenes: list[Any]) -> None:
    touching = [scene.mask[[0, -1]].any() or scene.mask[:, [0, -1]].any() for scene in scenes]
    assert 0.05 < np.mean(touching) < 0.4


def test_the_kinds_share_the_set_equally(scenes: list[Any]) -> None:
    kinds = [scene.kind for scene in scenes]
    assert sorted(set(kinds)) == ["both", "rgb_fails", "thermal_fails"]
    assert all(kinds.count(kind) == len(kinds) / 3 for kind in set(kinds))


KINDS = {
    (RGB, THERMAL): {"both": (), "rgb_fails": (RGB,), "thermal_fails": (THERMAL,)},
    THREE: {
        "all": (),
        "rgb_fails": (RGB,),
        "depth_fails": (DEPTH,),
        "thermal_fails": (THERMAL,),
        "depth_only": (RGB, THERMAL),
    },
}


@pytest.mark.parametrize(
    ("modalities", "kind", "lost_in"),
    [(modalities, kind, lost) for modalities, kinds in KINDS.items() for kind, lost in kinds.items()],
)
def test_an_object_stands_out_where_its_kind_says(
    scenes: list[Any], triple_scenes: list[Any], modalities: tuple[str, ...], kind: str, lost_in: tuple[str, ...]
) -> None:
    chosen = [scene for scene in (scenes if len(modalities) == 2 else triple_scenes) if scene.kind == kind]
    assert len(chosen) >= 20 and all(tuple(scene.images) == modalities for scene in chosen)
    for modality in modalities:
        contrasts = [border_contrast(scene.images[modality], scene.mask) for scene in chosen]
        if modality in lost_in:
            assert np.median(contrasts) < 0.8
            assert np.quantile(contrasts, 0.9) < 1.5
        else:
            assert np.quantile(contrasts, 0.1) > 1.5


def test_no_threshold_solves_the_set(scenes: list[Any], triple_scenes: list[Any]) -> None:
    masks = [scene.mask for scene in scenes]
    brightness = [cv2.cvtColor(scene.images[RGB], cv2.COLOR_RGB2GRAY) for scene in scenes]
    assert best_threshold_iou(brightness, masks) < 0.4
    assert best_threshold_iou([scene.images[THERMAL] for scene in scenes], masks) < 0.4
    depths, masks = ([scene.images[DEPTH] for scene in triple_scenes], [scene.mask for scene in triple_scenes])
    assert best_threshold_iou(depths, masks) < 0.4


def test_depth_has_holes_and_a_further_modality_changes_no_other() -> None:
    for index in (0, 15):  # of the kind that shows all, in both sets
        two, three = make_scene(0, 0, index, SIZE), make_scene(0, 0, index, SIZE, THREE)
        assert all(np.array_equal(two.images[name], three.images[name]) for name in two.images)
        holes = np.mean(three.images[DEPTH] == 0)
        assert 0 < holes < 0.05 and three.images[DEPTH].shape == (SIZE, SIZE)


def test_a_set_of_other_modalities_is_another_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_set(tmp_path, (5, 1), 64, 0, modalities=THREE)
    before = files(tmp_path)
    names = {
        folder: sorted(path.name for path in (tmp_path / "VT5000/Train" / folder).iterdir()) for folder in ("D", "GT")
    }
    assert names["D"] == names["GT"] == [f"{number:04d}.png" for number in range(1, 6)]
    assert set(np.unique(read(tmp_path / "VT5000/Train/GT/0005.png"))) == {0, 255}
    with pytest.raises(UserError, match="--force"):
        make(tmp_path, train=5, test=1)
    make_set(tmp_path, (5, 1), 64, 0, modalities=THREE)
    assert "already holds this set" in capsys.readouterr().out and files(tmp_path) == before
    (tmp_path / "VT5000/Test/D/0001.png").unlink()
    with pytest.raises(UserError, match="not this set"):
        make_set(tmp_path, (5, 1), 64, 0, modalities=THREE)


def test_the_default_set_is_the_one_of_ever(tmp_path: Path) -> None:
    """Its record once did not say the modalities, and its masks are the same on every machine."""
    make(tmp_path)
    pixels = b"".join(read(tmp_path / f"VT5000/Train/GT/{number:04d}.png").tobytes() for number in range(1, 5))
    assert hashlib.sha256(pixels).hexdigest()[:16] == "3057131d77a52995"
    record = json.loads((tmp_path / "demo_set.json").read_text())
    assert record.pop("modalities") == [RGB, THERMAL]
    (tmp_path / "demo_set.json").write_text(json.dumps(record))
    make(tmp_path)  # not refused


@pytest.mark.parametrize("size", [65, 320])
def test_scenes_come_in_other_sizes(size: int) -> None:
    scene = make_scene(3, 1, 2, size)
    assert scene.images["rgb"].shape == (size, size, 3)
    assert scene.images["thermal"].shape == scene.mask.shape == (size, size)
    assert 0.03 <= np.mean(scene.mask == 255) <= 0.30


def test_a_set_that_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = make(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    capsys.readouterr()
    assert make(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == stamps
    assert capsys.readouterr().out.count("\n") == 1


def test_another_set_is_not_overwritten(tmp_path: Path) -> None:
    before = make(tmp_path)
    with pytest.raises(UserError, match="--force"):
        make(tmp_path, seed=1)
    assert files(tmp_path) == before


def test_a_foreign_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "VT5000").mkdir()
    with pytest.raises(UserError, match="VT5000 exists"):
        make(tmp_path)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("damage", ["missing", "added", "no record", "spoilt record"])
def test_a_changed_set_does_not_pass_for_the_same(tmp_path: Path, damage: str) -> None:
    make(tmp_path)
    folder = tmp_path / "VT5000" / "Test" / "T"
    if damage == "missing":
        (folder / "0001.jpg").unlink()
    elif damage == "added":
        (folder / "mine.jpg").write_bytes(b"")
    elif damage == "no record":
        (tmp_path / "demo_set.json").unlink()
    else:
        (tmp_path / "demo_set.json").write_text("[1, 2")
    with pytest.raises(UserError):
        make(tmp_path)


def test_force_replaces_a_set_and_leaves_nothing_else(tmp_path: Path) -> None:
    make(tmp_path / "a", train=5)
    assert make(tmp_path / "a", seed=1, force=True) == make(tmp_path / "b", seed=1)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["VT5000", "demo_set.json"]


def test_force_keeps_aside_what_it_did_not_make(tmp_path: Path) -> None:
    real = tmp_path / "VT5000" / "Train" / "RGB" / "real.jpg"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"precious")
    made = make(tmp_path, force=True)
    kept = [name for name, content in made.items() if content == b"precious"]
    assert len(kept) == 1
    assert kept[0].startswith("VT5000.replaced-")
    assert json.loads(made["demo_set.json"])["train"] == 4


def test_a_break_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise KeyboardInterrupt

    before = make(tmp_path)
    monkeypatch.setattr("samsod.data.synthetic.demo_set.write_scene", breaks)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, seed=1, force=True)
    assert files(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_the_command_makes_a_set(tmp_path: Path) -> None:
    arguments = ("--output", tmp_path / "new" / "set", "--train", 2, "--test", 1, "--size", 64, "--seed", 7)
    done = run_script(*arguments)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    assert len(files(tmp_path)) == 3 * 3 + 1
    again = run_script(*arguments)
    assert (again.returncode, again.stdout.count("\n"), again.stderr) == (0, 1, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--train", "0"], "--train: expected a whole number of 1 to 9999, found '0'"),
        (["--test", "-3"], "--test: expected a whole number of 1 to 9999, found '-3'"),
        (["--size", "63"], "--size: expected a whole number of 64 to 1024, found '63'"),
        (["--size", "1025"], "--size: expected a whole number of 64 to 1024, found '1025'"),
        (["--seed", "-1"], "--seed: expected a whole number of 0 to"),
        (["--train", "many"], "--train: expected a whole number of 1 to 9999, found 'many'"),
        (["--colour", "red"], "unrecognized arguments"),
        (["--modalities", "rgb", "sonar"], "invalid choice: 'sonar'"),
        (["--modalities", "rgb", "rgb"], "--modalities rgb rgb: expected each once"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["make_demo_set.py", "--output", str(tmp_path / "out"), *arguments])
    with pytest.raises(SystemExit) as stop:
        demo.run_main(demo.main)
    printed = capsys.readouterr()
    assert stop.value.code == 2
    assert words in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_a_folder_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_script("--output", tmp_path / "file", "--train", 1, "--test", 1)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
