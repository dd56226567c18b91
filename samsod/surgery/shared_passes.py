"""Backward passes that several losses share.

In the encoder the modalities' own losses have nothing in common: each reaches the adapters of its modality alone. So
one backward pass through a graph that holds all modalities gives the gradients of all, with no more arithmetic than one
for each, and fewer operators. What they have in common, the decoder, is passed before, loss by loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from samsod.modeling.parameter_groups import Cut
from samsod.surgery.rows import Add, by_autograd, gradients_of

Gradients = Mapping[Tensor, Tensor]


def by_cuts(
    cuts: Sequence[Cut],
    losses: Mapping[str, Tensor],
    wanted: Mapping[str, Iterable[Tensor]],
    add: Add,
    keep: bool = False,
) -> None:
    """One backward pass for each loss down to the cuts; from there those that reach different ones pass together.

    Args:
        cuts: See `Prediction`; without any, each loss has a pass of its own.
        losses: As what follows, see `samsod.surgery.rows.Differentiate`.
        wanted: Parameters by loss.
        add: Takes gradients.
        keep: Whether the graph is needed once more.
    """
    if not cuts:
        by_autograd(losses, wanted, add, keep)
        return
    tensors = [tensor for cut in cuts for tensor in cut.tensors if tensor.requires_grad]
    before = {parameter for cut in cuts for parameter in cut.parameters}
    after = {name: [parameter for parameter in wanted[name] if parameter not in before] for name in losses}
    through_cuts(cuts, down_to(tensors, losses, after, add, keep=True), wanted, add, keep)


def down_to(
    tensors: Sequence[Tensor],
    losses: Mapping[str, Tensor],
    wanted: Mapping[str, Iterable[Tensor]],
    add: Add,
    keep: bool = False,
) -> dict[str, Gradients]:
    """One backward pass for each loss, which ends at some tensors: by loss the gradients of those it reaches."""
    at: dict[str, Gradients] = {}

    def add_the_rest(name: str, gradients: Mapping[Tensor, Tensor]) -> None:
        rest = dict(gradients)
        at[name] = {tensor: rest.pop(tensor) for tensor in tensors if tensor in rest}
        add(name, rest)

    by_autograd(losses, {name: [*wanted[name], *tensors] for name in losses}, add_the_rest, keep)
    return at


def through_cuts(
    cuts: Sequence[Cut], at_cuts: Mapping[str, Gradients], wanted: Mapping[str, Iterable[Tensor]], add: Add, keep: bool
) -> None:
    """Takes the losses' gradients at the tensors of the cuts further, to the parameters before them."""
    reached: dict[str, list[tuple[Cut, list[nn.Parameter]]]] = {}
    for name, gradients in at_cuts.items():
        asked = set(wanted[name])
        parts = [
            (cut, [p for p in cut.parameters if p in asked]) for cut in cuts if gradients.keys() & set(cut.tensors)
        ]
        if parts := [(cut, parameters) for cut, parameters in parts if parameters]:
            reached[name] = parts
    passes = together({name: {id(cut) for cut, _ in parts} for name, parts in reached.items()})
    for count, names in enumerate(passes, 1):
        ends = [(t, at_cuts[n][t]) for n in names for cut, _ in reached[n] for t in cut.tensors if t in at_cuts[n]]
        parameters = {name: [p for _, parameters in reached[name] for p in parameters] for name in names}
        gradients = gradients_of(
            [tensor for tensor, _ in ends],
            [parameter for name in names for parameter in parameters[name]],
            [gradient for _, gradient in ends],
            retain_graph=keep or count < len(passes),
        )
        for name in names:
            add(name, {parameter: gradients[parameter] for parameter in parameters[name] if parameter in gradients})


def together(reached: Mapping[str, set[int]]) -> list[list[str]]:
    """The losses in as few lists as their order allows, none of which holds two that reach the same."""
    lists: list[list[str]] = []
    for name, own in reached.items():
        free = (names for names in lists if all(own.isdisjoint(reached[other]) for other in names))
        names = next(free, None)
        if names is None:
            lists.append([name])
        else:
            names.append(name)
    return lists
