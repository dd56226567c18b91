from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from samsod.config.data_schema import ModalityConfig
from samsod.data.decoding.file_bytes import orientation, upright
from samsod.data.decoding.images import read_orientation, read_rgb, read_saliency, read_truth
from samsod.data.decoding.modality import read_modality
from samsod.utils.errors import UserError


def read_thermal(path: Path) -> np.ndarray:
    return read_modality(path, ModalityConfig())


READERS = (read_rgb, read_saliency, read_thermal, read_truth)
Write = Callable[..., Path]
OneLine = Callable[..., str]


def gradient(height: int = 30, width: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 8, columns * 6, rows + columns], axis=2).astype(np.uint8)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".PNG", ".TIFF"])
def test_rgb_comes_red_first(tmp_path: Path, write_image: Write, ending: str) -> None:
    image = gradient()
    assert np.array_equal(read_rgb(write_image(tmp_path / f"a{ending}", image)), image)


def test_grey_rgb_is_repeated_and_alpha_is_dropped(tmp_path: Path, write_image: Write) -> None:
    grey = gradient()[..., 0]
    assert np.array_equal(read_rgb(write_image(tmp_path / "grey.png", grey)), np.stack([grey] * 3, axis=2))
    with_alpha = np.dstack([gradient()[..., ::-1], np.full((30, 40), 7, np.uint8)])
    (tmp_path / "alpha.png").write_bytes(cv2.imencode(".png", with_alpha)[1].tobytes())
    for read in (read_rgb, read_thermal):
        assert np.array_equal(read(tmp_path / "alpha.png"), gradient())


def test_rgb_of_16_bits_becomes_8(tmp_path: Path, write_image: Write) -> None:
    path = write_image(tmp_path / "a.png", gradient().astype(np.uint16) * 257)
    assert np.array_equal(read_rgb(path), gradient())


def disc(height: int = 240, width: int = 320) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows - height / 2) / (height / 3)) ** 2 + ((columns - width / 2) / (width / 4)) ** 2 < 1
    return np.where(inside, 255, 0).astype(np.uint8)


def test_truth_is_above_128(tmp_path: Path, write_image: Write) -> None:
    mask = np.zeros((10, 20), np.uint8)
    mask[0, :4] = 1, 128, 129, 255
    read = read_truth(write_image(tmp_path / "a.png", mask))
    assert read.dtype == np.bool_ and read[0, :4].tolist() == [False, False, True, True]
    assert read.sum() == 2


@pytest.mark.parametrize("factor", [1, 255, 65535])
def test_truth_of_any_two_extremes(tmp_path: Path, write_image: Write, factor: int) -> None:
    mask = disc() > 0
    dtype = np.uint8 if factor < 256 else np.uint16
    assert np.array_equal(read_truth(write_image(tmp_path / "a.png", (mask * factor).astype(dtype))), mask)
    wide = write_image(tmp_path / "wide.png", (mask * factor).astype(np.uint16))
    assert np.array_equal(read_truth(wide), mask)


@pytest.mark.parametrize("value", [0, 255])
def test_truth_all_black_and_all_white(tmp_path: Path, write_image: Write, value: int) -> None:
    for ending in (".png", ".jpg", ".bmp"):
        read = read_truth(write_image(tmp_path / f"a{ending}", np.full((9, 9), value, np.uint8)))
        assert read.all() == read.any() == (value == 255)


def test_truth_tolerates_jpeg_and_soft_edges(tmp_path: Path, write_image: Write) -> None:
    soft = cv2.resize(disc(), (40, 30), interpolation=cv2.INTER_AREA)
    assert np.array_equal(read_truth(write_image(tmp_path / "soft.png", soft)), soft > 128)
    data = cv2.imencode(".jpg", disc(), [cv2.IMWRITE_JPEG_QUALITY, 30])[1].tobytes()
    (tmp_path / "rough.jpg").write_bytes(data)
    assert (read_truth(tmp_path / "rough.jpg") != (disc() > 0)).mean() < 0.005


def test_truth_of_three_equal_channels(tmp_path: Path, write_image: Write) -> None:
    mask = disc()
    for ending in (".png", ".jpg"):
        read = read_truth(write_image(tmp_path / f"a{ending}", np.stack([mask] * 3, axis=2)))
        assert (read != (mask > 0)).mean() < 0.002


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (gradient()[..., 0], "% of it is grey (32 to 223), expected at most 10%"),
        (gradient(), "its three channels differ (by up to "),
        (disc() // 2, "its brightest pixel is 127 of 255; a mask has some above half"),
        (disc().astype(np.uint16) * 2, "its brightest pixel is 510 of 65535; a mask has some above half"),
    ],
)
def test_truth_that_is_no_mask(
    tmp_path: Path, write_image: Write, one_line: OneLine, image: np.ndarray, cause: str
) -> None:
    path = write_image(tmp_path / "photo.png", image)
    message = one_line(read_truth, path)
    assert message.startswith(f"{path}: not a mask: ") and cause in message


@pytest.mark.parametrize("read", READERS)
def test_files_that_are_no_image(tmp_path: Path, one_line: OneLine, read: Callable[..., np.ndarray]) -> None:
    path = tmp_path / "a.jpg"
    assert one_line(read, path) == f"{path}: no such file"
    path.write_bytes(b"")
    assert one_line(read, path) == f"{path}: the file is empty"
    path.write_text("not found\n")
    assert one_line(read, path) == f"{path}: not an image OpenCV can read, or a damaged one"
    assert one_line(read, tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".tif"])
def test_truncated_files(
    tmp_path: Path,
    write_image: Write,
    one_line: OneLine,
    capfd: pytest.CaptureFixture[str],
    read: Callable[..., np.ndarray],
    ending: str,
) -> None:
    path = write_image(tmp_path / f"a{ending}", disc())
    data = path.read_bytes()
    read(path)
    for length in (12, len(data) // 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        message = one_line(read, path)
        assert message.startswith(f"{path}: ")
        assert "truncated" in message or ending == ".tif"
    assert capfd.readouterr().err == ""  # one line on stderr is the tools', none OpenCV's


@pytest.mark.parametrize("progressive", [0, 1])
def test_jpeg_with_thumbnail_and_appended_bytes(tmp_path: Path, one_line: OneLine, progressive: int) -> None:
    image = cv2.imencode(".jpg", gradient(), [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    thumbnail = cv2.imencode(".jpg", gradient(8, 8))[1].tobytes()
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    path = tmp_path / "a.jpg"
    path.write_bytes(image[:2] + segment + image[2:] + b"\xff\xda trailer of a camera")
    assert read_rgb(path).shape == (30, 40, 3)
    path.write_bytes(image[:2] + segment + image[2:-2])
    assert "truncated" in one_line(read_rgb, path)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
def test_no_orientation_tag_is_obeyed(
    tmp_path: Path, write_image: Write, tag: Callable[..., Path], ending: str
) -> None:
    for order in ("little", "big") if ending != ".tif" else ("little",):
        path = write_image(tmp_path / f"a{ending}", gradient())
        plain = read_rgb(path), read_thermal(path)
        assert read_orientation(path) == 1
        for value in range(1, 9):
            write_image(path, gradient())
            tag(path, value, order)
            assert read_orientation(path) == value
            assert all(np.array_equal(*pair) for pair in zip((read_rgb(path), read_thermal(path)), plain, strict=True))


def test_orientation_of_other_tiffs_and_of_nonsense() -> None:
    big = b"II+\0" + bytes([8, 0, 0, 0, 16, *bytes(7), 1, *bytes(7), 18, 1, 3, 0, 1, *bytes(7), 8, *bytes(7)])
    assert orientation(big) == 8 and orientation(upright(big)) == 1 and len(upright(big)) == len(big)
    endless = b"MM\0*\0\0\0\x08\xff\xff" + bytes(40)
    for data in (b"", b"II*\0", endless, b"\xff\xd8\xff\xe1\0\x10Exif\0\0II*\0\xff\xff\xff\x7f", b"GIF89a"):
        assert orientation(data) == 1 and upright(data) == data


@pytest.mark.parametrize("read", READERS)
def test_damaged_data_of_a_jpeg_are_named(
    tmp_path: Path,
    write_image: Write,
    damage: Callable[[Path], Path],
    one_line: OneLine,
    capfd: pytest.CaptureFixture[str],
    read: Callable[..., np.ndarray],
) -> None:
    path = write_image(tmp_path / "a\nb.jpg", np.random.default_rng(0).integers(0, 2, (64, 64), np.uint8) * 255)
    damage(path)
    message = one_line(read, path)
    assert message.startswith(f"{tmp_path}/a\\nb.jpg: the image is damaged (Corrupt JPEG data: ")
    assert capfd.readouterr().err == ""


def test_what_others_write_to_stderr_meanwhile_is_written(
    tmp_path: Path, write_image: Write, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_image(tmp_path / "a.jpg", gradient())
    decode = cv2.imdecode

    def busy(*arguments: Any) -> Any:
        os.write(2, b"from another thread\nCorrupt JPEG data: bad Huffman code\nand ")
        os.write(2, b"another\n")
        return decode(*arguments)

    monkeypatch.setattr(cv2, "imdecode", busy)
    with pytest.raises(UserError, match="bad Huffman code"):
        read_rgb(path)
    assert capfd.readouterr().err == "from another thread\nand another\n"


def test_decoding_in_threads_beside_forks_and_with_stderr_closed(tmp_path: Path, write_image: Write) -> None:
    path = write_image(tmp_path / "a.jpg", gradient(300, 400))
    stderr = os.fstat(2).st_ino
    with ThreadPoolExecutor(4) as pool:
        images = [pool.submit(read_rgb, path) for _ in range(40)]
        for _ in range(5):
            if (child := os.fork()) == 0:
                os._exit(int(os.fstat(2).st_ino != stderr))
            assert os.waitpid(child, 0)[1] == 0
        assert all(np.array_equal(image.result(), images[0].result()) for image in images)
    files = len(os.listdir("/dev/fd"))
    kept = os.dup(2)
    os.close(2)
    try:
        image = read_rgb(path)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert np.array_equal(image, images[0].result()) and len(os.listdir("/dev/fd")) == files


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            "libGL.so.1: cannot open shared object file: No such file or directory",
            "opencv-python cannot find libGL: install opencv-python-headless in its place, "
            "or the system package libgl1",
        ),
        (
            "libgthread-2.0.so.0: cannot open\\nshared object file",
            "opencv-python cannot be imported (libgthread-2.0.so.0: cannot open shared object file): "
            "opencv-python-headless needs fewer system libraries",
        ),
    ],
)
def test_opencv_that_cannot_be_imported(tmp_path: Path, error: str, expected: str) -> None:
    (tmp_path / "cv2.py").write_text(f'raise ImportError("{error}")\n')
    code = (
        "from samsod.utils.errors import run_main\n"
        "def main():\n    import samsod.data.decoding.images\n"
        "run_main(main)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f"error: {expected}\n")


def test_real_masks_are_masks_and_photographs_are_not(shared_data: Path) -> None:
    for folder in ("crackvid/GT", "rgbflow/test/GT"):
        for path in sorted((shared_data / folder).iterdir())[::10]:
            assert read_truth(path).any()
    refused = 0
    photographs = sorted((shared_data / "rgbflow/test/RGB").iterdir())[::10]
    for path in photographs:
        with pytest.raises(ValueError, match="not a mask"):
            read_truth(path)
        refused += 1
    assert refused == len(photographs)


def test_real_thermal_of_one_channel(shared_data: Path) -> None:
    path = next(iter(sorted((shared_data / "pairs/T").iterdir())))
    image = read_thermal(path)
    assert image.shape == (480, 640, 3) and (image[..., 0] == image[..., 2]).all()


def test_damaged_pixels_of_a_png_are_named_even_where_opencv_would_take_them(tmp_path: Path) -> None:
    image = np.random.RandomState(0).randint(0, 256, (40, 50), dtype=np.uint8)
    data = bytearray(cv2.imencode(".png", image)[1].tobytes())
    start = data.index(b"IDAT") + 4
    for position in (start + 100, len(data) - 20):
        damaged = bytearray(data)
        damaged[position] ^= 4
        (tmp_path / "a.png").write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.png: the image is damaged"):
            read_saliency(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(data + b"what a camera appended")
    np.testing.assert_array_equal(read_saliency(tmp_path / "a.png"), image)


def test_saliency_maps_are_read_without_changing_a_level(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    alpha = np.dstack([grey, grey, grey, np.full_like(grey, 7)])
    same: dict[str, np.ndarray] = {
        "8": grey,
        "16": grey.astype(np.uint16) * 257,
        "3": np.dstack([grey] * 3),
        "4": alpha,
    }
    for name, stored in same.items():
        (tmp_path / f"{name}.png").write_bytes(cv2.imencode(".png", stored)[1].tobytes())
        np.testing.assert_array_equal(read_saliency(tmp_path / f"{name}.png"), grey)
    (tmp_path / "c.png").write_bytes(cv2.imencode(".png", np.dstack([grey, grey, grey ^ 1]))[1].tobytes())
    with pytest.raises(UserError, match=r"c\.png: not a saliency map: its three channels differ \(by up to 1\)"):
        read_saliency(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(cv2.imencode(".png", grey.astype(np.uint16) * 256)[1].tobytes())
    with pytest.raises(UserError, match=r"d\.png: holds 16-bit values that are no 8-bit ones"):
        read_saliency(tmp_path / "d.png")
