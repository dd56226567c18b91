"""The gradient rules, a small file each; importing the package fills the registry."""

from samsod.surgery.rules import pcgrad, sum

__all__ = ["pcgrad", "sum"]
