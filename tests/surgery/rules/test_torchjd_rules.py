"""torchjd's rules give what the package itself gives on the rows, at any scale; what they lack is one line."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from samsod.config import Config, RuleConfig
from samsod.surgery.hook import gram_matrix
from samsod.surgery.rules.rule import Rule, build_rule
from samsod.surgery.rules.torchjd_rules import WEIGHTINGS, _own_random_numbers
from samsod.utils.errors import UserError
from samsod.workflows import make_trainer
from tests.surgery.rules.every_rule import context_of, many_rows, merge, rule_of

torchjd = pytest.importorskip("torchjd.aggregation", reason="torchjd is in the test extra")

THEIRS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "aligned_mtl": ("AlignedMTL", {"scale_mode": "rmse"}, {"scale_mode": "rmse"}),
    "cagrad": ("CAGrad", {}, {"c": 0.4}),
    "dualproj": ("DualProj", {"reg_eps": 1e-4}, {}),
    "fairgrad": ("FairGrad", {"alpha": 2.0}, {"alpha": 2.0}),
    "gradvac": ("GradVac", {"beta": 0.2}, {"beta": 0.2}),
    "imtl_g": ("IMTLG", {}, {}),
    "pcd": ("PCD", {"tau": 0.3}, {"tau": 0.3}),
    "upgrad": ("UPGrad", {"reg_eps": 1e-4}, {}),
}
"""Their name of the aggregator, our options and theirs."""
STATEFUL = ("gradvac", "pcd")


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_a_rule_gives_what_torchjd_gives_on_the_rows(name: str) -> None:
    kind, ours, theirs = THEIRS[name]
    rule = rule_of(name, **ours)
    aggregator = getattr(torchjd, kind)(**theirs)
    for step, rows in enumerate(rows for rows in many_rows() if len(rows) == 3 and rows.any(dim=1).all()):
        if name in ("aligned_mtl", "gradvac", "imtl_g") and torch.linalg.matrix_rank(rows) < 3:
            continue  # where they divide by what is rounding, which scaling moves
        if name == "fairgrad" and opposite(rows):
            continue  # G w = w^(-1/α) has no solution there: the weights grow until the solver gives up
        with _own_random_numbers(f"3/{step}/group"):
            wanted = aggregator(rows)
        found = merge(rule, rows, step)
        assert (found - wanted).norm() <= 1e-4 * rows.norm(), (step, found, wanted)


def opposite(rows: Tensor) -> bool:
    """Whether two of the rows point in opposite directions."""
    directions = torch.nn.functional.normalize(rows)
    return bool((directions @ directions.T).min() < -1 + 1e-12)


def test_fairgrad_of_opposite_rows_follows_the_third() -> None:
    """No weights are fair there; those found cancel the two rows, however large they are."""
    first, third = torch.eye(7, dtype=torch.float64)[:2]
    rows = torch.stack([first, -0.7 * first, third])
    found = merge(rule_of("fairgrad", alpha=2.0), rows)
    torch.testing.assert_close(found / found.norm(), third, rtol=0, atol=0.02)


def test_fairgrad_solves_its_equation_in_true_units() -> None:
    """G w = w^(-1/α), on which the merged gradient's length depends."""
    for alpha in (0.5, 1.0, 2.0):
        rule = rule_of("fairgrad", alpha=alpha)
        for scale in (1e-3, 1.0, 1e3):
            rows = scale * torch.randn(3, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
            gram = gram_matrix(rows)
            weights = rule.weights(gram, context_of(3))
            torch.testing.assert_close(gram @ weights, weights ** (-1 / alpha), rtol=1e-3, atol=0)


def literal_gradvac(rows: Tensor, goals: Tensor, beta: float, orders: list[list[int]]) -> Tensor:
    """Gradient Vaccine on the rows themselves: cosines below their running mean are raised to it."""
    changed = []
    for i, order in enumerate(orders):
        current = rows[i].clone()
        for j in order:
            cosine = current @ rows[j] / (current.norm() * rows[j].norm())
            goal = goals[i, j].clone()
            if cosine < goal:
                sines = (1 - cosine**2).sqrt(), (1 - goal**2).sqrt()
                length = current.norm() * (goal * sines[0] - cosine * sines[1]) / sines[1]
                current += length * rows[j] / rows[j].norm()
            goals[i, j] = (1 - beta) * goal + beta * cosine
        changed.append(current)
    return torch.stack(changed).sum(0)


def test_gradvac_equals_the_literal_version_over_several_steps() -> None:
    rule, goals = rule_of("gradvac", beta=0.3), torch.zeros(2, 2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(6)
    for step in range(8):
        rows = torch.randn(2, 7, generator=generator, dtype=torch.float64)
        wanted = literal_gradvac(rows, goals, 0.3, [[1], [0]])
        torch.testing.assert_close(merge(rule, rows, step), wanted, rtol=1e-5, atol=1e-6)


def stepped(rule: Rule, steps: range) -> list[Tensor]:
    found = []
    for step in steps:
        rows = torch.randn(3, 7, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        found.append(merge(rule, rows, step))
    return found


@pytest.mark.parametrize("name", STATEFUL)
def test_a_state_that_was_saved_goes_on_bit_for_bit(name: str) -> None:
    whole = stepped(rule_of(name), range(6))
    first, second = rule_of(name), rule_of(name)
    assert all(torch.equal(a, b) for a, b in zip(stepped(first, range(3)), whole[:3], strict=True))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    stepped(first, range(3, 5))  # what was saved is a copy
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert all(torch.equal(a, b) for a, b in zip(stepped(second, range(3, 6)), whole[3:], strict=True))
    forgetful = stepped(rule_of(name), range(3, 6))
    assert not all(torch.equal(a, b) for a, b in zip(forgetful, whole[3:], strict=True))


@pytest.mark.parametrize("name", sorted(set(WEIGHTINGS) - set(STATEFUL)))
def test_the_others_remember_nothing(name: str) -> None:
    rule = rule_of(name)
    later = stepped(rule, range(3))[-1]
    assert rule.state_dict() == {}
    assert torch.equal(stepped(rule_of(name), range(2, 3))[0], later)


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As if the packages were not installed."""
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize(
    ("name", "absent", "said"),
    [
        ("aligned_mtl", ("torchjd",), "torchjd: pip install 'samsod[rules]'"),
        ("cagrad", ("cvxpy", "clarabel"), "cvxpy and clarabel: pip install cvxpy clarabel"),
        ("dualproj", ("quadprog", "qpsolvers"), "qpsolvers and quadprog: pip install qpsolvers quadprog"),
        ("fairgrad", ("scipy", "torchjd"), "scipy and torchjd: pip install scipy 'samsod[rules]'"),
        ("upgrad", ("qpsolvers", "quadprog", "torchjd"), "and torchjd: pip install qpsolvers quadprog 'samsod[rules]'"),
    ],
)
def test_a_missing_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, absent: tuple[str, ...], said: str
) -> None:
    without(monkeypatch, *absent)
    with pytest.raises(UserError) as caught:
        build_rule(RuleConfig(name))
    (line,) = caught.value.args
    assert line.startswith(f"engine.gradient_rule: {name} needs ") and line.endswith(said) and "\n" not in line


def test_a_missing_package_is_told_before_the_data_are_read(
    monkeypatch: pytest.MonkeyPatch, config: Config, tmp_path: Path
) -> None:
    without(monkeypatch, "torchjd")
    config.engine.gradient_rule = RuleConfig("imtl_g")
    config.data.train[0].root = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="imtl_g needs torchjd"):
        make_trainer(config, torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gradvac", {"beta": 2}, r"gradvac: Attribute `beta` must be in \[0, 1\]. Found beta=2."),
        ("gradvac", {"decay": 2}, r"gradvac does not take \{'decay': 2\}: .*'decay'"),
        ("pcd", {"tau": "much"}, r"pcd does not take \{'tau': 'much'\}: .*"),
    ],
)
def test_options_torchjd_does_not_take_are_one_line(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^engine.gradient_rule.options: {said}$"):
        build_rule(RuleConfig(name, options))


def test_a_solver_that_fails_is_told_with_step_and_group(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = rule_of("imtl_g")

    def fail(gramian: Tensor) -> Tensor:
        raise ArithmeticError("no solution")

    monkeypatch.setattr(rule._weighting, "forward", fail)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match=r"step 5: gradient rule imtl_g found no weights for the group .*no sol"):
        rule.weights(torch.eye(2, dtype=torch.float64), context_of(2, step=4))
