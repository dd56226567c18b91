"""The part of the configuration that says what is trained and tested on, and how it is read and augmented."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from samsod.config.yaml_tree import Faults

Sizes = Literal["equal", "any"]
"""Whether the images of a pair must have one size."""

OVERALL = "Overall"
"""What results call the mean over several data sets, weighted by their numbers of images; no set may be called so."""


@dataclass
class DatasetConfig:
    """One data set: a family of the catalog and where it lies."""

    family: str = "folders"
    """folders (any tree with a folder for each modality and one of masks), scribbles (the same with scribbles for
    masks), videos (such a tree for every video), or a published set: vt5000, nju2k, rdvs, cod10k, ...; data/README.md
    lists them all"""
    split: Literal["", "train", "test"] = ""
    """which part, for families that have parts"""
    root: str = ""
    """the set's folder; empty: looked for under data.root by the family's name"""
    name: str = ""
    """what results call it; empty: the set's own name (VT5000)"""
    list_file: str = ""
    """text file with one stem a line (of a set of videos VIDEO/stem, or VIDEO for all its frames) that selects and
    orders the pairs; empty: all, by stem"""
    folders: dict[str, str] = field(default_factory=dict)
    """by modality, the folder of its images under root; of those left out the usual names are tried"""
    ground_truth: str = ""
    """folder of the masks (of sets with scribbles: of the foreground strokes) under root; empty: the usual names are
    tried"""
    labelled: str = ""
    """of sets with scribbles, folder under root of the images that say which pixels are labelled; empty: the usual
    names are tried"""

    def check(self) -> Faults:
        """Yields (key, message) for a name that is no folder name: results are stored below it."""
        if self.name and (Path(self.name).name != self.name or self.name.startswith(".") or self.name == OVERALL):
            yield "name", f"expected a plain name without slashes, found {self.name!r}"


@dataclass
class AugmentConfig:
    """Photometric augmentation (SPEC 4): each factor is drawn uniformly from its range, for every modality apart.

    A sample depends on seed, epoch and index alone, whatever the loader processes and ranks.
    """

    enabled: bool = True
    """false trains on the images as they are"""
    brightness: list[float] = field(default_factory=lambda: [0.5, 1.5])
    """range of the brightness factor"""
    contrast: list[float] = field(default_factory=lambda: [0.5, 1.5])
    """range of the contrast factor"""
    color: list[float] = field(default_factory=lambda: [0.0, 2.0])
    """range of the colour factor"""
    sharpness: list[float] = field(default_factory=lambda: [0.0, 3.0])
    """range of the sharpness factor"""
    steps: float = 0.0
    """draw each factor from its range in steps of this size, 0.1 in the released code; 0: any number of it"""
    photometric: Literal["resized", "full_size"] = "resized"
    """change the image once it is resized, or, as the released code does and slower, at the size it is stored in"""
    flip: bool = False
    """mirror all images and the truth left to right with probability one half (this and what follows: not in the
    paper)"""
    crop: float = 1.0
    """cut out a random part with sides of at least this share of the image's, the same of all images and the truth"""
    rotate: float = 0.0
    """turn all images and the truth by up to so many degrees either way; the corners that come into view are black in
    all of them"""
    multiscale: list[float] = field(default_factory=list)
    """factors on model.image_size, one of which is drawn for every batch and rounded to a multiple of 32 pixels, at
    least 64; empty: always the size itself"""
    modality_dropout: float = 0.0
    """probability that one of the images, each with the same chance, is blanked as if its file were black; never the
    only one"""

    def check(self) -> Faults:
        """Yields (key, message) for every range that is none."""
        for key in ("brightness", "contrast", "color", "sharpness"):
            bounds = getattr(self, key)
            if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1]:
                yield key, f"expected [low, high] with 0 <= low <= high, found {bounds}"
        if self.steps < 0:
            yield "steps", f"expected 0 or more, found {self.steps}"
        if not 0 <= self.modality_dropout <= 1:
            yield "modality_dropout", f"expected a probability between 0 and 1, found {self.modality_dropout}"
        if not 0 < self.crop <= 1:
            yield "crop", f"expected a share above 0, at most 1, found {self.crop}"
        if not 0 <= self.rotate <= 180:
            yield "rotate", f"expected 0 to 180 degrees, found {self.rotate}"
        if any(factor <= 0 for factor in self.multiscale):
            yield "multiscale", f"expected factors above 0, found {self.multiscale}"


@dataclass
class ModalityConfig:
    """How the images of one modality are read (SPEC 5): whatever is stored becomes 8 bits; and augmented on its own."""

    normalize: bool | None = None
    """standardise with ImageNet's statistics; false only scales to 0-1; null: standardise rgb alone, as the released
    code does"""
    scale: Literal["image", "fixed", "cut"] | None = None
    """image: 16-bit and floating-point images are stretched, each from its own minimum to its maximum, 8-bit ones stay
    as they are; fixed: all alike from `range`; cut: of 16 bits the upper 8; null: cut for rgb, image for the others"""
    range: list[float] = field(default_factory=list)
    """with scale fixed, the stored values that become 0 and 255, for 8 bits too; empty: all a 16-bit image can hold"""
    invert: bool = False
    """swap dark and bright, for depth that is stored the other way round"""
    missing: float | None = None
    """the stored value that means no reading, 0 for most depth cameras (NaN and infinities always do); it does not
    count for the stretch"""
    fill: Literal["zero", "nearest"] = "zero"
    """what a pixel without a reading becomes: black (with invert too), or its nearest reading"""
    over_exposure: float = 0.0
    """when training, probability that a spot of the image is burnt out"""
    crossover: float = 0.0
    """when training, probability that a region of the image loses its contrast, as where object and surroundings are
    equally warm"""

    def check(self) -> Faults:
        """Yields (key, message) for every value out of range."""
        if self.range and not (len(self.range) == 2 and self.range[0] < self.range[1]):
            yield "range", f"expected [low, high] with low < high, found {self.range}"
        if self.range and self.scale != "fixed":
            yield "range", "counts only with scale fixed"
        for key in ("over_exposure", "crossover"):
            if not 0 <= getattr(self, key) <= 1:
                yield key, f"expected a probability between 0 and 1, found {getattr(self, key)}"


@dataclass
class DataConfig:
    """What is trained and tested on (SPEC 5)."""

    root: str = "datasets"
    """folder that holds the data sets"""
    train: list[DatasetConfig] = field(default_factory=list)
    """training sets, used together"""
    val: list[DatasetConfig] = field(default_factory=list)
    """sets the best epoch is chosen on; empty: a held-out part of the training set"""
    test: list[DatasetConfig] = field(default_factory=list)
    """sets tools/test_net.py scores"""
    holdout: float = 0.05
    """share of the training set that is held out, chosen by a hash of the stem (of videos whole ones, by their names),
    when val is empty"""
    workers: int = 4
    """loader processes of each rank, and threads that score test maps; 0: neither, all in the main process"""
    skip_bad: bool = False
    """leave out pairs that are incomplete or cannot be read, listed in the log, instead of stopping at them"""
    cache: Literal["none", "memory", "disk"] = "none"
    """keep the training images read and resized, shared by the loader processes and ranks of a machine: in memory for
    the run, or on disk for later runs too"""
    cache_gib: float = 8.0
    """most the cache takes in GiB; samples beyond it are read anew every time, and older caches on disk make room"""
    cache_dir: str = ""
    """folder of the cache on disk, which may be deleted at any time between runs; empty: samsod in the user's cache
    folder"""
    sizes: Sizes = "equal"
    """equal: images of a pair that differ in size are an error; any, as in the released code: each is resized to the
    network's input on its own, whatever its shape, as if all showed the same view. The mask always has the reference's
    size"""
    modalities: dict[str, ModalityConfig] = field(default_factory=dict)
    """by name, how the images of a modality are read and augmented; those left out as usual"""
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def check(self) -> Faults:
        """Yields (key, message) for every value out of range."""
        if not 0 <= self.holdout < 1:
            yield "holdout", f"expected a share from 0 to below 1, found {self.holdout}"
        if self.workers < 0:
            yield "workers", f"expected 0 or more, found {self.workers}"
        if self.cache_gib <= 0:
            yield "cache_gib", f"expected more than 0, found {self.cache_gib}"
        augment, early = self.augment, self.augment.photometric == "full_size"
        if self.cache != "none" and augment.enabled and (augment.crop < 1 or augment.multiscale or early):
            others = "augment.crop, augment.multiscale or augment.photometric full_size"
            yield "cache", f"holds images at model.image_size: not together with {others}"
