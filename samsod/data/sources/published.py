"""The published data sets, a few lines each, by task; data/README.md says where each comes from.

The numbers of pairs are those of the papers, None where no source was at hand that says them.
"""

from __future__ import annotations

from samsod.data.sources.family import Family
from samsod.data.sources.modalities import MODALITIES

_RGBT, _RGBD, _RGBDT = ("rgb", "thermal"), ("rgb", "depth"), tuple(MODALITIES)

RGB_THERMAL = (
    Family("vt5000", ("VT5000", "VT5000_clear"), {"train": 2500, "test": 2500}, _RGBT),
    Family("vt1000", ("VT1000",), {"": 1000}, _RGBT),
    Family("vt821", ("VT821",), {"": 821}, _RGBT),
    Family("rgbts", ("RGBT-S", "RGBT scribble", "VT5000 scribble"), {"": 2500}, _RGBT, scribbles=True, trains=True),
    Family("vt723", ("VT723",), {"": 723}, _RGBT),
    Family("vi_rgbt1500", ("VI-RGBT1500", "RGBT1500"), {"": 1500}, _RGBT),
    Family("uvt2000", ("UVT2000", "VT2000 unalign"), {"": 2000}, _RGBT, aligned=False),
    Family("uvt20k", ("UVT20K",), {"train": None, "test": None}, _RGBT, aligned=False),
)

RGB_DEPTH = (
    Family("nju2k", ("NJU2K", "NJUD", "NJU2000", "NJUDS2000"), {"train": 1485, "test": 500}, _RGBD),
    Family("nlpr", ("NLPR", "NLPR RGBD1000"), {"train": 700, "test": 300}, _RGBD),
    Family(
        "dut_rgbd",
        ("DUT-RGBD", "DUTLF-Depth", "DUTLF-D", "DUTLF", "DUT", "DUT-RGBD dataset"),
        {"train": 800, "test": 400},
        _RGBD,
    ),
    # Training parts of several sets in one folder, as collections hand them round; some name it after its part alone.
    Family(
        "nju2k_nlpr",
        ("NJU2K-NLPR", "NJU2K+NLPR", "NJUD-NLPR", "NJUNLPR", "RGBD-TR", "RGBD for train", "TrainDataset"),
        {"": 2185},
        _RGBD,
        trains=True,
    ),
    Family(
        "nju2k_nlpr_dut",
        ("NJU2K-NLPR-DUT", "NJU2K+NLPR+DUT", "NJUD-NLPR-DUT", "NJUNLPRDUT", "NJUD-NLPR-DUTLF", "RGBD-TR-2985"),
        {"": 2985},
        _RGBD,
        trains=True,
    ),
    Family("stere", ("STERE", "STEREO", "STERE1000", "STEREO1000", "SSB", "SSB1000"), {"": 1000}, _RGBD),
    Family("stere797", ("STERE797", "STEREO797"), {"": 797}, _RGBD),
    Family("sip", ("SIP",), {"": 929}, _RGBD),
    Family("lfsd", ("LFSD",), {"": 100}, _RGBD),
    Family("des", ("DES", "RGBD135"), {"": 135}, _RGBD),
    Family("ssd", ("SSD", "SSD80", "SSD100"), {"": 80}, _RGBD),
    Family("redweb_s", ("ReDWeb-S",), {"train": 2179, "test": 1000}, _RGBD),
    Family("neu_rsdds_aug", ("NEU-RSDDS-AUG", "RSDDS-AUG", "NEU RSDDS", "RSDDS"), {"train": 1500, "test": 362}, _RGBD),
)

RGB_DEPTH_THERMAL = (
    Family("vdt2048", ("VDT-2048", "VDT", "VDT2048 dataset", "VDT dataset"), {"train": 1048, "test": 1000}, _RGBDT),
)

RGB_DEPTH_VIDEOS = (
    Family("rdvs", ("RDVS",), {"train": None, "test": None}, _RGBD, videos=True),
    Family("vidsod100", ("ViDSOD-100", "ViDSOD"), {"train": None, "test": None}, _RGBD, videos=True),
    Family("dvisal", ("DViSal", "DViSal dataset"), {"train": None, "test": None}, _RGBD, videos=True),
)

CAMOUFLAGED = (
    Family(
        "cod10k_camo",
        ("COD10K-CAMO", "COD10K+CAMO", "CAMO-COD10K", "TrainValDataset", "TrainDataset"),
        {"": 4040},
        ("rgb",),
        trains=True,
    ),
    Family("cod10k", ("COD10K", "COD10K-v3"), {"train": 3040, "test": 2026}, ("rgb",)),
    Family("camo", ("CAMO", "CAMO-V.1.0-CVIU2019"), {"train": 1000, "test": 250}, ("rgb",), shared_masks=True),
    Family("nc4k", ("NC4K",), {"": 4121}, ("rgb",)),
    Family("chameleon", ("CHAMELEON",), {"": 76}, ("rgb",)),
)

PUBLISHED = (*RGB_THERMAL, *RGB_DEPTH, *RGB_DEPTH_THERMAL, *RGB_DEPTH_VIDEOS, *CAMOUFLAGED)
