"""What samsod knows of a data set: its name, the names of its folders in the wild, its parts, and what its images are.

Names of folders are compared without regard to case, hyphens, underscores and blanks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from samsod.data.sources.folders import enumerated
from samsod.data.sources.modalities import Role, role_of
from samsod.utils.errors import UserError

Split = Literal["", "train", "test"]


MASK = Role(
    "mask", ("GT", "GTs", "mask", "masks", "ground truth", "ground truths", "label", "labels", "annotation",
             "annotations", "GT object")
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
        aligned: Whether the images of a pair show the same view. Where they do not, they differ in size.
        videos: Whether its images lie by video, as in `VIDEO/RGB/0001.jpg`. Stems are then `VIDEO/0001`, frames without
            a mask are passed over, and all frames of a video are held out or none.
        shared_masks: Whether the masks of all parts lie in one folder.
    """

    name: str
    folders: tuple[str, ...]
    splits: Mapping[Split, int | None]
    modalities: tuple[str, ...] = ()
    scribbles: bool = False
    trains: bool = False
    aligned: bool = True
    videos: bool = False
    shared_masks: bool = False

    def roles(self, modalities: Sequence[str]) -> Mapping[str, Role]:
        """What the folders hold that a model of these modalities needs, by modality, and then masks or scribbles.

        Raises:
            UserError: The set has no images of one of them.
        """
        for name in modalities if self.modalities else ():
            if name not in self.modalities:
                raise UserError(
                    f"{self.name}: has no {role_of(name).called}s; it has {enumerated(self.modalities)}: "
                    f"set model.modalities to {'these, or to one of them' if self.modalities[1:] else 'it'}"
                )
        truth = {"ground_truth": FOREGROUND, "labelled": LABELLED} if self.scribbles else {"ground_truth": MASK}
        return {**{name: role_of(name) for name in modalities}, **truth}
