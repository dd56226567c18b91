"""What a prediction of many files leaves: maps, masks and pictures by stem, and what they were made with."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from samsod.data.decoding.images import Bytes, read_saliency
from samsod.data.pictures import Floats, is_whole_png, quantised, write_png
from samsod.prediction.result import mask_of
from samsod.prediction.scene_pictures import PICTURES, Look
from samsod.utils.errors import UserError
from samsod.utils.files import check_writable, read_json, write_text

RECORD = "prediction.json"
LEFT_OUT = "left_out.txt"


class PredictionFolder:
    """The output folder: `maps/`, and if wanted `masks/` and pictures to look at, one PNG for each stem in each.

    Each file is whole or absent, so that a run that was cut off goes on with what is not there; `prediction.json` holds
    what must be the same for that.

    Args:
        path: The folder.
        threshold: That of the masks, see `mask_of`; None: no masks.
        pictures: Which of `PICTURES` are written, each into the folder of its name.
    """

    def __init__(self, path: Path, threshold: float | str | None = None, pictures: Collection[str] = ()) -> None:
        self.path = path
        self.threshold = threshold
        self.pictures = [kind for kind in PICTURES if kind in pictures]
        masks = [] if threshold is None else ["masks"]
        self._folders = [path / kind for kind in ("maps", *masks, *self.pictures)]

    def prepare(self, settings: Mapping[str, Any]) -> None:
        """Makes the folders and records the settings; by one rank, before any writes.

        Args:
            settings: What maps depend on, as JSON has it.

        Raises:
            UserError: The folder holds maps made otherwise, or by others, or cannot be written to.
        """
        check_writable(self.path)
        wanted = {**settings, **({} if self.threshold is None else {"masks": self.threshold})}
        record = self.path / RECORD
        recorded = read_json(record, "that of a prediction; choose another output") if record.exists() else {}
        if not recorded and any(folder.is_dir() and any(folder.iterdir()) for folder in self._folders):
            raise UserError(f"{self.path}: holds files that no prediction wrote; choose another output")
        for key, value in recorded.items():
            if key in wanted and wanted[key] != value:
                raise UserError(
                    f"{self.path}: holds maps made otherwise: {key} was {json.dumps(value)} and is "
                    f"{json.dumps(wanted[key])} now; choose another output"
                )
        try:
            for folder in self._folders:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{error.filename}: cannot be made: {error.strerror}") from None
        write_text(record, json.dumps({**recorded, **wanted}, indent=1) + "\n")

    def is_whole(self, stem: str) -> bool:
        """Whether all that is wanted of an image is there."""
        return all(is_whole_png(folder / f"{stem}.png") for folder in self._folders)

    def has_map(self, stem: str) -> bool:
        """Whether an image's map is there."""
        return is_whole_png(self.path / "maps" / f"{stem}.png")

    def read_map(self, stem: str) -> Bytes:
        """An image's map, uint8 `[H,W]`.

        Raises:
            UserError: It cannot be read.
        """
        return read_saliency(self.path / "maps" / f"{stem}.png")

    def save(self, stem: str, saliency: Floats, look: Look | None) -> None:
        """Writes what is wanted of an image; `look` is what pictures show, if there are to be any.

        Raises:
            OSError: It cannot be written; the error names the file.
        """
        for folder in self._folders:
            (folder / stem).parent.mkdir(exist_ok=True)  # that of a frame's video
        write_png(self.path / "maps" / f"{stem}.png", quantised(saliency))
        if self.threshold is not None:
            mask = mask_of(saliency, self.threshold).astype(np.uint8) * 255
            write_png(self.path / "masks" / f"{stem}.png", mask)
        for kind in self.pictures:
            assert look is not None
            write_png(self.path / kind / f"{stem}.png", PICTURES[kind](look, saliency))

    def list_left_out(self, faults: list[str]) -> None:
        """Writes which images were left out and why, a line each; no file when there are none."""
        if faults:
            write_text(self.path / LEFT_OUT, "".join(f"{fault}\n" for fault in faults))
        else:
            (self.path / LEFT_OUT).unlink(missing_ok=True)
