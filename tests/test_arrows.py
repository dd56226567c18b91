"""Imports go one way through the package (DESIGN.md), so that every part can be read without those above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.places import ROOT

LEVELS = (
    ("tools",),
    ("workflows", "experiments"),
    ("drawing", "benchmarks"),
    ("engine", "evaluation", "prediction"),
    ("surgery", "modeling", "data"),
    ("config", "registry"),
    ("utils",),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

BETWEEN_SIBLINGS = {
    ("surgery", "samsod.modeling.parameter_groups"): "which losses reach which parameters is what it works with",
    ("prediction", "samsod.engine.checkpoint"): "a checkpoint is what it predicts with",
    ("prediction", "samsod.evaluation.contact_sheet"): "pictures side by side are a row of such a sheet",
    ("drawing", "samsod.benchmarks.cost"): "a run's page shows what its model costs",
}
"""What a room imports from another on its own level, and why."""


def sources() -> Iterator[tuple[Path, str]]:
    """Every file of the program and its room."""
    for path in sorted((ROOT / "samsod").rglob("*.py")):
        yield path, path.relative_to(ROOT / "samsod").parts[0].removesuffix(".py")
    for folder in ("tools", "data"):
        yield from ((path, "tools") for path in sorted((ROOT / folder).glob("*.py")))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import of a file, inside functions too; `from a import b` counts as `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}:{node.lineno}: imports are absolute"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_arrows_point_one_way() -> None:
    wrong, siblings = [], set()
    for path, room in sources():
        for line, module in imports(path):
            package, _, rest = module.partition(".")
            other = rest.partition(".")[0]
            if package != "samsod" or other == room or room == "__init__":
                continue
            assert other in LEVEL, f"{path}:{line}: on which level is {module}?"
            if (room, module.rpartition(".")[0]) in BETWEEN_SIBLINGS and LEVEL[other] == LEVEL[room]:
                siblings.add((room, module.rpartition(".")[0]))
            elif LEVEL[other] <= LEVEL[room]:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {room} imports {module}")
    assert not wrong, "\n".join(wrong)
    assert siblings == set(BETWEEN_SIBLINGS), "an exception that nobody needs"


def test_only_modeling_sam2_knows_sam2_and_nobody_torchvision() -> None:
    for path, _ in sources():
        known = {module.partition(".")[0] for _, module in imports(path)}
        assert "torchvision" not in known, path
        assert "sam2" not in known or path.is_relative_to(ROOT / "samsod" / "modeling" / "sam2"), path
