"""Against slow versions as literal as they can be: a search through the simplex, and gradients made of rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samsod.config import RuleConfig
from samsod.surgery.hook import gram_matrix
from samsod.surgery.rules.mgda import min_norm_weights
from samsod.surgery.rules.mmpareto import MMPareto
from samsod.surgery.rules.rule import build_rule
from samsod.utils.errors import UserError
from tests.surgery.rules.every_rule import context_of, many_rows, merge


def searched_min_norm(rows: Tensor, steps: int) -> Tensor:
    """The shortest of the convex combinations of a regular grid."""
    ticks = [torch.arange(steps + 1) for _ in range(len(rows) - 1)]
    first = torch.cartesian_prod(*ticks).view(-1, len(rows) - 1)
    grid = torch.cat([first, steps - first.sum(1, keepdim=True)], dim=1)
    points = grid[grid[:, -1] >= 0].double() / steps @ rows
    return points[points.norm(dim=1).argmin()]


def test_the_point_of_least_norm_is_shorter_than_any_of_a_grid() -> None:
    for rows in many_rows():
        weights = min_norm_weights(gram_matrix(rows))
        steps = {2: 20_000, 3: 300, 4: 60}[len(rows)]
        assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
        found, near = (weights @ rows).norm(), searched_min_norm(rows, steps).norm()
        assert found <= near + 1e-7
        assert found >= near - 3 * rows.norm(dim=1).max() / steps


def test_the_point_of_least_norm_fulfils_its_conditions_exactly() -> None:
    """It is the only point of the hull whose product with every row is its own square or more."""
    for rows in many_rows(lengths=1000.0):
        merged = min_norm_weights(gram_matrix(rows)) @ rows
        assert (rows @ merged >= merged @ merged - 1e-10 * rows.square().sum()).all()


def test_the_point_of_least_norm_golden_values() -> None:
    obtuse = torch.tensor([[1.0, 0.0], [-0.5, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(min_norm_weights(gram_matrix(obtuse)), torch.tensor([7 / 13, 6 / 13]).double())
    acute = torch.tensor([[1.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
    assert min_norm_weights(gram_matrix(acute)).tolist() == [1, 0]
    triangle = torch.eye(3, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0]).double().view(-1, 1)
    expected = torch.tensor([36.0, 9.0, 4.0], dtype=torch.float64) / 49  # against the squared lengths
    torch.testing.assert_close(min_norm_weights(gram_matrix(triangle)), expected)
    edge = torch.tensor([[2.0, 1.0], [-2.0, 1.0], [0.0, 5.0]], dtype=torch.float64)
    torch.testing.assert_close(min_norm_weights(gram_matrix(edge)), torch.tensor([0.5, 0.5, 0.0]).double())


def literal_mmpareto(rows: Tensor, gamma: float, steps: int) -> Tensor:
    """Cosines, a search for the point of least norm, and the summed gradient's length, in the words of the paper."""
    total = rows.sum(0)
    if all(torch.cosine_similarity(a, b, dim=0) >= 0 for a in rows for b in rows):
        return gamma * total
    pareto = len(rows) * searched_min_norm(rows, steps)
    return gamma * pareto * max(float(total.norm() / pareto.norm()), 1.0)


def test_mmpareto_equals_the_literal_version() -> None:
    conflicts = 0
    for rows in many_rows():
        if len(rows) < 4 and min_norm_weights(gram_matrix(rows)) @ gram_matrix(rows).diagonal() > 0:
            shortest = (min_norm_weights(gram_matrix(rows)) @ rows).norm()
            if shortest < 0.05 * rows.norm():
                continue  # the grid is too coarse for its direction
            merged, wanted = merge(MMPareto(), rows), literal_mmpareto(rows, 1.5, {2: 20_000, 3: 1000}[len(rows)])
            assert (merged - wanted).norm() <= 0.02 * wanted.norm()
            conflicts += bool((gram_matrix(rows) < 0).any())
    assert conflicts > 3


def test_mmpareto_is_as_long_as_the_sum_times_gamma() -> None:
    for rows in many_rows():
        merged, shortest = merge(MMPareto(gamma=2.0), rows), min_norm_weights(gram_matrix(rows)) @ rows
        if shortest.norm() > 1e-4 * rows.norm():
            assert float(merged.norm()) == pytest.approx(2 * float(rows.sum(0).norm()))
        short = merge(MMPareto(gamma=2.0, raised=False), rows)
        if (gram_matrix(rows) < 0).any():
            torch.testing.assert_close(short, 2 * len(rows) * shortest)


def test_mmpareto_golden_values() -> None:
    """(1, 0) and (-1, 1): the shortest point is (.2, .4), the sum (0, 1) of length 1."""
    rows = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    expected = 1.5 * torch.tensor([0.2, 0.4], dtype=torch.float64) / 0.2**0.5
    torch.testing.assert_close(merge(MMPareto(), rows), expected)
    torch.testing.assert_close(merge(MMPareto(), rows.abs()), torch.tensor([3.0, 1.5]).double())


def test_opposite_gradients_leave_nothing_to_raise() -> None:
    row = torch.linspace(-1, 2, 50)  # in float32, as in training
    rows = torch.stack([row, -0.3 * row])
    weights = MMPareto().weights(gram_matrix(rows), context_of(2))
    assert (weights.float() @ rows).norm() < 1e-5 * row.norm()


@pytest.mark.parametrize(("options", "message"), [({"gamma": -1}, "mmpareto: expected a positive gamma, found -1")])
def test_odd_options_are_one_line(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=f"^engine.gradient_rule.options: {message}$"):
        build_rule(RuleConfig("mmpareto", options))
