"""The data sets samsod knows by name: the published ones, trees of one's own, and what `add_family` adds to them."""

from __future__ import annotations

from collections.abc import Mapping

from samsod.config.data_schema import DatasetConfig
from samsod.data.sources.family import Family, Split
from samsod.data.sources.published import PUBLISHED
from samsod.utils.errors import UserError, nearest

_OWN: Mapping[Split, int | None] = {"": None, "train": None, "test": None}
OWN = (
    Family("folders", (), _OWN),
    Family("scribbles", (), _OWN, scribbles=True),
    Family("videos", (), _OWN, videos=True),
)
"""Trees of the user's own, which have no name to be found by."""
FAMILIES: dict[str, Family] = {family.name: family for family in (*OWN, *PUBLISHED)}


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
        known = ", ".join(sorted(FAMILIES))
        raise UserError(f"no data set family is called {name!r}{nearest(name, FAMILIES)}; known: {known}")
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
