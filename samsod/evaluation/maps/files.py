"""Images of a folder by stem, where their names have more to them: a prefix, a suffix, or a folder for each video."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from samsod.data.sources.folders import ENDINGS, NoImage, by_stem, children, images_by_stem, images_in, subfolders
from samsod.utils.errors import shown


@dataclass(frozen=True)
class Files:
    """A folder and what surrounds the stems in its files' names.

    Only files that have both are taken. The suffix may be the end of the whole name, `_sal.png`, or stand before the
    ending, `_sal`.
    """

    folder: Path
    prefix: str = ""
    suffix: str = ""

    def by_stem(self, folder: Path, within: Sequence[str] = ()) -> dict[str, Path]:
        """The images of a folder by stem, in the order of their names; if it holds none, those of the videos in it.

        Args:
            folder: The folder, this one or one in it: with `0001.png`, or with `VIDEO/0001.png`, whose stem is
                `VIDEO/0001`.
            within: How a folder in a video's may be called that holds its images, when these do not lie in its own.

        Raises:
            UserError: It cannot be listed, holds no such image, or some of one stem; one line for each such stem.
        """
        if images_in(folder):
            return self._images(folder)
        found: dict[str, Path] = {}
        for video in subfolders(folder):
            place = video if images_in(video) else next(iter(children(video, within)), video)
            with suppress(NoImage):
                found |= {f"{video.name}/{stem}": path for stem, path in self._images(place).items()}
        return found or images_by_stem(folder)  # which says that there is none

    def _images(self, folder: Path) -> dict[str, Path]:
        if not (self.prefix or self.suffix):
            return images_by_stem(folder)
        found = [path for path in images_in(folder) if self._stem(path) is not None]
        if not found:
            raise NoImage(f"{shown(folder)}: no image in it is called {self.prefix}NAME{self.suffix}")
        stems = {str(self._stem(path)): path for path in found}
        if len(stems) < len(found):
            by_stem(found, folder)  # which says which
        return stems

    def _stem(self, path: Path) -> str | None:
        whole = self.suffix.lower().endswith(ENDINGS)
        name = path.name if whole else path.stem
        fits = name.startswith(self.prefix) and name.endswith(self.suffix)
        fits = fits and len(name) > len(self.prefix) + len(self.suffix)
        return name[len(self.prefix) : len(name) - len(self.suffix)] if fits else None
