"""Parameters and multiply-adds, by part, counted with fvcore."""

from __future__ import annotations

import warnings
from collections import Counter
from math import prod
from typing import Any, TypeVar

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from samsod.config import ModelConfig
from samsod.evaluation.tables.text import text_table
from samsod.modeling.samsod import SaliencyModel

M = TypeVar("M", bound=SaliencyModel)

PAPER = {
    "tiny": {"params": 32.7e6, "macs": 60.4e9},
    "large": {"params": 224.1e6, "macs": 418.0e9},
}
"""Table I of the paper; its "FLOPs" are multiply-adds without those of attention's two matrix products."""

COST_HEADING = ("part", "params (M)", "trained (M)", "GMAC", "GMAC with attention")
ATTENTION = "aten::scaled_dot_product_attention"


def attention_macs(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Multiply-adds of softmax(QKᵀ)V: batch · heads · queries · keys · (channels of Q + channels of V)."""
    query, key, value = (item.type().sizes() for item in inputs[:3])
    return Counter({"attention": prod(query[:-1]) * key[-2] * (query[-1] + value[-1])})


class Unfilled(TorchFunctionMode):
    """While the block runs, parameters are made without values, which costs neither time nor memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Leaves out what would fill a parameter: functions of `nn.init`, and methods that work in place."""
        first = next(iter((*args, *(kwargs or {}).values())), None)
        name = getattr(func, "__name__", "")
        fills = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
        return first if fills and isinstance(first, nn.Parameter) else func(*args, **(kwargs or {}))


def weightless(model: M) -> M:
    """The model with every parameter a single zero, shown in its shape: counting needs no gigabyte of weights."""
    for parameter in model.parameters():
        parameter.data = parameter.data.new_zeros(()).expand(parameter.shape)
    return model


def count_macs(model: SaliencyModel, image_size: int) -> dict[str, Counter[str]]:
    """Multiply-adds of one forward pass on one pair, by operator, for every module name ("" is the whole model)."""
    image = torch.zeros(1, 3, image_size, image_size, device=next(model.parameters()).device)
    images = (image,) * len(model.modalities)
    analysis = FlopCountAnalysis(_Positional(model), images).set_op_handle(ATTENTION, attention_macs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with warnings.catch_warnings(), torch.no_grad():  # without it the trace keeps what backward would need
        warnings.simplefilter("ignore")  # the tracer's, and what torch says of its own jit
        macs = analysis.by_module_and_operator()
    inside = f"{_Positional.PREFIX}."
    return {"": macs[_Positional.PREFIX]} | {
        name.removeprefix(inside): counts for name, counts in macs.items() if name.startswith(inside)
    }


class _Positional(nn.Module):
    """A model as fvcore's tracer can call it: tensors in, a tensor out."""

    PREFIX = "model"

    def __init__(self, model: SaliencyModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *images: Tensor) -> Tensor:
        return self.model(dict(zip(self.model.modalities, images, strict=True))).logits()


def cost(model: SaliencyModel, image_size: int) -> dict[str, Any]:
    """Parameters and multiply-adds of a model, in plain numbers, with a row per part under `parts`.

    Args:
        model: The model; it is put in evaluation mode.
        image_size: Side of the input in pixels.

    Returns:
        `params`, `params_trainable`, `macs_fvcore` (as fvcore counts, without attention's two matrix products),
        `macs_with_attention`, `input_size`, and the first four of every part.
    """
    model.eval()
    names = {id(module): name for name, module in model.named_modules()}
    macs = count_macs(model, image_size)
    parts = {
        part: _figures(modules, [macs[names[id(module)]] for module in modules])
        for part, modules in model.parts().items()
    }
    return {**_figures([model], [macs[""]]), "input_size": image_size, "parts": parts}


def _figures(modules: list[nn.Module], macs: list[Counter[str]]) -> dict[str, int]:
    total = int(sum(sum(counts.values()) for counts in macs))
    return {
        "params": _parameters(modules),
        "params_trainable": _parameters(modules, trainable=True),
        "macs_fvcore": total - int(sum(counts["attention"] for counts in macs)),
        "macs_with_attention": total,
    }


def _parameters(modules: list[nn.Module], trainable: bool = False) -> int:
    return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad or not trainable)


def cost_table(figures: dict[str, Any], parts: dict[str, dict[str, int]], config: ModelConfig) -> str:
    """The figures by part in millions and billions, beside the paper's where it has some of such a model."""
    side = figures["input_size"]
    heading = f"one {side}x{side} image of each modality: {', '.join(config.modalities)}"
    lines = [heading, text_table(COST_HEADING, cost_rows(figures, parts))]
    reported = PAPER.get(config.size)
    if reported and side == 512 and len(config.modalities) == 2 and config.encoder.name == "sam2":
        lines.append(
            f"the paper's Table I reports {reported['params'] / 1e6:.1f} M and {reported['macs'] / 1e9:.1f} G; "
            "its count, like column GMAC, leaves attention's products out, but takes transposed convolutions four times"
        )
    return "\n".join(lines)


def cost_rows(figures: dict[str, Any], parts: dict[str, dict[str, int]]) -> list[list[str]]:
    """The cells of the table under `COST_HEADING`: a row per part, and the total."""
    return [_cost_row(part, counts) for part, counts in (parts | {"total": figures}).items()]


def _cost_row(part: str, counts: dict[str, int]) -> list[str]:
    macs = [f"{counts[key] / 1e9:.2f}" for key in ("macs_fvcore", "macs_with_attention")]
    return [part, f"{counts['params'] / 1e6:.3f}", f"{counts['params_trainable'] / 1e6:.3f}", *macs]
