"""A training step of the trainer's own, timed by part.

Nothing of the step is written again here: `Trainer.train_step` runs as it does in training, with marks on the timeline
where its model, loss, hook and optimizer begin and end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from samsod.benchmarks.timing import Timeline
from samsod.config import Config
from samsod.engine.compiling import compile_parts
from samsod.engine.passes import BlockPasses
from samsod.engine.random_state import seed_all
from samsod.engine.trainer import Batch, Trainer
from samsod.modeling.losses import build_loss
from samsod.modeling.samsod import SaliencyModel, build_model
from samsod.registry import LOSSES
from samsod.surgery import hook as surgery
from samsod.surgery import shared_passes
from samsod.surgery.rules.rule import Rule
from samsod.utils import distributed
from samsod.utils.errors import UserError

WAIT, FORWARD, LOSSES_PART, OPTIMIZER, OTHER = "wait for data", "forward", "losses", "optimizer", "other"
BLOCKS = "backward through the blocks"
"""That of all losses, from the encoder's maps on, each block run again; the losses' own passes then end at the maps."""
ENCODER = "backward of the encoder"
"""From the predictions' `cuts` on, if they have some, for all losses."""
REDUCE, GRAM, WEIGHTS, MERGE = "reduce", "Gram", "weights", "merge"
SURGERY = (REDUCE, GRAM, WEIGHTS, MERGE)
"""The parts that gradient surgery adds: the average over the ranks, dot products, weights, merged gradient."""


class SteppedTrainer:
    """A trainer whose steps can be taken one by one.

    Args:
        trainer: The trainer, before its first step.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.batches = trainer, trainer.batches(0)
        self._batch: Batch = {}

    def close(self) -> None:
        """Ends its loader processes."""
        self.batches.close()

    def fetch(self) -> None:
        """Waits for the next batch."""
        self._batch = next(self.batches)

    def take(self) -> None:
        """One optimizer step on it, and what the host does after each."""
        self.trainer.train_step(self._batch)
        self.trainer.status.check(lag=self.trainer.device.type != "cpu")

    def step(self) -> None:
        """Both."""
        self.fetch()
        self.take()

    def timed_step(self) -> dict[str, float]:
        """One step; the seconds of each part, in the order in which they began."""
        timeline = Timeline(self.trainer.device)
        with _marked(self.trainer, timeline):
            timeline.enter(WAIT)
            self.fetch()
            timeline.enter(OTHER)
            self.take()
            return timeline.seconds()

    @property
    def images(self) -> int:
        """Images of a step, over all ranks."""
        return self.trainer.config.train.batch_size


def synthetic_trainer(
    config: Config, device: torch.device, prepare: Callable[[SaliencyModel], object] = lambda model: None
) -> SteppedTrainer:
    """A trainer of the configured model, random weights, on the same random batch again and again.

    Args:
        config: The run's config; its data are not looked at, and nothing is written.
        device: This rank's device.
        prepare: Called with the model while it is on the CPU.

    Raises:
        UserError: A setting cannot be used.
    """
    batch = random_batch(config, device)
    seed_all(config.seed)
    model = build_model(config.model)
    prepare(model)
    compile_parts(model.to(device), config.engine)

    def batches(start_step: int) -> Generator[dict[str, Tensor], None, None]:
        while True:
            yield batch

    loss = build_loss(config.loss)
    return SteppedTrainer(Trainer(config, device, model, loss, batches, steps_per_epoch=1 << 30, data_id="random"))


def random_batch(config: Config, device: torch.device) -> dict[str, Tensor]:
    """This rank's part of a batch of random images and discs for masks, the same every time, on the device.

    Returns:
        By modality `[B,3,S,S]`, `ground_truth` `[B,1,S,S]` in 0-1, and what the loss asks for beside.

    Raises:
        UserError: The batch does not divide among the ranks or into micro-batches.
    """
    train, world_size = config.train, distributed.world_size()
    if train.batch_size % (world_size * train.accumulate):
        raise UserError(
            f"train.batch_size is {train.batch_size}; it must be a multiple of the {world_size} ranks times "
            f"train.accumulate, {train.accumulate}"
        )
    share, rank = train.batch_size // world_size, distributed.rank()
    generator = torch.Generator().manual_seed(config.seed)
    whole = _random_images(config, train.batch_size, generator)
    return {name: values[rank * share : (rank + 1) * share].to(device) for name, values in whole.items()}


def _random_images(config: Config, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    side = config.model.image_size
    axis = torch.arange(side) / side
    centre = torch.rand(count, 2, 1, 1, 1, generator=generator) * 0.5 + 0.25
    distance = (axis.view(1, 1, -1, 1) - centre[:, 0]).square() + (axis.view(1, 1, 1, -1) - centre[:, 1]).square()
    truth = (distance < 0.04).float()
    noise = {name: torch.randn(count, 3, side, side, generator=generator) for name in config.model.modalities}
    images = {name: values + truth for name, values in noise.items()}
    if getattr(LOSSES.get(config.loss.name), "needs_guide", False):
        images["guide"] = torch.rand(count, 3, side, side, generator=generator)
    if getattr(LOSSES.get(config.loss.name), "partial_labels", False):
        images["labelled"] = (torch.rand(count, 1, side, side, generator=generator) < 0.05).float()
    return {**images, "ground_truth": truth}


class _MarkedRule:
    """A rule whose `weights` are marked on the timeline."""

    def __init__(self, rule: Rule, timeline: Timeline) -> None:
        self._rule, self._timeline = rule, timeline

    def weights(self, gram: Tensor, context: Any) -> Tensor:
        with self._timeline.inside(WEIGHTS):
            return self._rule.weights(gram, context)


@contextmanager
def _marked(trainer: Trainer, timeline: Timeline) -> Iterator[None]:
    """Marks the parts of the trainer's steps while the block runs."""
    hook, scaler = trainer.hook, trainer.scaler
    rules = dict(hook.rules)
    with ExitStack() as stack:
        stack.callback(hook.rules.update, rules)
        hook.rules.update({name: _MarkedRule(rule, timeline) for name, rule in rules.items()})  # type: ignore[misc]
        stack.enter_context(_replaced(hook.rows, "accumulate", _marked_backward(hook.rows.accumulate, timeline)))
        through_blocks = [(trainer.passes, "through_encoder", BLOCKS)] * isinstance(trainer.passes, BlockPasses)
        for owner, name, part in (
            *through_blocks,
            (trainer, "loss", LOSSES_PART),
            (hook, "merge", MERGE),
            (shared_passes, "through_cuts", ENCODER),
            (hook.rows, "average", REDUCE),
            (surgery, "gram_matrix", GRAM),
            *((scaler, name, OPTIMIZER) for name in ("unscale_", "step", "update")),
        ):
            stack.enter_context(_replaced(owner, name, _inside(getattr(owner, name), timeline, part)))
        for hooked in (
            trainer.network.register_forward_pre_hook(lambda *_: timeline.enter(FORWARD)),
            trainer.network.register_forward_hook(lambda *_: timeline.enter(OTHER)),
        ):
            stack.callback(hooked.remove)
        yield


def _inside(work: Callable[..., Any], timeline: Timeline, part: str) -> Callable[..., Any]:
    def marked(*args: Any, **kwargs: Any) -> Any:
        with timeline.inside(part):
            return work(*args, **kwargs)

    return marked


def _marked_backward(accumulate: Callable[..., Any], timeline: Timeline) -> Callable[..., Any]:
    """`GradientRows.accumulate`, its time told apart by loss: the backward pass of one begins with its own gradient."""

    def marked(losses: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        handles = [loss.register_hook(_mark(timeline, backward_of(name))) for name, loss in losses.items()]
        with timeline.inside(backward_of(next(iter(losses)))):
            result = accumulate(losses, *args, **kwargs)
        for handle in handles:
            handle.remove()
        return result

    return marked


def backward_of(loss: str) -> str:
    """The part that is the backward pass of a loss, down to its rows or to the `cuts`."""
    return f"backward of {loss}"


def _mark(timeline: Timeline, part: str) -> Callable[[Tensor], None]:
    return lambda gradient: timeline.enter(part)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Puts `value` in the place of an attribute while the block runs."""
    own = name in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
