from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from samsod.config import LossConfig
from samsod.modeling.losses import build_loss
from samsod.modeling.scribble_losses import Coherence, Smoothness, _half_window
from samsod.registry import LOSSES
from samsod.utils.errors import UserError

Batch = dict[str, Tensor]


def loss_of(name: str, **options: Any) -> Any:
    return build_loss(LossConfig(name, options))


def make_batch(images: int = 2, height: int = 16, width: int = 20, seed: int = 0) -> tuple[Tensor, Batch]:
    """Logits and a batch whose pixels are labelled at random, one in five."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.rand(images, 3, height, width, generator=generator)
    truth = (torch.rand(images, 1, height, width, generator=generator) > 0.6).float()
    labelled = (torch.rand(images, 1, height, width, generator=generator) > 0.8).float()
    logits = torch.randn(images, 1, height, width, generator=generator) * 2
    return logits, {"guide": colours, "ground_truth": truth, "labelled": labelled}


def literal_bce(logits: Tensor, truth: Tensor, labelled: Tensor) -> float:
    total, count = 0.0, 0
    for z, g, known in zip(
        logits.flatten().tolist(), truth.flatten().tolist(), labelled.flatten().tolist(), strict=True
    ):
        p = 1 / (1 + math.exp(-z))
        if known:
            total -= g * math.log(p) + (1 - g) * math.log(1 - p)
            count += 1
    return total / max(count, 1)


KERNELS = (
    (10, ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))),
    (10, ((-1, -2, -1), (0, 0, 0), (1, 2, 1))),
    (1, ((1, 1, 1), (1, -8, 1), (1, 1, 1))),
)


def literal_smoothness(saliency: Any, grey: Any, border: str) -> float:
    height, width = len(saliency), len(saliency[0])

    def at(image: Any, y: int, x: int) -> float:
        if border == "zeros" and not (0 <= y < height and 0 <= x < width):
            return 0.0
        return image[min(max(y, 0), height - 1)][min(max(x, 0), width - 1)]

    def filtered(image: Any, kernel: Any, y: int, x: int) -> float:
        return sum(kernel[j][i] * at(image, y + j - 1, x + i - 1) for j in range(3) for i in range(3))

    total = 0.0
    for weight, kernel in KERNELS:
        for y in range(height):
            for x in range(width):
                held = filtered(saliency, kernel, y, x) * math.exp(-10 * abs(filtered(grey, kernel, y, x)))
                total += weight * math.sqrt(held**2 + 0.001**2)
    return total / (height * width)


def literal_coherence(saliency: Any, colours: Any, window: int = 11) -> float:
    height, width, reach = len(saliency), len(saliency[0]), window // 2
    total = 0.0
    for y in range(height):
        for x in range(width):
            for v in range(max(0, y - reach), min(height, y + reach + 1)):
                for u in range(max(0, x - reach), min(width, x + reach + 1)):
                    far = ((y - v) ** 2 + (x - u) ** 2) / (2 * 6**2)
                    unlike = sum((plane[y][x] - plane[v][u]) ** 2 for plane in colours) / (2 * 0.1**2)
                    total += math.exp(-far - unlike) * abs(saliency[y][x] - saliency[v][u])
    return total / (height * width)


def blocks(image: Tensor, side: int = 4) -> list[list[float]]:
    """Means of squares of `side` pixels."""
    height, width = image.shape
    return [
        [image[y : y + side, x : x + side].mean().item() for x in range(0, width, side)] for y in range(0, height, side)
    ]


def test_partial_bce_equals_the_literal_loop_over_labelled_pixels() -> None:
    logits, batch = make_batch(3)
    batch["labelled"][2] = 0  # adds nothing, and no NaN
    expected = [literal_bce(logits[i], batch["ground_truth"][i], batch["labelled"][i]) for i in range(2)]
    assert loss_of("partial_bce")(logits, batch).item() == pytest.approx(sum(expected) / 3, rel=1e-5)
    del batch["labelled"]
    expected = [literal_bce(logits[i], batch["ground_truth"][i], torch.ones(320)) for i in range(3)]
    assert loss_of("partial_bce")(logits, batch).item() == pytest.approx(sum(expected) / 3, rel=1e-5)


@pytest.mark.parametrize("border", ["replicate", "zeros"])
def test_smoothness_equals_the_literal_loop(border: str) -> None:
    logits, batch = make_batch()
    batch["guide"] = batch["guide"] * 0.02 + 0.3  # little contrast, or the edges would leave no penalty
    grey = (batch["guide"] * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)
    expected = [literal_smoothness(logits[i, 0].sigmoid().tolist(), grey[i].tolist(), border) for i in range(2)]
    assert loss_of("smoothness", border=border)(logits, batch).item() == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_coherence_equals_the_literal_loop_at_a_quarter_of_the_resolution() -> None:
    logits, batch = make_batch(height=50, width=60)  # a map of 13 x 15, wider than the window; the last row is partial
    batch["guide"] = torch.nn.functional.avg_pool2d(batch["guide"], 9, 1, 4) * 0.2  # colours near enough to count
    expected = [
        literal_coherence(blocks(logits[i, 0].sigmoid()), [blocks(plane) for plane in batch["guide"][i]])
        for i in range(2)
    ]
    assert loss_of("coherence")(logits, batch).item() == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_a_map_smaller_than_the_window() -> None:
    saliency, colours = torch.rand(1, 1, 3, 4), torch.rand(1, 3, 3, 4) * 0.2
    expected = literal_coherence(saliency[0, 0].tolist(), colours[0].tolist())
    assert Coherence(stride=1).of_maps(saliency, colours).item() == pytest.approx(expected, rel=1e-5)
    assert Coherence(stride=1).of_maps(torch.rand(2, 1, 1, 1), torch.rand(2, 3, 1, 1)).tolist() == [0, 0]


def test_each_pair_of_the_window_is_met_once() -> None:
    pairs = set()
    for down, right, here, there in _half_window(5, 4, 6):
        numbers = torch.arange(24).view(1, 1, 4, 6)
        for pair in zip(numbers[here].flatten().tolist(), numbers[there].flatten().tolist(), strict=True):
            assert pair[1] - pair[0] == down * 6 + right and pair not in pairs and pair[::-1] not in pairs
            pairs.add(pair)
    near = [(a, b) for a in range(24) for b in range(a) if abs(a // 6 - b // 6) <= 2 and abs(a % 6 - b % 6) <= 2]
    assert len(pairs) == len(near)


def test_the_whole_is_the_weighted_sum_of_its_parts() -> None:
    logits, batch = make_batch()
    parts = {name: loss_of(name)(logits, batch).item() for name in ("partial_bce", "smoothness", "coherence")}
    expected = parts["partial_bce"] + 0.3 * parts["smoothness"] + parts["coherence"]
    assert loss_of("scribble")(logits, batch).item() == pytest.approx(expected, rel=1e-6)
    zeros = loss_of("smoothness", border="zeros")(logits, batch).item()
    bordered = loss_of("scribble", border="zeros")(logits, batch).item()
    assert bordered == pytest.approx(expected + 0.3 * (zeros - parts["smoothness"]), rel=1e-6) != expected
    other = loss_of("scribble", bce=2, smoothness=0, coherence=0.5, window=5, stride=2)(logits, batch).item()
    small = loss_of("coherence", window=5, stride=2)(logits, batch).item()
    assert other == pytest.approx(2 * parts["partial_bce"] + 0.5 * small, rel=1e-6)


def test_gradients_by_finite_differences_in_float64() -> None:
    torch.manual_seed(0)
    saliency = torch.rand(2, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    colours = torch.rand(2, 3, 6, 7, dtype=torch.float64) * 0.3
    coherence, smoothness = Coherence(window=5), Smoothness()
    assert torch.autograd.gradcheck(lambda p: coherence.of_maps(p, colours), saliency)
    assert torch.autograd.gradcheck(lambda p: smoothness.of_maps(p, colours[:, :1]), saliency)


def test_the_whole_gradient_by_finite_differences() -> None:
    logits, batch = make_batch(height=32, width=32)
    logits.requires_grad_()
    loss = loss_of("scribble")
    (gradient,) = torch.autograd.grad(loss(logits, batch), logits)
    # Along the gradient, where the loss, in float32, changes by much more than its rounding.
    direction = gradient / gradient.norm()
    high, low = (loss(logits + sign * 3e-2 * direction, batch).item() for sign in (1, -1))
    assert gradient.norm().item() == pytest.approx((high - low) / 6e-2, rel=2e-3)


def test_what_is_not_labelled_does_not_matter_and_no_image_depends_on_another() -> None:
    logits, batch = make_batch(4)
    loss = loss_of("scribble")
    whole = loss(logits, batch)
    turned = dict(
        batch, ground_truth=torch.where(batch["labelled"] > 0, batch["ground_truth"], 1 - batch["ground_truth"])
    )
    assert torch.equal(loss(logits, turned), whole)
    batch["labelled"][0, :, 2:] = 0  # few pixels in one half of the batch, many in the other
    whole = loss(logits, batch)
    halves = [loss(logits[s], {name: value[s] for name, value in batch.items()}) for s in (slice(2), slice(2, 4))]
    assert (sum(halves) / 2).item() == pytest.approx(whole.item(), rel=1e-6)


def test_edges_of_the_image_let_the_map_change() -> None:
    step = torch.full((1, 1, 32, 32), -4.0)
    step[..., 16:] = 4
    truth = {"ground_truth": torch.zeros(1, 1, 32, 32), "labelled": torch.zeros(1, 1, 32, 32)}
    same_edge, other_edge = torch.full((2, 1, 3, 32, 32), 0.1)
    same_edge[..., 16:] = 0.9
    other_edge[..., 16:, :] = 0.9
    for name in ("smoothness", "coherence"):
        loss = loss_of(name)
        at, across = (loss(step, {**truth, "guide": colours}) for colours in (same_edge, other_edge))
        assert at < 0.1 * across, name


def test_an_image_of_one_colour_guides_nothing() -> None:
    logits, batch = make_batch()
    one = loss_of("scribble")(logits[1:], {name: value[1:] for name, value in batch.items()})
    batch["guide"][0] = 0.4
    bce = loss_of("partial_bce")(logits[:1], {name: value[:1] for name, value in batch.items()})
    assert loss_of("scribble")(logits, batch).item() == pytest.approx((one + bce).item() / 2, rel=1e-6)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_is_computed_in_float32_under_autocast(kind: torch.dtype) -> None:
    logits, batch = make_batch(1, 32, 32)
    loss = loss_of("scribble")
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss(logits.to(kind), batch)
    assert mixed.dtype == torch.float32 and torch.equal(mixed, loss(logits.to(kind).float(), batch))


class Allocated(torch.utils._python_dispatch.TorchDispatchMode):
    """The largest tensor that an operation makes; none may be read back to the host."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.largest = max(self.largest, result.untyped_storage().nbytes())
        return result


def test_memory_does_not_grow_with_the_window() -> None:
    saliency, colours = torch.rand(2, 1, 24, 24, requires_grad=True), torch.rand(2, 3, 24, 24)
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.nbytes)
        return tensor

    for window in (5, 21):
        kept.clear()
        with Allocated() as made, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            Coherence(window=window).of_maps(saliency, colours).sum().backward()
        assert made.largest <= colours.nbytes
        assert kept == [saliency.nbytes]


def test_nothing_is_read_back_to_the_host() -> None:
    logits, batch = make_batch()
    with Allocated():
        loss_of("scribble")(logits.requires_grad_(), batch).backward()


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("scribble", {"window": 10}, "window"),
        ("scribble", {"coherence": -1}, "coherence"),
        ("scribble", {"coherenc": 1}, "coherenc"),
        ("coherence", {"stride": 2.5}, "stride"),
        ("coherence", {"sigma_rgb": 0}, "sigma_rgb"),
        ("smoothness", {"epsilon": float("nan")}, "epsilon"),
        ("scribble", {"border": "zero"}, "border"),
        ("partial_bce", {"window": 3}, "window"),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=rf"loss\.options.*{named}"):
        loss_of(name, **options)


def test_losses_say_what_they_need() -> None:
    needs = {"partial_bce": False, "smoothness": True, "coherence": True, "scribble": True, "weighted_iou_bce": False}
    for name, guide in needs.items():
        assert getattr(LOSSES.get(name), "needs_guide", False) == guide, name
    logits, batch = make_batch()
    del batch["guide"]
    assert loss_of("partial_bce")(logits, batch) > 0
