"""Large models are let go of before other tests run."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.modeling.sam2.official import official


@pytest.fixture(autouse=True, scope="module")
def memory_given_back() -> Iterator[None]:
    yield
    official.cache_clear()
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc keeps freed memory until it is asked
        ctypes.CDLL("libc.so.6").malloc_trim(0)
