"""The contact sheet of a test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samsod.data.decoding.images import cv2

CELL_HEIGHT = 128
NARROWEST, WIDEST = 0.75, 4
"""Width of a column as a multiple of its height; images of other shapes lie in the middle of it."""
GAP = 6
MARGIN = 26
INK, PAPER, BLANK = (40, 40, 40), (255, 255, 255), (232, 232, 232)


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray | None]]], titles: Sequence[str], height: int = CELL_HEIGHT
) -> np.ndarray:
    """Images in rows under column titles, the row's name below its first image.

    Args:
        rows: Name and images of each row; `[H,W,3]` RGB or `[H,W]` grey, uint8; None leaves a blank cell.
        titles: Titles of the columns.
        height: Pixels of a row.

    Returns:
        The sheet, uint8 `[h,w,3]` RGB.
    """
    widths = [max(_cell_width(images, height) for _, images in rows)] * len(titles)
    heading = _strip([(title, width) for title, width in zip(titles, widths, strict=True)])
    bands = [heading]
    for name, images in rows:
        cells = [fitted(image, width, height) for image, width in zip(images, widths, strict=True)]
        bands += [_beside(cells), _strip([(name, sum(widths) + GAP * (len(widths) - 1))], small=True)]
    sheet = np.concatenate(bands, axis=0)
    return cv2.copyMakeBorder(sheet, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=PAPER)


def fitted(image: np.ndarray | None, width: int, height: int) -> np.ndarray:
    """An image as large as it can be in the middle of a cell, uint8 `[height,width,3]`; None leaves it blank."""
    if image is None:
        return np.full((height, width, 3), BLANK, np.uint8)
    coloured = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(coloured, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    down, right = height - size[1], width - size[0]
    return cv2.copyMakeBorder(
        small, down // 2, down - down // 2, right // 2, right - right // 2, cv2.BORDER_CONSTANT, value=BLANK
    )


def _cell_width(images: Sequence[np.ndarray | None], cell_height: int) -> int:
    height, width = next(image for image in images if image is not None).shape[:2]
    return min(max(round(NARROWEST * cell_height), round(width * cell_height / height)), WIDEST * cell_height)


def _beside(cells: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((len(cells[0]), GAP, 3), PAPER, np.uint8)
    pieces = [piece for cell in cells for piece in (gap, cell)][1:]
    return np.concatenate(pieces, axis=1)


def _strip(labels: Sequence[tuple[str, int]], small: bool = False) -> np.ndarray:
    """A white band with one text per column, shortened to fit."""
    size, height = (0.4, 18) if small else (0.5, MARGIN)
    strips = []
    for label, width in labels:
        text = label.encode("ascii", "replace").decode()  # OpenCV draws no other letters, and dies of broken ones
        strip = np.full((height, width, 3), PAPER, np.uint8)
        while text and cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0] > width:
            text = text[:-1]
        cv2.putText(strip, text, (0, height - 6), cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)
        strips.append(strip)
    return _beside(strips)
