from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed as dist

from samsod.utils import distributed
from samsod.utils.errors import UserError
from tests.ranks import run_ranks


def exchange() -> dict[str, Any]:
    """What ranks give each other; and what threads are left when one ends by an exception."""
    rank = distributed.rank()
    mean = torch.full((3,), float(rank))
    distributed.all_reduce_mean(mean)
    distributed.barrier()
    return {
        "rank": distributed.rank(),
        "main": distributed.is_main(),
        "mean": mean.tolist(),
        "all": distributed.gather_objects(distributed.rank() * 10),
        "of rank 0": distributed.on_main(lambda: f"from {distributed.rank()}"),
        "fault of rank 0": fault(lambda: distributed.on_main(fail)),
        "apart": fault(
            lambda: distributed.check_agreement({"a": 1, "b": distributed.rank(), "c": -distributed.rank()})
        ),
    }


def fail() -> None:
    raise UserError(f"no such file on rank {distributed.rank()}")


def fault(work: Callable[[], Any]) -> str:
    try:
        work()
    except UserError as error:
        return str(error)
    return ""


def exchange_and_fail() -> tuple[dict[str, Any], list[str]]:
    """What is exchanged, and the threads that an exception in a process group leaves behind."""
    found = exchange()
    # As without torchrun: the first rank's own store.
    port = distributed.on_main(distributed.free_port)
    os.environ.update(MASTER_PORT=port, TORCHELASTIC_USE_AGENT_STORE="False")
    dist.destroy_process_group()
    with contextlib.suppress(UserError), distributed.process_group(torch.device("cpu")):
        distributed.barrier()
        fail()
    return found, [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]


def test_two_ranks_exchange_and_leave_no_threads_behind() -> None:
    for rank, (found, threads) in enumerate(run_ranks(exchange_and_fail, 2)):
        assert found == {
            "rank": rank,
            "main": rank == 0,
            "mean": [0.5] * 3,
            "all": [0, 10],
            "of rank 0": "from 0",
            "fault of rank 0": "no such file on rank 0",
            "apart": f"rank {1 - rank} starts with another b and c than rank {rank}",
        }
        assert not [name for name in threads if "gloo" in name or "tcpstore" in name], threads


def test_alone() -> None:
    found = exchange()
    assert found["all"] == [0] and found["mean"] == [0.0] * 3 and found["apart"] == ""
    assert found["of rank 0"] == "from 0" and found["fault of rank 0"] == "no such file on rank 0"


def test_device() -> None:
    assert distributed.pick_device("cpu").type == "cpu"
    if torch.cuda.is_available():
        assert distributed.pick_device("auto").type == "cuda"
    else:
        assert distributed.pick_device("auto").type == "cpu"
        with pytest.raises(UserError, match="no GPU"):
            distributed.pick_device("cuda")


def test_a_single_visible_gpu_is_this_ranks_own_but_under_torchrun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert distributed.pick_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(UserError, match="rank 3 of this machine has no GPU of its own: there are 1"):
        distributed.pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert distributed.pick_device("auto") == torch.device("cuda", 3)
