from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from samsod.data.decoding.images import Bytes
from samsod.prediction.videos import CODECS, USUAL_RATE, Video, check_video, write_video
from samsod.utils.errors import Failure, UserError
from tests.prediction.films import damage, damage_frame, film_of, moving


def frames_of(path: Path) -> list[Bytes | str]:
    """Every frame, or what is said of it."""
    video, frames = Video(path), list[Bytes | str]()
    while True:
        try:
            frame = video.read()
        except UserError as error:
            frames.append(str(error))
            continue
        if frame is None:
            return frames
        frames.append(frame)


@pytest.mark.parametrize("ending", CODECS)
def test_what_is_written_is_read(tmp_path: Path, ending: str) -> None:
    frames = moving(9, height=49, width=63)
    path = tmp_path / f"film{ending}"
    assert write_video(path, iter(frames), 12.5) == 9
    video = Video(path)
    assert (video.length, round(video.rate, 3)) == (9, 12.5)
    found = frames_of(path)
    assert len(found) == 9
    for frame, original in zip(found, frames, strict=True):
        assert isinstance(frame, np.ndarray) and frame.shape == (50, 64, 3)  # even sides
        assert np.abs(frame[:49, :63].astype(int) - original).mean() < 8
    assert os.listdir(tmp_path) == [path.name]


def test_frames_that_are_passed_over_count(tmp_path: Path) -> None:
    path = film_of(tmp_path / "a.avi", moving(6))
    every, video = frames_of(path), Video(path)
    assert video.skip() and video.skip()
    frame = video.read()
    assert frame is not None and np.array_equal(frame, every[2])
    assert [video.skip() for _ in range(4)] == [True, True, True, False]
    assert video.read() is None


def test_a_damaged_frame_is_named_and_the_next_is_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = film_of(tmp_path / "a.avi", moving(20))
    whole = frames_of(path)
    found = frames_of(damage_frame(path, 9))
    wrong = [index for index, frame in enumerate(found) if isinstance(frame, str)]
    assert len(found) == 20 and wrong == [9] and str(found[9]).startswith(f"{path}: frame 9 is damaged (")
    for index in set(range(20)) - set(wrong):
        assert np.array_equal(found[index], whole[index])
    assert capfd.readouterr().err == ""


def test_lost_frames_keep_the_index_of_the_others(tmp_path: Path) -> None:
    path = film_of(tmp_path / "a.mp4", moving(50, height=64, width=96), codec="mp4v")
    found = frames_of(damage(path, path.stat().st_size // 2, 300))
    wrong = [index for index, frame in enumerate(found) if isinstance(frame, str)]
    assert len(found) == 50 and wrong and all(15 < index < 35 for index in wrong)


def test_what_is_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    film_of(tmp_path / "cut.mp4", moving(20), codec="mp4v")
    content = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    for name, message in (
        ("cut.mp4", r"cut\.mp4: not a video OpenCV can read, or a damaged one \(moov atom not found\)$"),
        ("text.mp4", r"text\.mp4: not a video OpenCV can read, or a damaged one"),
        ("empty.mp4", r"empty\.mp4: the file is empty$"),
        ("nowhere.mp4", r"nowhere\.mp4: cannot be read: No such file or directory$"),
    ):
        with pytest.raises(UserError, match=message):
            Video(tmp_path / name)
    assert capfd.readouterr().err == ""


def test_a_video_that_was_cut_off_says_so_once(tmp_path: Path) -> None:
    path = film_of(tmp_path / "a.avi", moving(20))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    *frames, last = frames_of(path)
    assert 10 < len(frames) < 16
    assert str(last).endswith(f"ends after {len(frames)} frames and says it has 20: it was cut off")


def test_nothing_half_written_takes_the_name(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the last one")

    def breaking() -> Iterator[Bytes]:
        yield from moving(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, breaking(), USUAL_RATE)
    assert path.read_bytes() == b"the last one" and os.listdir(tmp_path) == ["film.mp4"]
    assert write_video(path, iter([]), USUAL_RATE) == 0 and path.read_bytes() == b"the last one"


def test_a_full_disk_is_told(small_disk: Path) -> None:
    rng = np.random.default_rng(0)
    frames = (rng.integers(0, 256, (96, 96, 3), dtype=np.uint8) for _ in range(60))
    with pytest.raises((Failure, OSError), match="film"):
        write_video(small_disk / "film.avi", frames, USUAL_RATE)
    assert os.listdir(small_disk) == []


def test_videos_nobody_can_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"film\.gif: expected a video's name with the ending \.mp4, \.avi, "):
        check_video(tmp_path / "film.gif")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="expected a folder"):
        check_video(tmp_path / "file" / "film.mp4")
