"""Against a literal loop of Eq. 14-16 and against torchjd, on rows of every kind; the hook against autograd."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from samsod.modeling.parameter_groups import ParameterGroup, ParameterGroups
from samsod.surgery.hook import (
    Diagnostics,
    GradientHook,
    gradient_ratio,
    gram_matrix,
    merge_rows,
    pcgrad_weights,
    random_orders,
    sum_weights,
)
from tests.ranks import run_ranks

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


def literal_pcgrad(rows: Tensor, orders: list[list[int]]) -> Tensor:
    """Eq. 14-16 as written: cosine, projection, mean."""
    changed = []
    for i, order in enumerate(orders):
        current = rows[i].clone()
        for j in order:
            if current @ rows[j] < 0:
                current = current - (current @ rows[j]) / rows[j].norm() ** 2 * rows[j]
        changed.append(current)
    return torch.stack(changed).sum(0) / len(rows)


KINDS = ("random", "conflicting", "parallel", "opposite", "zero", "rank_deficient")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3])
def test_pcgrad_equals_the_literal_loop_in_every_order(kind: str, count: int) -> None:
    rows = rows_of(kind, count)
    others = [[j for j in range(count) if j != i] for i in range(count)]
    for orders in itertools.product(*(list(itertools.permutations(o)) for o in others)):
        merged, _ = merge_rows(rows, pcgrad_weights, orders)
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
    ours, _ = merge_rows(rows, pcgrad_weights, orders)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_rows_without_conflict_are_averaged() -> None:
    rows = rows_of("random", 3).abs()
    merged, _ = merge_rows(rows, pcgrad_weights, random_orders(3, "x"))
    torch.testing.assert_close(merged, rows.mean(0))


def test_two_rows_do_not_conflict_after_surgery() -> None:
    rows = rows_of("conflicting", 2)
    assert rows[0] @ rows[1] < 0
    merged, _ = merge_rows(rows, pcgrad_weights, [[1], [0]])
    assert (rows @ merged > -1e-9).all()


def test_scaling_all_rows_scales_the_result() -> None:
    rows, orders = rows_of("conflicting", 3), random_orders(3, "x")
    merged, _ = merge_rows(rows, pcgrad_weights, orders)
    scaled, _ = merge_rows(rows * 4096, pcgrad_weights, orders)
    torch.testing.assert_close(scaled, merged * 4096)


def test_three_conflicting_rows_depend_on_the_order() -> None:
    rows = rows_of("conflicting", 3)
    results = [merge_rows(rows, pcgrad_weights, random_orders(3, str(key)))[0] for key in range(12)]
    assert any(not torch.allclose(results[0], other) for other in results)


def test_sum_is_the_plain_gradient_and_one_row_needs_no_surgery() -> None:
    rows = rows_of("conflicting", 3)
    torch.testing.assert_close(merge_rows(rows, sum_weights, [[], [], []])[0], rows.sum(0))
    assert torch.equal(merge_rows(rows[:1], pcgrad_weights, [[]])[0], rows[0])


def test_gram_matrix_is_float64_and_chunked_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samsod.surgery.hook.GRAM_CHUNK", 7)
    rows = torch.randn(3, 40) * 1e20  # overflows float32
    gram = gram_matrix(rows)
    assert gram.dtype == torch.float64 and gram.isfinite().all()
    torch.testing.assert_close(gram, rows.double() @ rows.double().T)


def test_orders_come_from_the_key_alone() -> None:
    torch.manual_seed(0)
    first = random_orders(3, "0/5/decoder")
    torch.manual_seed(1)
    assert random_orders(3, "0/5/decoder") == first
    assert len({str(random_orders(3, f"0/{step}/decoder")) for step in range(40)}) == 8
    assert all(sorted(order) == [j for j in range(3) if j != i] for i, order in enumerate(first))


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


def test_hook_fills_every_gradient_with_its_groups_merged_one() -> None:
    model = Toy()
    hook = GradientHook(model.groups(), "pcgrad", seed=0)
    for step in range(3):  # no gradient may leak from one step into the next
        hook.backward(model.losses(batch_of(6)), step)
        for ours, expected in zip(gradients(model), reference_gradients(model, batch_of(6), step), strict=True):
            torch.testing.assert_close(ours, expected)


def test_sum_rule_is_the_gradient_of_the_total_loss() -> None:
    model = Toy()
    GradientHook(model.groups(), "sum", seed=0).backward(model.losses(batch_of(6)), 0)
    expected = torch.autograd.grad(sum(model.losses(batch_of(6)).values()), list(model.parameters()))  # type: ignore[arg-type]
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_accumulated_micro_batches_equal_one_batch() -> None:
    model, batch = Toy(), batch_of(8)
    hook = GradientHook(model.groups(), "pcgrad", seed=0)
    hook.backward(model.losses(batch), 4)
    whole = gradients(model)
    hook.buffer.zero_()
    for part in batch.chunk(4):
        hook.accumulate({name: loss / 4 for name, loss in model.losses(part).items()})
    hook.merge(4)
    for ours, expected in zip(gradients(model), whole, strict=True):
        torch.testing.assert_close(ours, expected)


def hook_on_ranks(world_size: int) -> dict[str, list[Tensor]]:
    """Each rank's share of the batch through the hook; also surgery on every rank and averaging after."""
    from samsod.utils import distributed

    model, batch = Toy(), batch_of(8)
    share = batch.chunk(world_size)[distributed.rank()]
    GradientHook(model.groups(), "pcgrad", seed=0).backward(model.losses(share), 2)
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


def test_diagnostics() -> None:
    rows = torch.tensor([[3.0, 0.0], [0.0, 4.0], [-1.0, 0.0]])
    diagnostics = Diagnostics({"decoder": gram_matrix(rows) * 4.0}, {"decoder": ("fusion", "rgb", "thermal")}, 2.0)
    figures = diagnostics.read()["decoder"]
    assert figures.norms == {"fusion": 3.0, "rgb": 4.0, "thermal": 1.0}
    assert figures.cosines == {"fusion-rgb": 0.0, "fusion-thermal": -1.0, "rgb-thermal": 0.0}
    assert diagnostics.conflicts()["decoder"].item() == pytest.approx(1 / 3)
    assert figures.total_norm == pytest.approx(20**0.5)


def test_gradient_ratio_is_rgb_over_thermal() -> None:
    grams = {"rgb_adapter": torch.eye(2).double() * 8, "thermal_adapter": torch.eye(2).double() * 2}
    losses = {"rgb_adapter": ("fusion", "rgb"), "thermal_adapter": ("fusion", "thermal")}
    figures = Diagnostics(grams, losses).read()
    assert gradient_ratio(figures) == pytest.approx(2.0)
    assert gradient_ratio({"decoder": figures["rgb_adapter"]}) is None


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
