"""Parts of data sets: groups of images from lists, and videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from samsod.data.sources.folders import some_of
from samsod.data.sources.pairing import as_stem, lines_of, video_of
from samsod.evaluation.maps.scoring import MapSet, Scores
from samsod.evaluation.metrics.saliency import ImageScores, mean_scores
from samsod.utils.errors import UserError, collected, nearest, shown


@dataclass(frozen=True)
class Group:
    """Images of a data set that are also scored on their own."""

    dataset: str
    name: str
    stems: tuple[str, ...]

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.dataset}:{self.name}"


def find_groups(given: Sequence[str], map_sets: Sequence[MapSet]) -> list[Group]:
    """Groups from `NAME=LIST`, or `SET:NAME=LIST` when there are several data sets.

    A list is a text file with a stem a line; an image's ending may be there, blank lines and those that begin with `#`
    are passed over.

    Raises:
        UserError: No such data set or list, an empty list, a name that is taken, or stems that the set has no image of;
            one line for each.
    """
    known = {item.dataset: {pair.stem for pair in item.pairs} for item in map_sets}
    groups: list[Group] = []
    faults: list[str] = []
    for text in given:
        with collected(faults):
            group = _group(text, known)
            if group.label in {other.label for other in groups}:
                raise UserError(f"--group {text}: there is a group {group.label} already")
            groups.append(group)
    if faults:
        raise UserError(*faults)
    return groups


def _group(text: str, known: Mapping[str, set[str]]) -> Group:
    named, separator, place = text.partition("=")
    dataset, colon, name = named.rpartition(":")
    if not colon and len(known) == 1:
        (dataset,) = known
    if not separator or not name or not place:
        raise UserError(f"--group {text}: expected NAME=LIST, or SET:NAME=LIST with several data sets")
    if dataset not in known:
        near = nearest(dataset, known)
        said = f"{dataset!r} is no data set{near}" if dataset else "say which data set's: SET:NAME=LIST"
        raise UserError(f"--group {text}: {said}; there are {', '.join(known)}")
    names = [line for line in lines_of(Path(place)) if not line.startswith("#")]
    if not names:
        raise UserError(f"{place}: lists no name")
    stems = list(dict.fromkeys(as_stem(name, known[dataset]) for name in names))
    if unknown := [stem for stem in stems if stem not in known[dataset]]:
        raise UserError(f"{place}: {len(unknown)} of {len(stems)} names are no image of {dataset}: {some_of(unknown)}")
    return Group(dataset, shown(name), tuple(stems))


def group_scores(scores: Scores, groups: Sequence[Group]) -> Scores:
    """The scores of each group's images, as if it were a data set."""
    return {
        method: {group.label: {stem: by_set[group.dataset][stem] for stem in group.stems} for group in groups}
        for method, by_set in scores.items()
    }


Videos = Mapping[str, Mapping[str, str]]
"""Data set -> stem -> video, of the sets whose images are frames."""


def find_videos(map_sets: Sequence[MapSet], by_name: bool = False) -> Videos:
    """The video that each frame is of: what stands before the slash in `VIDEO/frame`.

    With `by_name` it is of other stems what stands before the last underscore.

    Raises:
        UserError: `by_name`, and a stem has neither; one line for each data set.
    """
    found: dict[str, dict[str, str]] = {}
    faults = []
    for item in map_sets:
        stems = [pair.stem for pair in item.pairs]
        videos = {stem: video_of(stem) or (stem.rpartition("_")[0] if by_name else "") for stem in stems}
        if all(videos.values()):
            found[item.dataset] = videos
        elif by_name:
            without = [stem for stem, video in videos.items() if not video]
            faults.append(f"--video: of which video are {some_of(without)} of {item.dataset}? expected VIDEO_FRAME")
    if faults:
        raise UserError(*dict.fromkeys(faults))
    return found


def video_scores(scores: Scores, videos: Videos) -> Scores:
    """The videos in the place of images: method -> data set -> video -> the mean of its frames' scores."""
    means: Scores = {}
    for method, by_set in scores.items():
        for dataset, video_of_stem in videos.items():
            frames: dict[str, list[ImageScores]] = {}
            for stem, image in by_set[dataset].items():
                frames.setdefault(video_of_stem[stem], []).append(image)
            means.setdefault(method, {})[dataset] = {video: mean_scores(images) for video, images in frames.items()}
    return means


def per_video(videos: Scores) -> Scores:
    """What `video_scores` gives, under names of its own beside the data sets'."""
    return {
        method: {f"{dataset} per video": scores for dataset, scores in by_set.items()}
        for method, by_set in videos.items()
    }


def drawn_units(scores: Scores, videos: Scores) -> Scores:
    """What a bootstrap draws: images, or in the place of a set's frames its `video_scores`, named as by `per_video`."""
    whole = per_video(videos)
    return {
        method: {name: images for name, images in by_set.items() if name not in videos.get(method, {})}
        | whole.get(method, {})
        for method, by_set in scores.items()
    }
