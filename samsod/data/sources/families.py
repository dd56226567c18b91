"""The data sets samsod knows by name. Adding one is one `Family` in `FAMILIES`, or `add_family` in a user's own module.

Names of folders are compared without regard to case, hyphens, underscores and blanks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.folders import enumerated
from samsod.data.sources.modalities import MODALITIES, Role, role_of
from samsod.utils.errors import UserError, nearest

Split = Literal["", "train", "test"]


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
        modalities: What it has images of; empty: a tree of one's own, which may have any.
        scribbles: Whether it holds foreground scribbles and labelled regions in the place of masks.
        trains: Whether a set without parts is one to train on.
    """

    name: str
    folders: tuple[str, ...]
    splits: Mapping[Split, int | None]
    modalities: tuple[str, ...] = ()
    scribbles: bool = False
    trains: bool = False

    def roles(self, modalities: Sequence[str]) -> Mapping[str, Role]:
        """What the folders hold that a model of these modalities needs, by modality, and then masks or scribbles.

        Raises:
            UserError: The set has no images of one of them.
        """
        for name in modalities if self.modalities else ():
            if name not in self.modalities:
                raise UserError(
                    f"{self.name}: has no {role_of(name).called}s; it has {enumerated(self.modalities)}: "
                    "set model.modalities to these, or to one of them"
                )
        truth = {"ground_truth": FOREGROUND, "labelled": LABELLED} if self.scribbles else {"ground_truth": MASK}
        return {**{name: role_of(name) for name in modalities}, **truth}


def _by_name(families: Iterable[Family]) -> dict[str, Family]:
    return {family.name: family for family in families}


_RGBT, _RGBD = ("rgb", "thermal"), ("rgb", "depth")
_OWN: Mapping[Split, int | None] = {"": None, "train": None, "test": None}
FAMILIES: dict[str, Family] = _by_name(
    (
        Family("folders", (), _OWN),
        Family("scribbles", (), _OWN, scribbles=True),
        Family("vt5000", ("VT5000", "VT5000_clear"), {"train": 2500, "test": 2500}, _RGBT),
        Family("vt1000", ("VT1000",), {"": 1000}, _RGBT),
        Family("vt821", ("VT821",), {"": 821}, _RGBT),
        Family("rgbts", ("RGBT-S", "RGBT scribble", "VT5000 scribble"), {"": 2500}, _RGBT, scribbles=True, trains=True),
        Family("nju2k", ("NJU2K", "NJUD", "NJU2000", "NJUDS2000"), {"train": 1485, "test": 500}, _RGBD),
        Family("nlpr", ("NLPR", "NLPR RGBD1000"), {"train": 700, "test": 300}, _RGBD),
        # The training parts of both in one folder, as collections hand them round; some name it after its part alone.
        Family(
            "nju2k_nlpr",
            ("NJU2K-NLPR", "NJU2K+NLPR", "NJUD-NLPR", "NJUNLPR", "RGBD for train", "TrainDataset"),
            {"": 2185},
            _RGBD,
            trains=True,
        ),
        Family("stere", ("STERE", "STEREO", "STERE1000", "STEREO1000", "SSB", "SSB1000"), {"": 1000}, _RGBD),
        Family("sip", ("SIP",), {"": 929}, _RGBD),
        Family(
            "neu_rsdds_aug",
            ("NEU-RSDDS-AUG", "RSDDS-AUG", "NEU RSDDS", "RSDDS"),
            {"train": 1500, "test": 362},
            _RGBD,
        ),
        Family(
            "vdt2048",
            ("VDT-2048", "VDT", "VDT2048 dataset", "VDT dataset"),
            {"train": 1048, "test": 1000},
            tuple(MODALITIES),
        ),
    )
)


def add_family(family: Family) -> None:
    """Makes a data set of the user's own known, for a module that `imports` names.

    Raises:
        ValueError: Another goes by its name.
    """
    if FAMILIES.setdefault(family.name, family) != family:
        raise ValueError(f"a data set family is already called {family.name!r}; choose another name")


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
