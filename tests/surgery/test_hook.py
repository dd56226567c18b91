"""The gradient hook against autograd, alone and on ranks."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from samsod.benchmarks.counts import Operators
from samsod.config import RuleConfig
from samsod.modeling.parameter_groups import ParameterGroup, ParameterGroups
from samsod.registry import RULES
from samsod.surgery.hook import GradientHook, MergedStep, gram_matrix
from samsod.surgery.rules.pcgrad import random_orders
from samsod.surgery.rules.rule import RuleContext
from samsod.surgery.rules.sum import Sum
from samsod.utils import distributed
from samsod.utils.errors import UserError
from tests.ranks import run_ranks
from tests.surgery.literal import literal_pcgrad


class Toy(nn.Module):
    """Three losses over two adapters and a shared decoder, as in the paper's Fig. 2."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.rgb, self.thermal, self.decoder = nn.Linear(4, 5), nn.Linear(4, 5), nn.Linear(5, 2)

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        features = self.rgb(batch).tanh(), self.thermal(batch.flip(1)).tanh()
        fused = features[0] + features[1]
        outputs = {
            "fusion": self.decoder(fused),
            "rgb": self.decoder(features[0]),
            "thermal": self.decoder(features[1]),
        }
        targets = {"fusion": 1.0, "rgb": -2.0, "thermal": 3.0}
        return {name: (out - targets[name]).square().mean() for name, out in outputs.items()}

    def groups(self) -> ParameterGroups:
        names = {"rgb_adapter": (self.rgb, ("fusion", "rgb")), "thermal_adapter": (self.thermal, ("fusion", "thermal"))}
        names["decoder"] = (self.decoder, ("fusion", "rgb", "thermal"))  # type: ignore[assignment]
        return ParameterGroups(
            ParameterGroup(name, list(module.parameters()), losses) for name, (module, losses) in names.items()
        )


def batch_of(count: int) -> Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(9))


def reference_gradients(model: Toy, batch: Tensor, step: int) -> list[Tensor]:
    """Per group: autograd per loss, then the literal loop."""
    merged = []
    for group in model.groups():
        losses = model.losses(batch)
        rows = torch.stack(
            [
                torch.cat([g.flatten() for g in torch.autograd.grad(losses[n], group.parameters, retain_graph=True)])
                for n in group.losses
            ]
        )
        orders = random_orders(len(rows), f"0/{step}/{group.name}")
        merged.append(literal_pcgrad(rows.double(), orders).float())
    return merged


def gradients(model: Toy) -> list[Tensor]:
    return [torch.cat([p.grad.flatten() for p in group.parameters if p.grad is not None]) for group in model.groups()]


def detached(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: loss.detach() for name, loss in losses.items()}


def backward(hook: GradientHook, losses: Mapping[str, Tensor], step: int) -> MergedStep:
    hook.clear()
    hook.accumulate(losses)
    return hook.merge(step, detached(losses))


def test_hook_fills_every_gradient_with_its_groups_merged_one() -> None:
    model = Toy()
    hook = GradientHook(model.groups(), RuleConfig("pcgrad"), seed=0)
    for step in range(3):  # no gradient may leak from one step into the next
        backward(hook, model.losses(batch_of(6)), step)
        for ours, expected in zip(gradients(model), reference_gradients(model, batch_of(6), step), strict=True):
            torch.testing.assert_close(ours, expected)


def test_losses_and_figures_come_back_and_the_scale_is_not_in_the_diagnostics() -> None:
    model = Toy()
    hook = GradientHook(model.groups(), RuleConfig("sum"), seed=0, told=2)
    plain: Mapping[str, Tensor] = {}
    for scale in (1.0, 1024.0):
        hook.clear()
        losses = model.losses(batch_of(6))
        hook.accumulate({name: loss * scale for name, loss in losses.items()})
        merged = hook.merge(0, detached(losses), torch.tensor([3.0, 4.0]), torch.tensor(scale))
        assert merged.told.tolist() == [3, 4] and merged.finite == 1
        assert merged.losses == detached(losses)
        plain = plain or merged.diagnostics.grams
        for name, gram in merged.diagnostics.grams.items():
            torch.testing.assert_close(gram, plain[name])
    hook.rows.by_group[0][0, 0] = float("inf")
    assert hook.merge(1, detached(losses), torch.zeros(2)).finite == 0


class Recorder:
    """A rule that keeps what it is told."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight, self.seen = weight, 0
        self.contexts: list[RuleContext] = []

    def weights(self, gram: Tensor, context: RuleContext) -> Tensor:
        assert gram.dtype == torch.float64 and gram.shape == (len(context.losses),) * 2
        self.contexts.append(context)
        self.seen += 1
        return torch.full((len(gram),), self.weight * self.seen)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


def test_every_group_has_a_rule_of_its_own_which_is_told_step_group_and_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RULES, "_entries", {**RULES._entries, "recorder": Recorder})
    model, config = Toy(), RuleConfig("recorder", {"weight": 2.0})
    hook = GradientHook(model.groups(), config, seed=7)
    losses = model.losses(batch_of(6))
    backward(hook, losses, 5)
    for group in model.groups():
        rule = hook.rules[group.name]
        assert isinstance(rule, Recorder) and len(rule.contexts) == 1
        (context,) = rule.contexts
        assert (context.step, context.group, context.seed) == (5, group.name, 7)
        assert dict(context.losses) == {name: losses[name].detach() for name in group.losses}
        assert list(context.losses) == list(group.losses)
    again = GradientHook(model.groups(), config, seed=7)
    again.load_state_dict(hook.state_dict())
    for one in (hook, again):
        backward(one, model.losses(batch_of(6)), 6)
    assert again.state_dict() == hook.state_dict() == {name: {"seen": 2} for name in hook.rules}
    assert torch.equal(again.merged, hook.merged)


def test_one_row_needs_no_surgery_and_weights_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Toy()
    groups = ParameterGroups(group._replace(losses=("fusion",)) for group in model.groups())
    hook = GradientHook(groups, RuleConfig("pcgrad"), seed=0)
    backward(hook, {"fusion": model.losses(batch_of(6))["fusion"]}, 0)
    assert torch.equal(hook.merged, torch.cat([rows[0] for rows in hook.rows.by_group]))
    monkeypatch.setattr(Sum, "weights", lambda self, gram, context: torch.ones(1))
    every_row = RuleConfig("sum", {"diagnostics": True})
    with pytest.raises(ValueError, match=r"Sum: expected 2 weights for the group rgb_adapter, found the shape \[1\]"):
        backward(GradientHook(model.groups(), every_row, seed=0), model.losses(batch_of(6)), 0)


@pytest.mark.parametrize("diagnostics", [True, False])
def test_sum_rule_is_the_gradient_of_the_total_loss(diagnostics: bool) -> None:
    model = Toy()
    hook = GradientHook(model.groups(), RuleConfig("sum", {"diagnostics": diagnostics}), seed=0)
    merged = backward(hook, model.losses(batch_of(6)), 0)
    expected = torch.autograd.grad(sum(model.losses(batch_of(6)).values()), list(model.parameters()))  # type: ignore[arg-type]
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    figures = merged.diagnostics.read()["decoder"]
    length = torch.cat([gradient.flatten() for gradient in expected[4:]]).norm().item()
    assert figures.total_norm == pytest.approx(length, rel=1e-5)
    assert (len(figures.cosines), len(figures.norms)) == ((3, 3) if diagnostics else (0, 1))


def test_sum_rule_takes_one_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model, passes = Toy(), Counter[str]()
    hook = GradientHook(model.groups(), RuleConfig("sum"), seed=0)
    backward(hook, model.losses(batch_of(6)), 0)  # the first step looks which losses reach which groups
    grad = torch.autograd.grad

    def counted(*args: Any, **kwargs: Any) -> Any:
        passes["backward"] += 1
        return grad(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    for count in (1, 2):
        backward(hook, model.losses(batch_of(6)), count)
        assert passes["backward"] == count


def test_losses_are_not_summed_where_one_reaches_a_group_that_leaves_it_out() -> None:
    model = Toy()
    groups = ParameterGroups(g._replace(losses=("fusion",)) if g.name == "decoder" else g for g in model.groups())
    with pytest.raises(UserError, match=r"^the loss (rgb|thermal) reaches the parameter group decoder, which does not"):
        backward(GradientHook(groups, RuleConfig("sum"), seed=0), model.losses(batch_of(6)), 0)
    hook = GradientHook(groups, RuleConfig("sum", {"diagnostics": True}), seed=0)
    backward(hook, model.losses(batch_of(6)), 0)
    expected = torch.autograd.grad(model.losses(batch_of(6))["fusion"], model.decoder.weight)
    torch.testing.assert_close(model.decoder.weight.grad, expected[0])


def test_accumulated_micro_batches_equal_one_batch() -> None:
    model, batch = Toy(), batch_of(8)
    hook = GradientHook(model.groups(), RuleConfig("pcgrad"), seed=0)
    backward(hook, model.losses(batch), 4)
    whole = gradients(model)
    hook.clear()
    for part in batch.chunk(4):
        hook.accumulate({name: loss / 4 for name, loss in model.losses(part).items()})
    hook.merge(4, detached(model.losses(batch)))
    for ours, expected in zip(gradients(model), whole, strict=True):
        torch.testing.assert_close(ours, expected)


def test_launches_do_not_grow_with_the_parameters() -> None:
    """Adding to the rows and merging; what autograd itself launches does grow."""
    counts = []
    for layers in (1, 5):
        model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(layers)))
        groups = ParameterGroups([ParameterGroup("decoder", list(model.parameters()), ("fusion", "rgb"))])
        hook = GradientHook(groups, RuleConfig("pcgrad"), seed=0)
        out = model(torch.randn(4, 3))
        losses = {"fusion": out.square().mean(), "rgb": out.mean()}
        with Operators() as alone:
            for loss in losses.values():
                torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        with Operators() as launched:
            backward(hook, losses, 0)
        counts.append(launched.names.total() - alone.names.total())
    assert counts[0] == counts[1] > 0


def hook_on_ranks(world_size: int) -> dict[str, list[Tensor]]:
    """Each rank's share of the batch through the hook; also surgery on every rank and averaging after."""
    model, batch = Toy(), batch_of(8)
    share = batch.chunk(world_size)[distributed.rank()]
    backward(GradientHook(model.groups(), RuleConfig("pcgrad"), seed=0), model.losses(share), 2)
    wrong = reference_gradients(model, share, 2)
    for gradient in wrong:
        distributed.all_reduce_mean(gradient)
    return {"right": gradients(model), "wrong": wrong}


def test_ranks_equal_one_process_and_surgery_before_averaging_does_not() -> None:
    expected = reference_gradients(Toy(), batch_of(8), 2)
    ranks = run_ranks(hook_on_ranks, 2, 2)
    for gradient, other, right in zip(ranks[0]["right"], ranks[1]["right"], expected, strict=True):
        assert torch.equal(gradient, other)
        torch.testing.assert_close(gradient, right)
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(ranks[0]["wrong"], expected, strict=True))


@pytest.mark.parametrize("chunk", [7, 1 << 18])
def test_gram_matrix_is_exact_to_float64s_rounding(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("samsod.surgery.hook.GRAM_CHUNK", chunk)
    torch.manual_seed(0)
    # Squares overflow float32. All of one sign, rounding has nothing to cancel with.
    rows = torch.randn(3, 40 if chunk == 7 else 300_000).abs() * 1e20
    gram = gram_matrix(rows)
    assert gram.dtype == torch.float64 and torch.equal(gram, gram.T)
    for i, j in itertools.combinations_with_replacement(range(3), 2):
        exact = math.fsum(a * b for a, b in zip(rows[i].tolist(), rows[j].tolist(), strict=True))
        assert gram[i, j].item() == pytest.approx(exact, rel=1e-15)


def test_gram_matrix_multiplies_no_matrices_in_float64() -> None:
    with Operators() as launched:
        gram_matrix(torch.randn(3, 40))
    assert not {"mm", "bmm", "addmm", "matmul"} & launched.names.keys()


def test_groups_must_be_disjoint_and_cover_the_model() -> None:
    model = Toy()
    groups = model.groups()
    groups.check_cover(model)
    with pytest.raises(ValueError, match="2 trainable parameters are in no group"):
        ParameterGroups(groups[:2]).check_cover(model)
    with pytest.raises(ValueError, match="'decoder' and 'again'"):
        ParameterGroups([*groups, groups[2]._replace(name="again")])
    with pytest.raises(ValueError, match="has no losses"):
        ParameterGroups([groups[2]._replace(losses=())])
    with pytest.raises(ValueError, match="has no parameters"):
        ParameterGroups([groups[2]._replace(parameters=[])])
