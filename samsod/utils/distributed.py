"""Ranks: the process group of torchrun, or none when a tool was started with plain python."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from samsod.utils.errors import Failure, UserError
from samsod.utils.files import locked

T = TypeVar("T")


def rank() -> int:
    """This process's rank; 0 when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of ranks; 1 when alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """True on rank 0, which alone prints and writes files."""
    return rank() == 0


def pick_device(wanted: str) -> torch.device:
    """The device of this rank for `engine.device`; of several GPUs the one of LOCAL_RANK.

    Where a cluster shows each process a single GPU, that is its own, whatever LOCAL_RANK says.

    Raises:
        UserError: A GPU is asked for and there is none, or there are more ranks than GPUs.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("engine.device is cuda, but PyTorch finds no GPU")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if count == 1 and "TORCHELASTIC_RUN_ID" not in os.environ:  # torchrun's ranks all see the same GPUs
        local = 0
    if local >= count:
        raise UserError(f"rank {local} of this machine has no GPU of its own: there are {count}")
    return torch.device("cuda", local)


@contextmanager
def process_group(device: torch.device, timeout_minutes: float = 60.0) -> Iterator[None]:
    """Joins torchrun's process group while the block runs, if there is one to join.

    GPUs' tensors go by NCCL; the CPU's, and so objects too, by gloo. A rank that has waited for the others as long as
    the timeout gives up.
    """
    if dist.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    timeout = timedelta(minutes=timeout_minutes)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl", device_id=device, timeout=timeout, **_fresh_store())
    else:
        dist.init_process_group("gloo", timeout=timeout, **_fresh_store())
    ended_well = False
    try:
        yield
        ended_well = True
    finally:
        # After an exception NCCL's goodbye would wait for all ranks, and the others may never say it. Gloo's waits for
        # nobody, and without it its threads run on while the process ends, which aborts it now and then.
        if dist.is_initialized() and (ended_well or device.type != "cuda"):
            dist.destroy_process_group()


def free_port() -> str:
    """A port of this machine that nobody listens at, and that the system gives nobody who asks for any."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.SystemRandom().randrange(10_000, 32_768)))
            return str(probe.getsockname()[1])


def _fresh_store() -> dict[str, Any]:
    """After a restart on one machine, a corner of torchrun's store where the ranks before left no addresses.

    torchrun keeps one store over its restarts, and gloo would dial the dead. (Over several machines the agents count
    their restarts apart, so there the store must be made anew: TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1.)
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if attempt == "0" or os.environ.get("GROUP_WORLD_SIZE") != "1":
        return {}
    store, rank, world_size = next(rendezvous("env://"))
    return {"store": dist.PrefixStore(f"attempt_{attempt}", store), "rank": rank, "world_size": world_size}


def all_reduce_mean(tensor: Tensor) -> None:
    """Averages a tensor over the ranks, in place."""
    if dist.is_initialized() and world_size() > 1:
        dist.all_reduce(tensor)
        tensor /= world_size()


def gather_objects(item: Any) -> list[Any]:
    """The `item` of every rank, in rank order, on every rank."""
    if world_size() == 1:
        return [item]
    items: list[Any] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items


def on_main(work: Callable[[], T]) -> T:
    """What `work` gives on rank 0, which alone does it, on every rank; what is meant for people, all ranks raise.

    Raises:
        UserError: `work` does.
        Failure: `work` does.
        OSError: `work` does.
    """
    return cast(T, agreed(lambda: work() if is_main() else None)[0])


def agreed(work: Callable[[], T]) -> list[T]:
    """What `work` gives on every rank, in rank order, on every rank; or all raise what the first that fails does.

    Raises:
        UserError: `work` does, on any rank.
        Failure: `work` does, on any rank.
        OSError: `work` does, on any rank.
    """
    outcome: tuple[Any, Exception | None]
    try:
        outcome = work(), None
    except (UserError, Failure, OSError) as error:
        outcome = None, error
    outcomes = gather_objects(outcome)
    for _, fault in outcomes:
        if fault is not None:
            raise fault
    return [value for value, _ in outcomes]


@contextmanager
def held(folder: Path, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keeps other processes out of a folder while the block runs: rank 0 holds it for all, see `locked`.

    Args:
        folder: The folder; it is made when it is not there.
        check: What rank 0 looks for first.

    Raises:
        UserError: On all ranks: `check` does, another process works in the folder, or it cannot be written to.
    """
    with ExitStack() as stack:

        def take() -> None:
            check()
            stack.enter_context(locked(folder))

        on_main(take)
        yield


def check_agreement(mine: Mapping[str, Any]) -> None:
    """All ranks must start alike, or they would train apart in silence.

    Raises:
        UserError: On every rank, naming one that differs from this one, and in what.
    """
    for other, theirs in enumerate(gather_objects(mine)):
        differing = " and ".join(name for name in mine if mine[name] != theirs.get(name))
        if differing:
            raise UserError(f"rank {other} starts with another {differing} than rank {rank()}")


def barrier() -> None:
    """Waits for all ranks."""
    if world_size() > 1:
        dist.barrier()
