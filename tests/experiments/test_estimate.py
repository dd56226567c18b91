from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from samsod.data.selection import training_sets
from samsod.experiments import estimate as module
from samsod.experiments.estimate import START_SECONDS, estimate, plan_lines
from samsod.utils.errors import UserError
from tests.conftest import Children
from tests.experiments.conftest import Plan
from tests.experiments.test_plan import leave

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _timed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        monkeypatch.setattr(module, "_time_all", lambda configs, device, ranks: [(2.0, 0.5) for _ in configs])


def test_steps_and_predictions_are_counted(plan: Plan) -> None:
    # Twelve pairs: three steps an epoch, all twelve tested, none validated.
    seconds = estimate(plan("train.steps=0", "train.epochs=5"), CPU, ranks=1)
    assert seconds == {"plain": START_SECONDS + 15 * 2 + 12 * 0.5, "split": START_SECONDS + 15 * 2 + 12 * 0.5}
    run = plan("train.steps=0", "train.epochs=5", "train.eval_every=2", "data.holdout=0.3")[0]
    kept, held = (len(sets[0].pairs) for sets in training_sets(run.config)[:2])
    assert held and kept + held == 12
    expected = START_SECONDS + kept // 4 * 5 * 2 + (3 * held + 12) * 0.5  # validated after epochs 2, 4 and 5
    assert estimate([run], CPU, ranks=1)["plain"] == expected
    assert estimate(plan(), CPU, ranks=2)["plain"] == START_SECONDS + 2 * 2 + 12 * 0.5 / 2


def test_a_finished_seed_is_the_better_guess(plan: Plan) -> None:
    runs = plan(seeds=(0, 1))
    leave(runs[0], "config.yaml", "finished.yaml", "test/results.json")
    (runs[0].folder / "seconds.json").write_text(json.dumps({"seconds": 4000.0}))
    seconds = estimate(runs, CPU, ranks=1)
    assert seconds["plain"] == 4000 and seconds["split"] < 100
    lines = plan_lines(runs, {"plain": 4000.0, "split": 50.0}, jobs=2)
    assert lines[0].split()[:4] == ["plain", "seed", "0", "finished"] and "about" not in lines[0]
    assert "plain seed 1  new, about 1:06:40" in lines[2]
    assert lines[-1] == "3 of 4 runs to do, about 0:34:10 in all with 2 at once"


def test_missing_data_is_told_before_anything_starts(plan: Plan) -> None:
    runs = plan()
    shutil.rmtree(runs[0].config.data.train[0].root)
    with pytest.raises(UserError, match="no such folder"):
        estimate(runs, CPU, ranks=1)
    assert not runs[0].folder.exists()


def test_on_a_cpu_a_step_of_one_pair_is_timed(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    train_step = module.Trainer.train_step

    def noted(trainer: module.Trainer, batch: dict[str, torch.Tensor]) -> None:
        sizes.append(len(batch["rgb"]))
        train_step(trainer, batch)

    def two_seconds(work: Callable[[], object], device: torch.device) -> float:
        work()
        return 2.0

    monkeypatch.setattr(module.Trainer, "train_step", noted)
    monkeypatch.setattr(module, "_seconds", two_seconds)
    config = plan()[0].config
    assert config.train.batch_size == 4
    assert module._time_steps(config, CPU, ranks=2) == (2 * 2.0, 2.0) and sizes == [1]


def test_real_steps_are_timed_in_a_process_that_ends(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], children: Children
) -> None:
    # What a GPU's memory would be taken by is not built here.
    monkeypatch.setattr(module.Trainer, "__init__", lambda *_: pytest.fail("timed in this process"))
    configs = [run.config for run in plan()]
    lost = replace(configs[0], model=replace(configs[0].model, weights="/nowhere.pt", decoder_width=256))
    times = module._time_all([*configs, lost], CPU, ranks=2)
    for _ in configs:
        step, forward = next(times)
        assert step > 0 and forward > 0
    with pytest.raises(UserError, match="nowhere"):
        next(times)
    assert capfd.readouterr().out == "" and not children()
