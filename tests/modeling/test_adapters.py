from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samsod.benchmarks.counts import Operators
from samsod.config import AdapterConfig
from samsod.modeling.adapters import DecoupledAdapter, adapt, build_adapter
from samsod.modeling.ranking import by_numpy, earlier_channels, in_order, keep_ranked, ranks_by_comparison
from tests.kept import kept_tensors

NAMES = ("vanilla", "decoupled", "decoupled_moe")


def randomised(name: str, dim: int = 8, **settings: object) -> torch.nn.Module:
    torch.manual_seed(0)
    adapter = build_adapter(AdapterConfig(name, **settings), dim)  # type: ignore[arg-type]
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    return adapter.double()


@torch.no_grad()
def literal_topk(h: Tensor, k: int, largest: bool) -> Tensor:
    kept = torch.zeros_like(h)
    for token, out in zip(h.view(-1, h.shape[-1]), kept.view(-1, h.shape[-1]), strict=True):
        values, channels = token.topk(k, largest=largest)
        out[channels] = values
    return kept


def relaxed(h: Tensor, rho: float, largest: bool) -> Tensor:
    """The form whose derivative the straight-through gate takes: the next channel enters with ρ's fraction."""
    k = int(rho)
    after = literal_topk(h, min(k + 1, h.shape[-1]), largest)
    return literal_topk(h, k, largest) + (rho - k) * (after - literal_topk(h, k, largest))


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_adapter_adds_nothing_but_can_learn(name: str) -> None:
    torch.manual_seed(0)
    adapter = build_adapter(AdapterConfig(name), 16)
    x = torch.randn(2, 3, 4, 16)
    out = adapter(x)
    assert torch.equal(out, torch.zeros_like(x))
    (out * torch.randn_like(out)).sum().backward()
    gradients = {key: p.grad for key, p in adapter.named_parameters() if p.grad is not None}
    assert any(key.endswith("up.weight") and gradient.abs().sum() > 0 for key, gradient in gradients.items())


def literal_branches(adapter: DecoupledAdapter, x: Tensor) -> tuple[Tensor, Tensor]:
    """The two terms of Eq. 21, each bottleneck a product of its own."""
    rho = adapter.kept_channels(x if adapter.straight_through else x.detach())
    pairs = zip((adapter.foreground, adapter.background), rho, (True, False), strict=True)
    high, low = (branch.up(keep_ranked(branch.activate(x), share, largest)) for branch, share, largest in pairs)
    return high, low


@pytest.mark.parametrize("gradient", ["straight_through", "none"])
@pytest.mark.parametrize("name", ["decoupled", "decoupled_moe"])
def test_both_branches_as_one_product_are_those_of_two(name: str, gradient: str) -> None:
    adapter = randomised(name, dim=48, gate_gradient=gradient).float()
    assert isinstance(adapter, DecoupledAdapter)
    x = torch.randn(2, 6, 6, 48, requires_grad=True)
    x.data[0, 0] = 0  # ties, all of a token's activations equal
    foreground, background = literal_branches(adapter, x)
    if name == "decoupled_moe":
        weights = torch.softmax(adapter.branch_gate(x), -1)  # type: ignore[operator]
        foreground, background = weights[..., :1] * foreground, weights[..., 1:] * background
    plain, joined = foreground + background, adapter(x)
    torch.testing.assert_close(joined, plain, rtol=1e-6, atol=1e-5)
    wanted = [x, *(p for p in adapter.parameters() if p.requires_grad)]
    weight = torch.randn_like(plain)
    gradients = (torch.autograd.grad((out * weight).sum(), wanted) for out in (joined, plain))
    for ours, expected in zip(*gradients, strict=True):
        assert ((ours - expected).norm() / expected.norm()).item() < 1e-6


def test_the_backward_pass_is_a_few_products_with_what_was_kept() -> None:
    h = torch.randn(2, 4, 4, 2, 32, requires_grad=True)
    with kept_tensors() as kept:
        out = keep_ranked(h, torch.full((2, 1, 1, 1, 1), 8.5, requires_grad=True), True)
    assert sorted(t.element_size() for t in kept if t.numel() == h.numel()) == [1, 4]
    gradient = torch.ones_like(h)
    with Operators() as launched:
        out.backward(gradient)
    assert {"gather", "scatter", "scatter_"}.isdisjoint(launched.names)
    assert launched.names.total() - launched.views <= 4, launched.names


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gate_scope": "batch"},
        {"gate_pooling": "tokens"},
        {"gate_gradient": "none", "gate_scope": "batch", "gate_pooling": "tokens", "bottleneck": 24},
    ],
)
def test_modalities_together_are_those_one_by_one(name: str, settings: dict[str, object]) -> None:
    """Values, and the gradients of tokens and of every parameter, in double precision."""
    adapters = [randomised(name, 12, beta=0.5, **settings) for _ in range(3)]
    for index, adapter in enumerate(adapters):
        for parameter in adapter.parameters():
            parameter.data.mul_(1 + index).roll(index)
    x = torch.randn(6, 4, 5, 12, dtype=torch.float64).transpose(1, 2).requires_grad_()
    x.data[3, 0] = 0  # ties
    together = adapt(adapters, x, 0.3)
    alone = 0.3 * torch.cat([adapter(part) for adapter, part in zip(adapters, x.split(2), strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(adapt(adapters[:1], x[:2], 0.3), alone[:2], rtol=1e-12, atol=1e-12)
    wanted = [x, *(p for adapter in adapters for p in adapter.parameters() if p.requires_grad)]
    weight = torch.randn_like(alone)
    gradients = (torch.autograd.grad((out * weight).sum(), wanted) for out in (together, alone))
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_an_even_gate_keeps_what_alpha_and_half_of_beta_say_in_every_type() -> None:
    """0.45 + 0.1/2 is one half, of 32 channels 16: rounded otherwise it would be 15."""
    for dtype in (torch.float32, torch.float64):
        adapter = build_adapter(AdapterConfig(), 8).to(dtype)
        foreground, background = adapter.kept_channels(torch.randn(1, 2, 2, 8, dtype=dtype))  # type: ignore[operator]
        assert (foreground.floor().item(), background.floor().item()) == (16, 12)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("rho", [0.0, 0.7, 3.0, 5.9, 8.0, 9.5])
def test_keep_ranked_is_topk(largest: bool, rho: float) -> None:
    torch.manual_seed(1)
    h = torch.randn(2, 3, 3, 8, dtype=torch.float64)
    kept = keep_ranked(h, torch.full((2, 1, 1, 1), rho, dtype=torch.float64), largest)
    assert torch.equal(kept, literal_topk(h, min(int(rho), 8), largest))


def test_ties_keep_exactly_k() -> None:
    kept = keep_ranked(torch.ones(1, 1, 1, 8), torch.tensor(3.0), True)
    assert kept.flatten().tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


def keys_with_ties(dtype: torch.dtype) -> Tensor:
    torch.manual_seed(4)
    values = torch.cat([torch.randn(50, 32), torch.randint(-2, 3, (50, 32)), torch.full((1, 32), 0.5)]).to(dtype)
    values[:50, 3:9] = values[:50, 20:21]
    values[0, :8] = torch.tensor([0.0, -0.0] * 4)
    values[1, :4] = torch.tensor([torch.inf, -torch.inf, torch.finfo(dtype).tiny / 2, -torch.finfo(dtype).max])
    return values.view(101, 1, 1, 32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_ranks_by_comparison_are_pythons_with_ties_too(dtype: torch.dtype) -> None:
    values = keys_with_ties(dtype)
    ranks = ranks_by_comparison(values, earlier_channels(32))
    for row, token in zip(ranks.view(-1, 32).tolist(), values.view(-1, 32).tolist(), strict=True):
        order = sorted(range(32), key=lambda channel: (-token[channel], channel))
        assert [order[rank] for rank in row] == list(range(32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_numpys_order_keeps_what_ranks_do(dtype: torch.dtype) -> None:
    values = keys_with_ties(dtype)
    assert by_numpy(values) and not by_numpy(values.double()) and not by_numpy(values.to("meta"))
    ranks = ranks_by_comparison(values, earlier_channels(32))
    for count in torch.arange(0.0, 35.0).view(-1, 1, 1, 1, 1):
        value, following = in_order(values, count)
        assert torch.equal(value > following, ranks < count) and torch.equal(value == following, ranks == count)


@pytest.mark.parametrize("largest", [True, False])
def test_compiled_and_exported_code_keep_the_same_bits(largest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value and gradients where an operator of its own ranks, and where comparing does, as on other devices too."""
    torch.manual_seed(5)
    h = torch.randn(2, 3, 3, 32).mul(4).round().div(4).requires_grad_()
    rho, weight = (torch.rand(2, 1, 1, 1) * 30 + 1).requires_grad_(), torch.randn(2, 3, 3, 32)
    results = []
    for states in ([], ["is_compiling"], ["is_compiling", "is_exporting"]):
        for state in states:
            monkeypatch.setattr(torch.compiler, state, lambda: True)
        assert by_numpy(h) == ("is_exporting" not in states)
        kept = keep_ranked(h, rho, largest)
        results.append([kept, *torch.autograd.grad((kept * weight).sum(), (h, rho))])
    for others in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], others, strict=True))


def test_the_operator_that_ranks_is_recorded_as_it_runs() -> None:
    torch.library.opcheck(torch.ops.samsod.in_order.default, (keys_with_ties(torch.float32), torch.tensor(3.0)))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("scope", [(2, 1, 1, 1), (1, 1, 1, 1)])
def test_gradient_by_rho_is_the_relaxed_forms(largest: bool, scope: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    h, weight = torch.randn(2, 2, 3, 8, dtype=torch.float64), torch.randn(2, 2, 3, 8, dtype=torch.float64)
    rho = (torch.rand(scope, dtype=torch.float64) * 6 + 1).requires_grad_()
    (keep_ranked(h, rho, largest) * weight).sum().backward()
    step = 1e-6
    for image in range(scope[0]):
        span = slice(None) if scope[0] == 1 else slice(image, image + 1)
        value = float(rho.detach()[image])
        high, low = ((relaxed(h[span], value + sign * step, largest) * weight[span]).sum() for sign in (1, -1))
        assert rho.grad is not None
        torch.testing.assert_close(rho.grad[image].squeeze(), (high - low) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("largest", [True, False])
def test_gradient_by_activations_is_that_of_the_forward_value(largest: bool) -> None:
    torch.manual_seed(3)
    h = torch.randn(2, 2, 2, 6, dtype=torch.float64, requires_grad=True)
    rho = torch.tensor([2.5, 4.0], dtype=torch.float64).view(2, 1, 1, 1)
    assert torch.autograd.gradcheck(lambda values: keep_ranked(values, rho, largest), (h,))


def test_the_gate_learns_as_the_relaxed_model_does() -> None:
    """Through the whole adapter: the gate's gradient against finite differences of the relaxed forward pass."""
    adapter = randomised("decoupled", bottleneck=8)
    assert isinstance(adapter, DecoupledAdapter)
    x, weight = torch.randn(2, 2, 2, 8, dtype=torch.float64), torch.randn(2, 2, 2, 8, dtype=torch.float64)

    def relaxed_sum(bias: Tensor) -> Tensor:
        with torch.no_grad():
            logits = torch.nn.functional.linear(x.mean((1, 2)), adapter.gate.weight, bias)
            shares = torch.softmax(logits, -1)
            total = torch.zeros(())
            for image in range(2):
                for branch, module, largest in ((0, adapter.foreground, True), (1, adapter.background, False)):
                    rho = float(8 * (float(adapter.alphas[branch]) + adapter.beta * shares[image, branch]))
                    kept = relaxed(module.activate(x[image : image + 1]), rho, largest)
                    total = total + (module.up(kept) * weight[image]).sum()
            return total

    (adapter(x) * weight).sum().backward()
    for index in range(2):
        shift = torch.zeros(2, dtype=torch.float64)
        shift[index] = 1e-5
        bias = adapter.gate.bias.detach()
        expected = (relaxed_sum(bias + shift) - relaxed_sum(bias - shift)) / 2e-5
        assert adapter.gate.bias.grad is not None
        torch.testing.assert_close(adapter.gate.bias.grad[index], expected.double(), rtol=1e-5, atol=1e-8)


def test_without_straight_through_the_gate_is_frozen() -> None:
    adapter = randomised("decoupled", gate_gradient="none")
    adapter(torch.randn(1, 2, 2, 8, dtype=torch.float64)).sum().backward()
    gradients = {key: p.grad for key, p in adapter.named_parameters() if p.requires_grad}
    assert not any(key.startswith("gate.") for key in gradients)
    assert isinstance(adapter, DecoupledAdapter)
    x = torch.randn(1, 2, 2, 8, dtype=torch.float64, requires_grad=True)
    rho = adapter.kept_channels(x)[0].detach()
    kept = keep_ranked(adapter.foreground.activate(x), rho, True)
    (expected,) = torch.autograd.grad(adapter.foreground.up(kept).square().sum(), x)
    (ours,) = torch.autograd.grad(adapter.branches(x)[0].square().sum(), x)
    torch.testing.assert_close(ours, expected)  # nothing reaches x through the gate either
    assert all(gradient is not None for gradient in gradients.values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scope", ["image", "batch"])
def test_batch_mates_matter_only_to_the_batch_gate(name: str, scope: str) -> None:
    adapter = randomised(name, gate_scope=scope, beta=1.0)
    x = torch.randn(3, 4, 4, 8, dtype=torch.float64) + torch.tensor([0.0, 3.0, -3.0]).view(3, 1, 1, 1)
    together, alone = adapter(x)[:1], adapter(x[:1])
    same = torch.allclose(together, alone, atol=1e-12)
    assert same == (scope == "image" or name == "vanilla")


@torch.no_grad()
def literal_gates(adapter: DecoupledAdapter, x: Tensor, pooling: str, scope: str) -> list[list[float]]:
    """Shares of foreground and background of every image, token by token."""
    images = [image.reshape(-1, image.shape[-1]) for image in x]
    pools = images if scope == "image" else [torch.cat(images)] * len(images)
    gates = []
    for tokens in pools:
        seen = tokens if pooling == "tokens" else [sum(tokens) / len(tokens)]
        shares = [torch.softmax(adapter.gate.weight @ token + adapter.gate.bias, 0) for token in seen]
        gates.append(torch.stack(shares).mean(0).tolist())
    return gates


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean_token", "tokens"])
@pytest.mark.parametrize("scope", ["image", "batch"])
def test_decoupled_is_equation_21_to_23(pooling: str, scope: str) -> None:
    adapter = randomised("decoupled", bottleneck=8, gate_pooling=pooling, gate_scope=scope, beta=0.4)
    assert isinstance(adapter, DecoupledAdapter)
    x = 3 * torch.randn(2, 3, 3, 8, dtype=torch.float64)
    gates = literal_gates(adapter, x, pooling, scope)
    expected = torch.zeros_like(x)
    for image, gate in enumerate(gates):
        for share, alpha, module, largest in (
            (gate[0], 0.45, adapter.foreground, True),
            (gate[1], 0.35, adapter.background, False),
        ):
            k = int(8 * (alpha + 0.4 * share))
            expected[image] += module.up(literal_topk(torch.nn.functional.gelu(module.down(x[image])), k, largest))
    torch.testing.assert_close(adapter(x), expected)
    rho = adapter.kept_channels(x)[0].flatten()
    torch.testing.assert_close(rho, 8 * (0.45 + 0.4 * torch.tensor(gates, dtype=torch.float64)[: len(rho), 0]))


@torch.no_grad()
def test_the_two_poolings_differ_where_tokens_do() -> None:
    adapters = [randomised("decoupled", gate_pooling=pooling) for pooling in ("mean_token", "tokens")]
    x = 3 * torch.randn(1, 3, 3, 8, dtype=torch.float64)
    one, other = (adapter.kept_channels(x)[0] for adapter in adapters)  # type: ignore[operator]
    assert not torch.allclose(one, other, atol=0.05)
    x[:] = x[:, :1, :1]
    one, other = (adapter.kept_channels(x)[0] for adapter in adapters)  # type: ignore[operator]
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("pooling", ["mean_token", "tokens"])
def test_a_learning_gate_gets_the_gradient_of_its_pooling(pooling: str) -> None:
    adapter = randomised("decoupled", gate_pooling=pooling)
    assert isinstance(adapter, DecoupledAdapter)
    x = torch.randn(2, 2, 2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(adapter.kept_channels, (x,))
    adapter(x).square().sum().backward()
    assert adapter.gate.weight.grad is not None and adapter.gate.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["decoupled", "decoupled_moe"])
def test_gates_start_at_zero_or_as_linear_layers_do(name: str) -> None:
    torch.manual_seed(0)
    zero, random = (build_adapter(AdapterConfig(name, gate_start=start), 64) for start in ("zero", "random"))
    gates = [key for key, _ in random.named_parameters() if "gate." in key]
    assert len(gates) == (4 if name == "decoupled_moe" else 2)
    for key, parameter in random.named_parameters():
        if key in gates:
            assert 0 < parameter.abs().max() <= 1 / 8 and zero.get_parameter(key).abs().max() == 0  # 1/sqrt(64)
        elif "up." in key:
            assert parameter.abs().max() == 0
    x = torch.randn(1, 2, 2, 64)
    assert torch.equal(random(x), torch.zeros_like(x))


def test_moe_weighs_the_branches_per_token() -> None:
    adapter = randomised("decoupled_moe")
    x = torch.randn(2, 2, 2, 8, dtype=torch.float64)
    foreground, background = adapter.branches(x)  # type: ignore[operator]
    weight = torch.softmax(adapter.branch_gate(x), -1)  # type: ignore[operator]
    torch.testing.assert_close(adapter(x), weight[..., :1] * foreground + weight[..., 1:] * background)
