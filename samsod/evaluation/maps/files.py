"""Images of a folder by stem, where their names have more to them: a prefix, a suffix, or a folder for each video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samsod.data.sources.folders import ENDINGS, OWN, NoImage, images_or_frames
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

    def by_stem(self, folder: Path, within: Sequence[str] = (OWN,)) -> dict[str, Path]:
        """The images of a folder by stem, in the order of their names; if it holds none, those of the videos in it.

        Args:
            folder: The folder, this one or one in it: with `0001.png`, or with `VIDEO/0001.png`, whose stem is
                `VIDEO/0001`.
            within: How the folder in a video's that holds its images may be called; last, `OWN`.

        Raises:
            UserError: It cannot be listed, holds no such image, or some of one stem; one line for each such stem.
        """
        try:
            return images_or_frames(folder, within, self._stem)
        except NoImage:
            if not (self.prefix or self.suffix):
                raise
            raise NoImage(f"{shown(folder)}: no image in it is called {self.prefix}NAME{self.suffix}") from None

    def _stem(self, path: Path) -> str | None:
        whole = self.suffix.lower().endswith(ENDINGS)
        name = path.name if whole else path.stem
        fits = name.startswith(self.prefix) and name.endswith(self.suffix)
        fits = fits and len(name) > len(self.prefix) + len(self.suffix)
        return name[len(self.prefix) : len(name) - len(self.suffix)] if fits else None
