"""Copies of a model whose weights are in a shorter type once and for all, instead of being cast at every use.

Autocast keeps a weight's cast copy only while it requires a gradient; frozen ones it casts at every use, for each
modality and stream anew, and while training keeps every one of these copies for the backward pass.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

from samsod.modeling.samsod import SaliencyModel
from samsod.utils.precision import TYPES

M = TypeVar("M", bound=SaliencyModel)


def shortened(model: M, precision: str, frozen_only: bool = False) -> M:
    """A model of the same modules that holds the weights that autocast casts in the type it casts them to.

    Under `autocast` of that precision it gives the same bits. All other parameters and all buffers are the model's own,
    so that what is trained is trained in both; the short weights are copies, and of no use once the model's change.

    Args:
        model: The model, in float32; it stays as it is.
        precision: The precision it is run with; with fp32 the model itself is returned. So it is when it is compiled:
            its code holds the casts, and a copy would be compiled anew.
        frozen_only: Leave what requires a gradient alone, as training must.
    """
    kind = TYPES[precision]
    weights = [w for w in model.cast_weights() if w.dtype != kind and not (frozen_only and w.requires_grad)]
    if precision == "fp32" or not weights or vars(model).keys() & set(model.compiled_apart):
        return model
    memo = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    memo |= {id(weight): nn.Parameter(weight.detach().to(kind), requires_grad=False) for weight in weights}
    return copy.deepcopy(model, memo)
