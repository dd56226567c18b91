from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from samsod.modeling import products


@pytest.fixture
def two_threads() -> Iterator[None]:
    """On which a large linear layer is a convolution."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def by_convolution(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two threads a linear layer of any size is one."""
    monkeypatch.setattr(products, "WORTH_IT", 1)
