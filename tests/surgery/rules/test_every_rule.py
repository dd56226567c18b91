"""What holds for every rule, own or torchjd's, on random Gram matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samsod.surgery.hook import gram_matrix
from samsod.surgery.rules.torchjd_rules import WEIGHTINGS
from tests.surgery.rules.every_rule import EVERY, OWN, context_of, many_rows, merge, rule_of

CLOSE = {"cagrad": 1e-4, "fairgrad": 1e-3}
"""How near iterating solvers come; the others 1e-6."""
PROMISES = {"dualproj", "fairgrad", "mgda", "mmpareto", "upgrad"}
DRAWS = {"gradvac", "pcgrad"}
"""They meet three and more rows in a drawn order."""


def close(name: str, found: Tensor, wanted: Tensor, size: Tensor) -> None:
    limit = CLOSE.get(name, 1e-6) * float(size)
    assert (found - wanted).norm() <= limit, (name, found, wanted)


def size(name: str, rows: Tensor) -> Tensor:
    """What rounding is measured against: the rows, and as long as they are weighted."""
    lengths = rows.norm(dim=1)
    return rule_of(name).weights(gram_matrix(rows), context_of(len(rows))).abs() @ lengths + 1e-6 * lengths.sum()


def test_a_rule_says_whether_it_promises_no_conflict() -> None:
    for name in OWN:
        assert rule_of(name).non_conflicting == (name in PROMISES), name  # type: ignore[attr-defined]
    for name, weighting in WEIGHTINGS.items():
        assert weighting.non_conflicting == (name in PROMISES), name


@pytest.mark.parametrize("name", sorted(PROMISES))
def test_no_row_conflicts_with_the_merged_gradient_where_that_is_promised(name: str) -> None:
    for rows in many_rows(lengths=1000.0):
        merged = merge(rule_of(name), rows)
        allowed = CLOSE.get(name, 2e-5) * size(name, rows)
        assert (rows @ merged >= -allowed * rows.norm(dim=1)).all(), (rows, merged)


@pytest.mark.parametrize("name", sorted(set(EVERY) - PROMISES))
def test_some_row_may_conflict_where_nothing_is_promised(name: str) -> None:
    found = False
    for rows in many_rows(lengths=1000.0):
        found = found or bool((rows @ merge(rule_of(name), rows) < -1e-3 * size(name, rows) * rows.norm(dim=1)).any())
    assert found


@pytest.mark.parametrize("name", EVERY)
def test_the_order_of_the_rows_does_not_matter(name: str) -> None:
    for rows in many_rows():
        if len(rows) == 2 or name not in DRAWS:
            fixed = 1 if name == "pcd" else 0  # its first row has priority
            order = [*range(fixed), *reversed(range(fixed, len(rows)))]
            merged = merge(rule_of(name), rows)
            close(name, merge(rule_of(name), rows[order]), merged, size(name, rows))


@pytest.mark.parametrize("name", EVERY)
def test_rows_of_another_scale_give_a_gradient_of_that_scale(name: str) -> None:
    """torchjd takes small Gram matrices for zero, which must not reach training: gradients may be of any length."""
    for rows in many_rows():
        merged = merge(rule_of(name), rows)
        for factor in (2.0**12, 2.0**-20):
            if name == "pcd" and factor < 1:
                continue  # its eps is a squared length
            # fairgrad's gradient is of one length whatever the rows': (w G w) = Σ w^(1 - 1/alpha) = m at alpha 1.
            wanted = merged if name == "fairgrad" else factor * merged
            scale = size(name, rows) * (1.0 if name == "fairgrad" else factor)
            close(name, merge(rule_of(name), factor * rows), wanted, scale)


@pytest.mark.parametrize("name", EVERY)
def test_equal_rows_keep_their_direction(name: str) -> None:
    for count in (2, 3, 4):
        row = torch.linspace(-1, 2, 7, dtype=torch.float64)
        merged = merge(rule_of(name), row.expand(count, -1))
        assert torch.cosine_similarity(merged, row, dim=0) > 1 - 1e-6
        assert merged.norm() > 0.05 * row.norm()


@pytest.mark.parametrize("name", EVERY)
def test_zero_rows_do_no_harm(name: str) -> None:
    for count in (2, 3, 4):
        rows = torch.zeros(count, 7, dtype=torch.float64)
        assert torch.equal(merge(rule_of(name), rows), rows[0])
        rows[0] = torch.linspace(-1, 2, 7)
        merged = merge(rule_of(name), rows)
        assert merged.isfinite().all() and rows[0] @ merged >= -1e-9


@pytest.mark.parametrize("name", EVERY)
def test_what_is_not_finite_is_never_made_finite(name: str) -> None:
    """So that an overflow under fp16 is skipped, and no state of it is kept."""
    rows = torch.randn(3, 7, dtype=torch.float64)
    fresh, rule = rule_of(name), rule_of(name)
    for bad in (torch.inf, torch.nan):
        broken = rows.clone()
        broken[1, 2] = bad
        assert not merge(rule, broken).isfinite().all()
    assert torch.equal(merge(rule, rows), merge(fresh, rows))


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_drawn_from_the_global_generators(name: str) -> None:
    rows = torch.randn(3, 7, dtype=torch.float64) - 1
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = merge(rule_of(name), rows)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(merge(rule_of(name), rows), first)
