"""Runs a function on several gloo ranks, each a process of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from samsod.utils.distributed import free_port, process_group


def run_ranks(function: Callable[..., Any], world_size: int, *args: Any) -> list[Any]:
    """What `function(*args)` returns on each rank; it must be importable and its result picklable.

    Every rank gets another global random state, so that nothing may lean on the ranks drawing alike.
    """
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_run, (function, world_size, free_port(), folder, args), nprocs=world_size)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(world_size)]


def run_all(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """What several functions return, one after the other: for `run_ranks`, so that processes are started once."""
    return [job() for job in jobs]


def _run(
    rank: int, function: Callable[..., Any], world_size: int, port: str, folder: str, args: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1000 + rank)
    os.environ.update(
        OMP_NUM_THREADS="1",
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
    )
    with process_group(torch.device("cpu")):
        torch.save(function(*args), Path(folder) / f"{rank}.pt")
