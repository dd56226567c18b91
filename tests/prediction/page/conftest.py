"""A running server of the page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from samsod.config import Config
from samsod.prediction.page.demo import Demo
from samsod.prediction.page.server import PageServer
from samsod.prediction.predictor import Predictor
from tests.conftest import Save

Serve = Callable[..., PageServer]


@pytest.fixture
def serve(config: Config, save: Save) -> Iterator[Serve]:
    """Starts a server; with other modalities or settings of `Demo` as asked for."""
    started: list[PageServer] = []

    def start(
        *modalities: str, missing: bool = False, limit: int = 100_000, examples: Path | None = None
    ) -> PageServer:
        wanted = replace(config, model=replace(config.model, modalities=list(modalities or ("rgb", "thermal"))))
        predictor = Predictor.from_checkpoint(save(wanted), "cpu", allow_missing=missing)
        server = PageServer(Demo(predictor, "best.pt", limit, examples), port=0)
        started.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()
