"""A table of every image on its own."""

from __future__ import annotations

import csv
import io

from samsod.evaluation.maps.scoring import Scores
from samsod.evaluation.metrics.saliency import SaliencyMetrics


def per_image_csv(scores: Scores) -> str:
    """A line for each method, data set and image, with all digits of all columns.

    Of a curve its own maximum counts: the mean of these is mostly above a table's maximum, that of the mean curve.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    heading: list[str] = []
    for method, by_set in scores.items():
        for dataset, images in by_set.items():
            for stem, image in images.items():
                alone = SaliencyMetrics()
                alone.extend([image])
                result = alone.result()
                del result["images"]
                if not heading:
                    heading = list(result)
                    writer.writerow(["method", "set", "image", *heading])
                writer.writerow([method, dataset, stem, *(result[column] for column in heading)])
    return buffer.getvalue()
