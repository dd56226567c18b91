"""Large models are let go of before other tests run."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.modeling.sam2.official import official


@pytest.fixture(autouse=True, scope="module")
def large_models_let_go() -> Iterator[None]:
    yield
    official.cache_clear()
    gc.collect()
