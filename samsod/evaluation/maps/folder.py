"""The maps that a test writes: whole sets of them, and no file in the way of another's."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from samsod.data.pictures import write_png
from samsod.data.sources.folders import some_of
from samsod.data.sources.pairing import video_of
from samsod.utils.errors import UserError
from samsod.utils.files import check_writable, write_text


class MapsFolder:
    """The folder of a data set's maps, `maps/NAME`, to which every rank writes its share.

    They go into a hidden folder in it and take the place of older ones when all are there, so that a test that fails
    leaves what was there before. Which files are the test's own is kept beside the folder, in `maps/.NAME.json`: only
    these are ever replaced or taken away.

    Args:
        folder: The folder.
        stems: Of the images; a map is called as its image, with the ending .png. That of a video's frame lies in a
            folder called as the video.
    """

    def __init__(self, folder: Path, stems: Sequence[str]) -> None:
        self.folder = folder
        self._files = [f"{stem}.png" for stem in stems]
        self._partial = folder / ".partial"
        self._record = folder.with_name(f".{folder.name}.json")

    def prepare(self) -> None:
        """Makes the hidden folder; by one rank, before any writes.

        Raises:
            UserError: It cannot be made, or a file that no test wrote has the name of a map.
        """
        check_writable(self.folder)
        own = self._recorded()
        there = [name for name in self._files if os.path.lexists(self.folder / name)]
        foreign = [name for name in there if name not in own or (self.folder / name).is_dir()]
        videos = [name for name in self._videos() if os.path.lexists(self.folder / name)]
        foreign += [name for name in videos if not (self.folder / name).is_dir()]
        if foreign:
            raise UserError(
                f"{self.folder}: {some_of(foreign)} would be replaced, which no test wrote; move what is yours, or "
                "choose another output"
            )
        try:
            shutil.rmtree(self._partial, ignore_errors=True)  # of a run that was killed
            self._partial.mkdir(parents=True)
            for name in self._videos():
                (self._partial / name).mkdir()
        except OSError as error:
            raise UserError(f"{self._partial}: cannot be made: {error.strerror}") from None

    def save(self, stem: str, grey: np.ndarray) -> None:
        """Writes a map.

        Raises:
            OSError: It cannot be written; the error names the file it was to become.
        """
        try:
            write_png(self._partial / f"{stem}.png", grey)
        except OSError as error:
            error.filename, error.filename2 = str(self.folder / f"{stem}.png"), None
            raise

    def publish(self) -> None:
        """Puts the maps in the place of those an earlier test wrote; by one rank, when all have written.

        Raises:
            OSError: The record cannot be written.
        """
        own = self._recorded()
        self._keep_record({*own, *self._files})  # first, so that a kill from here on disowns nothing
        for name in self._videos():
            (self.folder / name).mkdir(exist_ok=True)
        for name in self._files:
            (self._partial / name).replace(self.folder / name)
        for name in own.difference(self._files):
            (self.folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # a video's folder that is not empty, or the folder itself
                (self.folder / name).parent.rmdir()
        self._keep_record({*self._files})

    def discard(self) -> None:
        """Takes away what was not published, and folders that are empty for that."""
        shutil.rmtree(self._partial, ignore_errors=True)
        with suppress(OSError):
            self.folder.rmdir()
            self.folder.parent.rmdir()

    def _videos(self) -> list[str]:
        """The folders of videos that maps lie in."""
        return sorted({video for video in map(video_of, self._files) if video})

    def _recorded(self) -> set[str]:
        """The names of the maps that earlier tests wrote; a damaged record names none."""
        try:
            names = json.loads(self._record.read_text(encoding="utf-8"))
            return {name for name in names if _is_below(Path(name))}
        except (OSError, ValueError, TypeError):
            return set()

    def _keep_record(self, names: set[str]) -> None:
        write_text(self._record, json.dumps(sorted(names)) + "\n")


def _is_below(name: Path) -> bool:
    """Whether a file of that name lies in a folder, or in one of its folders."""
    return len(name.parts) in (1, 2) and not name.is_absolute() and ".." not in name.parts
