"""Against a literal loop of Eq. 14-16 and against torchjd, on rows of every kind."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from samsod.config import RuleConfig
from samsod.surgery.hook import gram_matrix
from samsod.surgery.rules.pcgrad import PCGrad, pcgrad_weights, random_orders
from samsod.surgery.rules.rule import RuleContext, build_rule
from samsod.surgery.rules.sum import Sum
from samsod.utils.errors import UserError
from tests.surgery.literal import literal_pcgrad

torchjd = pytest.importorskip("torchjd.aggregation", reason="torchjd is in the test extra")


def rows_of(kind: str, count: int) -> Tensor:
    torch.manual_seed(count)
    rows = torch.randn(count, 40, dtype=torch.float64)
    if kind == "conflicting":
        rows = rows - 1.5 * rows.mean(0) * torch.arange(count).double().view(-1, 1)
        rows[1:] -= 0.8 * rows[0]
    elif kind == "parallel":
        rows = rows[:1] * torch.linspace(1, 3, count, dtype=torch.float64).view(-1, 1)
    elif kind == "opposite":
        rows = rows[:1] * torch.tensor([1.0, -2.0, 0.5][:count], dtype=torch.float64).view(-1, 1)
    elif kind == "zero":
        rows[count // 2] = 0
        rows[-1] -= 2 * rows[0]
    elif kind == "rank_deficient":
        rows[-1] = -0.7 * rows[0] - (rows[1] if count > 2 else 0)
    return rows


def merge_rows(rows: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
    return pcgrad_weights(gram_matrix(rows), orders).to(rows.dtype) @ rows


KINDS = ("random", "conflicting", "parallel", "opposite", "zero", "rank_deficient")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3])
def test_pcgrad_equals_the_literal_loop_in_every_order(kind: str, count: int) -> None:
    rows = rows_of(kind, count)
    others = [[j for j in range(count) if j != i] for i in range(count)]
    for orders in itertools.product(*(list(itertools.permutations(o)) for o in others)):
        merged = merge_rows(rows, orders)
        torch.testing.assert_close(merged, literal_pcgrad(rows, [list(o) for o in orders]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3])
def test_pcgrad_equals_torchjds(kind: str, count: int) -> None:
    """torchjd sums where Eq. 16 takes the mean; its random order is replayed here."""
    rows = rows_of(kind, count)
    torch.manual_seed(7)
    theirs = torchjd.PCGrad()(rows) / count
    torch.manual_seed(7)
    orders = [[j for j in torch.randperm(count).tolist() if j != i] for i in range(count)]
    ours = merge_rows(rows, orders)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_rows_without_conflict_are_averaged() -> None:
    rows = rows_of("random", 3).abs()
    merged = merge_rows(rows, random_orders(3, "x"))
    torch.testing.assert_close(merged, rows.mean(0))


def test_two_rows_do_not_conflict_after_surgery() -> None:
    rows = rows_of("conflicting", 2)
    assert rows[0] @ rows[1] < 0
    merged = merge_rows(rows, [[1], [0]])
    assert (rows @ merged > -1e-9).all()


def test_scaling_all_rows_scales_the_result() -> None:
    rows, orders = rows_of("conflicting", 3), random_orders(3, "x")
    merged = merge_rows(rows, orders)
    scaled = merge_rows(rows * 4096, orders)
    torch.testing.assert_close(scaled, merged * 4096)


def test_three_conflicting_rows_depend_on_the_order() -> None:
    rows = rows_of("conflicting", 3)
    results = [merge_rows(rows, random_orders(3, str(key))) for key in range(12)]
    assert any(not torch.allclose(results[0], other) for other in results)


def test_the_order_is_drawn_from_seed_step_and_group() -> None:
    gram = rows_of("conflicting", 3) @ rows_of("conflicting", 3).T
    for seed, step, group in ((0, 5, "decoder"), (1, 5, "decoder"), (0, 6, "encoder")):
        orders = random_orders(3, f"{seed}/{step}/{group}")
        weights = PCGrad().weights(gram, RuleContext(step, group, {}, seed))
        assert torch.equal(weights, pcgrad_weights(gram, orders))


def test_sum_gives_the_plain_gradient() -> None:
    rows = rows_of("conflicting", 3)
    weights = Sum().weights(rows @ rows.T, RuleContext(0, "decoder", {}))
    torch.testing.assert_close(weights @ rows, rows.sum(0))


def test_rules_that_cannot_be_built_are_one_line() -> None:
    with pytest.raises(UserError, match=r"no gradient rule is called 'pcgard' \(did you mean 'pcgrad'\?\)"):
        build_rule(RuleConfig("pcgard"))
    with pytest.raises(UserError, match=r"engine\.gradient_rule\.options: sum does not take \{'a': 1\}"):
        build_rule(RuleConfig("sum", {"a": 1}))


def test_orders_come_from_the_key_alone() -> None:
    torch.manual_seed(0)
    first = random_orders(3, "0/5/decoder")
    torch.manual_seed(1)
    assert random_orders(3, "0/5/decoder") == first
    assert len({str(random_orders(3, f"0/{step}/decoder")) for step in range(40)}) == 8
    assert all(sorted(order) == [j for j in range(3) if j != i] for i, order in enumerate(first))
