"""Forward and backward passes of a step: through one graph of the whole model, or block by block.

Block by block the graph is cut at the encoder's maps, and within the encoder between its blocks. Going forward, all
that is kept of a block is what it reads. Going backward, each loss's pass ends at the maps; then every block, the last
one first, is run once more, and the cotangents of all losses pass through it, to its parameters and to what it reads.
So the activations of one block are held at a time, and the encoder is run again once, however many losses there are.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from samsod.config import EngineConfig
from samsod.engine.random_state import current_state, set_random_state
from samsod.modeling.backbone import Beside, Encoder, Size
from samsod.modeling.parameter_groups import Cut
from samsod.modeling.samsod import Prediction, SaliencyModel
from samsod.surgery.rows import Add, gradients_of
from samsod.surgery.shared_passes import Gradients, by_cuts, down_to
from samsod.utils.errors import UserError
from samsod.utils.precision import autocast

Cotangents = dict[str, Tensor]
"""By loss its derivative by some tensor."""


class Passes:
    """Both passes through one graph.

    Args:
        model: The model, on the device.
        device: The device.
        precision: Autocast type of the forward pass.
    """

    def __init__(self, model: SaliencyModel, device: torch.device, precision: str) -> None:
        self.model, self.device, self.precision = model, device, precision
        self._cuts: tuple[Cut, ...] = ()

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Predicts from a batch; until the next one, losses of the prediction can be differentiated."""
        with autocast(self.device, self.precision):
            prediction: Prediction = self.model(batch)
        self._cuts = prediction.cuts
        return prediction

    def differentiate(
        self, losses: Mapping[str, Tensor], wanted: Mapping[str, Iterable[Tensor]], add: Add, keep: bool = False
    ) -> None:
        """Hands on the gradients of losses of the last prediction; see `samsod.surgery.rows.Differentiate`."""
        by_cuts(self._cuts, losses, wanted, add, keep)
        if not keep:
            self._cuts = ()  # they would hold on to the graph


class BlockPasses(Passes):
    """Both passes block by block.

    Args:
        model: The model, on the device.
        device: The device.
        precision: Autocast type of the forward pass, and of the blocks when they are run again.

    Raises:
        UserError: The model does not let others run its encoder.
    """

    def __init__(self, model: SaliencyModel, device: torch.device, precision: str) -> None:
        super().__init__(model, device, precision)
        if "run_encoder" not in inspect.signature(model.forward).parameters:
            raise UserError(
                f"engine.checkpointing=block: the model {model.config.name} cannot be run block by block, since its "
                "forward does not take run_encoder; set engine.checkpointing=none"
            )
        self._buffers = dict(model.named_buffers())
        self._runs: list[EncoderRun] = []

    def forward(self, batch: Mapping[str, Tensor]) -> Prediction:
        """Predicts from a batch; until the next one, losses of the prediction can be differentiated.

        Raises:
            UserError: Running a block twice would not be as running it once.
        """
        self._runs = []
        with autocast(self.device, self.precision):
            prediction: Prediction = self.model(batch, run_encoder=self._run)
        return prediction

    def differentiate(
        self, losses: Mapping[str, Tensor], wanted: Mapping[str, Iterable[Tensor]], add: Add, keep: bool = False
    ) -> None:
        """Hands on the gradients of losses of the last prediction; see `samsod.surgery.rows.Differentiate`."""
        maps = [made for run in self._runs for made in run.maps.values() if made.requires_grad]
        at_maps = down_to(maps, losses, wanted, add, keep)
        before = current_state(self.device)
        for run in self._runs:
            self.through_encoder(run if not keep else run.copy(), at_maps, wanted, add)
        set_random_state(before, self.device)
        if not keep:
            self._runs = []

    def through_encoder(
        self, run: EncoderRun, at_maps: Mapping[str, Gradients], wanted: Mapping[str, Iterable[Tensor]], add: Add
    ) -> None:
        """Takes the cotangents of an encoder's maps backwards, to the parameters that made them; the run is used up."""
        cotangents: Cotangents = {}
        while run.inputs:
            index, tokens = len(run.inputs) - 1, run.inputs.pop()
            ends = [run.maps[index]] if index in run.maps else []
            of_map = {name: found[end] for end in ends for name, found in at_maps.items() if end in found}
            if not cotangents and not of_map:
                continue
            set_random_state(run.states[index], self.device)
            with autocast(self.device, self.precision):
                made = run.block(index, tokens)
            cotangents = _through_block(tokens, made, (cotangents, of_map), wanted, add)
        for name, cotangent in cotangents.items():
            add(name, gradients_of([run.embedded], wanted[name], [cotangent], retain_graph=True))

    def _run(self, encoder: Encoder, images: Tensor, beside: Beside) -> list[Tensor]:
        """Runs an encoder as its call does, and keeps what is needed to do it again; the maps are cut off."""
        height, width = images.shape[-2:]
        run = EncoderRun(encoder, beside, (height, width), encoder.embed(images))
        versions = {name: buffer._version for name, buffer in self._buffers.items()}
        tokens = cut(run.embedded)
        for index in range(len(encoder.widths)):
            run.inputs.append(tokens)
            run.states.append(current_state(self.device))
            version = tokens._version
            # Cut at once: no two blocks' graphs are held at a time.
            tokens, *maps = map(cut, run.block(index, tokens))
            if maps:
                run.maps[index] = maps[0]
            if run.inputs[index]._version != version:
                raise _not_the_same(f"block {index} of the encoder changes its tokens in place")
        for name, buffer in self._buffers.items():
            if buffer._version != versions[name]:
                raise _not_the_same(f"the encoder or what stands beside it changes the buffer {name}")
        self._runs.append(run)
        return [made.view_as(made) for made in run.maps.values()]


@dataclass
class EncoderRun:
    """One run of an encoder, cut between its blocks.

    Attributes:
        encoder: The encoder.
        beside: What is added beside the MLP of its blocks.
        size: Height and width of the images in pixels.
        embedded: Tokens of the images, with their graph, of which an embedding that is frozen has none.
        inputs: What each block reads, cut off its graph.
        states: The random state at the start of each block.
        maps: By block at a stage's end the map, cut off.
    """

    encoder: Encoder
    beside: Beside
    size: Size
    embedded: Tensor
    inputs: list[Tensor] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    maps: dict[int, Tensor] = field(default_factory=dict)

    def block(self, index: int, tokens: Tensor) -> list[Tensor]:
        """Runs a block on what it reads, to its tokens and, at a stage's end, the map."""
        # A view, here as of the maps: what counts multiply-adds cannot watch a leaf.
        made = self.encoder.block(index, tokens.view_as(tokens), self.beside, self.size)
        ends = index in self.encoder.stage_ends
        return [made, self.encoder.stage_map(index, made, self.size)] if ends else [made]

    def copy(self) -> EncoderRun:
        """Another, of the same tensors, that can be used up."""
        return replace(self, inputs=self.inputs.copy())


def build_passes(config: EngineConfig, model: SaliencyModel, device: torch.device) -> Passes:
    """The passes of `engine.checkpointing`.

    Raises:
        UserError: The model cannot be run that way.
    """
    kind = BlockPasses if config.checkpointing == "block" else Passes
    return kind(model, device, config.precision)


def cut(x: Tensor) -> Tensor:
    """The tensor off its graph, as a leaf that wants a gradient if it did."""
    return x.detach().requires_grad_(x.requires_grad)


def _through_block(
    tokens: Tensor,
    made: list[Tensor],
    given: tuple[Cotangents, Cotangents],
    wanted: Mapping[str, Iterable[Tensor]],
    add: Add,
) -> Cotangents:
    """From the cotangents of what a block made, tokens and map, to those of the tokens it read."""
    read: Cotangents = {}
    names = list(given[0] | given[1])
    for name in names:
        outputs = [output for output, cotangents in zip(made, given, strict=False) if name in cotangents]
        cotangents = [of_it[name] for of_it in given if name in of_it]
        inputs = [*wanted[name], *[tokens] * tokens.requires_grad]
        gradients = gradients_of(outputs, inputs, cotangents, retain_graph=name != names[-1])
        if tokens in gradients:
            read[name] = gradients.pop(tokens)
        add(name, gradients)
    return read


def _not_the_same(what: str) -> UserError:
    return UserError(f"engine.checkpointing=block runs every block twice, but {what}; set engine.checkpointing=none")
