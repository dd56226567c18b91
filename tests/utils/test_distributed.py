from __future__ import annotations

from typing import Any

import pytest
import torch

from samsod.utils import distributed
from samsod.utils.errors import UserError
from tests.ranks import run_ranks


def exchange() -> dict[str, Any]:
    mean = torch.full((3,), float(distributed.rank()))
    distributed.all_reduce_mean(mean)
    distributed.barrier()
    return {
        "rank": distributed.rank(),
        "main": distributed.is_main(),
        "mean": mean.tolist(),
        "all": distributed.gather_objects(distributed.rank() * 10),
    }


def test_two_ranks() -> None:
    assert run_ranks(exchange, 2) == [
        {"rank": rank, "main": rank == 0, "mean": [0.5] * 3, "all": [0, 10]} for rank in range(2)
    ]


def test_alone() -> None:
    assert exchange() == {"rank": 0, "main": True, "mean": [0.0] * 3, "all": [0]}


def test_device() -> None:
    assert distributed.pick_device("cpu").type == "cpu"
    if torch.cuda.is_available():
        assert distributed.pick_device("auto").type == "cuda"
    else:
        assert distributed.pick_device("auto").type == "cpu"
        with pytest.raises(UserError, match="no GPU"):
            distributed.pick_device("cuda")
