"""The gradient rules, a small file each; importing the package fills the registry."""

from samsod.surgery.rules import mean, mgda, mmpareto, ogm, pcgrad, sum, torchjd_rules

__all__ = ["mean", "mgda", "mmpareto", "ogm", "pcgrad", "sum", "torchjd_rules"]
