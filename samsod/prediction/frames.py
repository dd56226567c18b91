"""Scenes from videos, one for each modality: frames are paired by their index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

from samsod.data.pair_images import Source
from samsod.prediction.items import Item
from samsod.prediction.videos import Video
from samsod.utils.errors import collected

Track = Path | Sequence[Path]
"""The frames of a modality: a video, or images in their order."""

_ALIKE = 0.01
"""Rates that differ by a smaller share are one, written with fewer digits."""


class VideoScenes:
    """Scenes whose images are frames of the same index, of which at least one modality's come from a video.

    A scene's stem is its frames' index from 0, with six digits. Where one video ends before another, so do the scenes,
    or with `allow_missing` the others go on alone.

    Args:
        tracks: By modality, the reference first, its frames.
        allow_missing: Predict frames of some modalities too.

    Raises:
        UserError: A video cannot be read.
    """

    def __init__(self, tracks: Mapping[str, Track], allow_missing: bool) -> None:
        self.modalities: Sequence[str] = list(tracks)
        self.unmatched: Sequence[str] = ()
        self._tracks = tracks
        self._allow_missing = allow_missing
        lengths: dict[str, int] = {}
        rates: dict[str, float] = {}
        for track in tracks.values():
            with closing(_opened(track)) as reader:
                lengths[reader.called] = reader.length
                if isinstance(reader, Video):
                    rates[reader.called] = reader.rate
        self.rate: float | None = next(iter(rates.values()))
        known = [length for length in lengths.values() if length]
        self._length = (max if allow_missing else min)(known, default=0)
        self.notes: Sequence[str] = [*self._on_lengths(lengths), *_on_rates(rates)]

    def stems(self) -> Iterator[str]:
        """The stems of as many as the videos say there are."""
        return map(_stem, range(self._length))

    def read(self, wanted: Callable[[int, str], bool]) -> Iterator[Item]:
        """The wanted scenes; frames of the others are passed over, since few videos can be entered in their middle."""
        with ExitStack() as opened:
            readers = {name: opened.enter_context(closing(_opened(track))) for name, track in self._tracks.items()}
            first = next(iter(readers.values())).called
            for index in count():
                is_wanted = wanted(index, _stem(index))
                images, faults, ended = _taken(readers, is_wanted)
                if len(ended) == len(self._tracks) or (ended and not self._allow_missing and not faults):
                    return
                if is_wanted:
                    yield Item(_stem(index), f"{first}: frame {index}", images, faults)

    def _on_lengths(self, lengths: Mapping[str, int]) -> Iterator[str]:
        known = {called: length for called, length in lengths.items() if length}
        if len(set(known.values())) > 1:
            said = ", ".join(f"{called} has {length} frames" for called, length in known.items())
            least = min(known.values())
            done = "the rest is predicted without what ended" if self._allow_missing else "the rest is left out"
            yield f"{said}: the first {least} are paired by their index, {done}"


class _Images:
    """Image files in the place of a video."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.called = str(paths[0].parent)
        self.length = len(paths)
        self._paths = iter(paths)

    def skip(self) -> bool:
        return self.read() is not None

    def read(self) -> Path | None:
        return next(self._paths, None)

    def close(self) -> None:
        pass


def _opened(track: Track) -> Video | _Images:
    return Video(track) if isinstance(track, Path) else _Images(track)


def _taken(readers: Mapping[str, Video | _Images], wanted: bool) -> tuple[dict[str, Source], list[str], list[str]]:
    """The next frame of each that has one, what is wrong with them, and which have ended."""
    images: dict[str, Source] = {}
    faults: list[str] = []
    ended: list[str] = []
    for name, reader in readers.items():
        with collected(faults):
            if not wanted:
                ended += [] if reader.skip() else [name]
            elif (image := reader.read()) is None:
                ended.append(name)
            else:
                images[name] = image
    return images, faults, ended


def _on_rates(rates: Mapping[str, float]) -> Iterator[str]:
    if max(rates.values()) > (1 + _ALIKE) * min(rates.values()):
        said = ", ".join(f"{called} has {rate:.4g} frames a second" for called, rate in rates.items())
        yield f"{said}: frames are paired by their index all the same; give them one rate first if that is wrong"


def _stem(index: int) -> str:
    return f"{index:06d}"
