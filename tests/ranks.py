"""Runs a function on several gloo ranks, each a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

from samsod.utils.distributed import process_group
from tests.forking import Process


def run_ranks(function: Callable[..., Any], world_size: int, *args: Any) -> list[Any]:
    """What `function(*args)` returns on each rank; it must be importable and its result picklable.

    Every rank gets another global random state, so that nothing may lean on the ranks drawing alike.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # here, so that nobody can take its port
    common = {"WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port}
    common |= {"TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0, "OMP_NUM_THREADS": 1}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{rank}.pt" for rank in range(world_size)]
        ranks = []
        for rank, file in enumerate(files):
            environment = {key: str(value) for key, value in {**common, "RANK": rank, "LOCAL_RANK": rank}.items()}
            ranks.append(Process(partial(_run, rank, function, args, file), environment))
        _wait_for_all(ranks)
        return [torch.load(file, weights_only=False) for file in files]


def run_all(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """What several functions return, one after the other: for `run_ranks`, so that processes are started once."""
    return [job() for job in jobs]


def _wait_for_all(ranks: list[Process]) -> None:
    """Until all have ended; the first that fails ends the others, and is told."""
    running = list(ranks)
    while running:
        wait([process.channel for process in running])
        for ended in [process for process in running if process.poll() is not None]:
            running.remove(ended)
            if ended.returncode:
                for process in running:
                    process.kill()
                raise RuntimeError(f"rank {ranks.index(ended)} ended with {ended.returncode}:\n{ended.told()}")


def _run(rank: int, function: Callable[..., Any], args: tuple[Any, ...], file: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1000 + rank)
    with process_group(torch.device("cpu")):
        torch.save(function(*args), file)
