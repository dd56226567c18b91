"""The data sets samsod knows by name. Adding one is one `Family` in `FAMILIES`.

Names of folders are compared without regard to case, hyphens, underscores and blanks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from samsod.config.data_schema import DatasetConfig
from samsod.utils.errors import UserError, nearest

Split = Literal["", "train", "test"]


class Role(NamedTuple):
    """What one folder of a set holds: what messages call an image of it, and the folder's usual names, best first."""

    called: str
    names: tuple[str, ...]


_THERMAL_NAMES = ("T", "thermal", "th", "IR", "infrared", "thermals")
_DEPTH_NAMES = ("depth", "depths", "D", "dep", "depth map", "depth maps")
RGB = Role("RGB image", ("RGB", "Img", "Imgs", "image", "images", "visible", "vis", "RGB left"))
SECOND = {
    "thermal": Role("thermal image", _THERMAL_NAMES),
    "depth": Role("depth image", _DEPTH_NAMES),
    "either": Role("thermal image", _THERMAL_NAMES + _DEPTH_NAMES),
}
MASK = Role(
    "mask", ("GT", "GTs", "mask", "masks", "ground truth", "ground truths", "label", "labels", "annotation",
             "annotations")
)  # fmt: skip
FOREGROUND = Role("foreground scribble", ("GT", "foreground", "fg", "scribble", "scribbles", "ground truth", "strokes"))
LABELLED = Role(
    "labelled-region image",
    ("mask", "masks", "labelled", "labeled", "labelled region", "labeled region", "region", "regions", "known"),
)


@dataclass(frozen=True)
class Family:
    """A published data set.

    Attributes:
        name: What a config calls it.
        folders: Names its folder has in the wild, the first of which results call it by; empty: it has none of its
            own, and `root` must be given.
        splits: Its parts and how many pairs each holds, None when that is open; "" stands for a set without parts.
        second: Its second modality.
        scribbles: Whether it holds foreground scribbles and labelled regions in the place of masks.
        trains: Whether a set without parts is one to train on.
    """

    name: str
    folders: tuple[str, ...]
    splits: Mapping[Split, int | None]
    second: Literal["thermal", "depth", "either"] = "thermal"
    scribbles: bool = False
    trains: bool = False

    @property
    def roles(self) -> Mapping[str, Role]:
        """What its folders hold, by the name of `Triplet`'s field."""
        truth = {"ground_truth": FOREGROUND, "labelled": LABELLED} if self.scribbles else {"ground_truth": MASK}
        return {"rgb": RGB, "thermal": SECOND[self.second], **truth}


def _by_name(families: Iterable[Family]) -> Mapping[str, Family]:
    return {family.name: family for family in families}


_OWN: Mapping[Split, int | None] = {"": None, "train": None, "test": None}
FAMILIES: Mapping[str, Family] = _by_name(
    (
        Family("folders", (), _OWN, "either"),
        Family("scribbles", (), _OWN, "either", scribbles=True),
        Family("vt5000", ("VT5000", "VT5000_clear"), {"train": 2500, "test": 2500}),
        Family("vt1000", ("VT1000",), {"": 1000}),
        Family("vt821", ("VT821",), {"": 821}),
        Family("rgbts", ("RGBT-S", "RGBT scribble", "VT5000 scribble"), {"": 2500}, scribbles=True, trains=True),
        Family("nju2k", ("NJU2K", "NJUD", "NJU2000", "NJUDS2000"), {"train": 1485, "test": 500}, "depth"),
        Family("nlpr", ("NLPR", "NLPR RGBD1000"), {"train": 700, "test": 300}, "depth"),
        # The training parts of both in one folder, as collections hand them round; some name it after its part alone.
        Family(
            "nju2k_nlpr",
            ("NJU2K-NLPR", "NJU2K+NLPR", "NJUD-NLPR", "NJUNLPR", "RGBD for train", "TrainDataset"),
            {"": 2185},
            "depth",
            trains=True,
        ),
        Family("stere", ("STERE", "STEREO", "STERE1000", "STEREO1000", "SSB", "SSB1000"), {"": 1000}, "depth"),
        Family("sip", ("SIP",), {"": 929}, "depth"),
        Family(
            "neu_rsdds_aug",
            ("NEU-RSDDS-AUG", "RSDDS-AUG", "NEU RSDDS", "RSDDS"),
            {"train": 1500, "test": 362},
            "depth",
        ),
    )
)


def family_named(name: str) -> Family:
    """The family of that name.

    Raises:
        UserError: There is none.
    """
    if name not in FAMILIES:
        raise UserError(
            f"no data set family is called {name!r}{nearest(name, FAMILIES)}; known: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[name]


def find_family(config: DatasetConfig) -> Family:
    """The family a config names, checked to have the part it asks for.

    Raises:
        UserError: No such family, or it has no such part.
    """
    family = family_named(config.family)
    if config.split not in family.splits:
        choices = " or ".join(part for part in family.splits if part)
        wanted = f"expected {choices}" if choices else "it has no parts, leave split out"
        raise UserError(f"{family.name}: split is {config.split!r}; {wanted}")
    return family
