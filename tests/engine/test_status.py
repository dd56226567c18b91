from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from samsod.config import Config
from samsod.engine.launch import launch
from samsod.engine.signals import StopRequest
from samsod.engine.status import weights_checksum
from samsod.utils.host_copy import HostCopy
from samsod.workflows import make_trainer
from tests.training import run


def test_a_rank_that_waits_for_the_device_still_hears() -> None:
    """An event that comes to pass only when the signal was heard stands for the GPU's."""
    stop = StopRequest()

    class Event:
        def query(self) -> bool:
            return stop.asked

        def synchronize(self) -> None:
            raise AssertionError("no signal is heard in here")

    copy = HostCopy(torch.tensor([1.0, 2.0]))
    copy._arrived = Event()  # type: ignore[assignment]
    with stop.listening():
        timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGTERM])
        timer.start()
        assert copy.read().tolist() == [1.0, 2.0]
        timer.join()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_and_the_next_one_ends_at_once(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    stop, before = StopRequest(), signal.getsignal(number)
    with stop.listening():
        signal.raise_signal(number)
        assert stop.asked
        assert [signal.getsignal(other) for other in (signal.SIGTERM, signal.SIGINT)] == [signal.SIG_DFL] * 2
    assert signal.getsignal(number) == before


def test_what_torchrun_hands_on_is_no_second_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    stop = StopRequest()
    ended: list[int] = []
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked and signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        later = time.monotonic() + 60
        monkeypatch.setattr(time, "monotonic", lambda: later)
        monkeypatch.setattr(signal, "raise_signal", ended.append)
        stop._hear(signal.SIGTERM, None)
        assert ended == [signal.SIGTERM] and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_checksum_sees_any_bit_of_any_weight() -> None:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(7, 3)), nn.Parameter(torch.randn(()))]
    before = weights_checksum(parameters)
    assert 0 <= before < 2**24 and before == before.round()
    for bit in range(31):
        for parameter in parameters:
            words = parameter.detach().view(torch.int32).view(-1)
            words[-1] ^= 1 << bit
            assert weights_checksum(parameters) != before
            words[-1] ^= 1 << bit
    assert weights_checksum(parameters) == before


CLIFF = """
from samsod.registry import LOSSES
@LOSSES.register("cliff_in_PRECISION")
def make():
    "Finite, with a gradient that is not."
    return lambda logits, batch: (logits - logits.detach()).abs().sqrt().mean()
"""


def cliff(config: Config, tmp_path: Path, precision: Any) -> Config:
    (tmp_path / "cliff.py").write_text(CLIFF.replace("PRECISION", precision))
    config = replace(
        config, imports=[str(tmp_path / "cliff.py")], loss=replace(config.loss, name=f"cliff_in_{precision}")
    )
    return replace(config, engine=replace(config.engine, precision=precision), train=replace(config.train, steps=40))


def test_a_loss_scale_that_collapses_stops_the_run(config: Config, tmp_path: Path) -> None:
    config = cliff(config, tmp_path, "fp16")
    with launch(config) as device:
        trainer, _ = make_trainer(config, device)
        trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": 2.0**-10})
        with pytest.raises(FloatingPointError, match=r"step 5: the loss scale has collapsed to 6\.1e-05"):
            trainer.train()
    assert not list((Path(config.output) / "checkpoints").glob("*5.pt"))


def test_a_gradient_that_is_not_finite_stops_the_run_at_once_without_a_scale(config: Config, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="step 1: not finite: a gradient, though every loss is finite"):
        run(cliff(config, tmp_path, "fp32"))
