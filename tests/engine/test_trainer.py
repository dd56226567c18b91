"""The loop through its library entry; the commands themselves are in tests/tools."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from samsod.config import Config
from samsod.data.selection import training_sets
from samsod.engine import checkpoint
from samsod.engine.launch import launch
from samsod.engine.run_state import RunState, read_state
from samsod.engine.trainer import Batch, Trainer
from samsod.surgery.hook import MergedStep
from samsod.utils.errors import UserError
from samsod.workflows import train
from tests.conftest import Children


def run(config: Config) -> Trainer:
    with launch(config) as device:
        return train(config, device)


def with_train(config: Config, **changes: Any) -> Config:
    return replace(config, train=replace(config.train, **changes))


def rows(config: Config) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config.output) / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_config_log_metrics_and_checkpoints(config: Config) -> None:
    trainer = run(config)
    output = Path(config.output)
    assert trainer.step == 3
    assert sorted(path.name for path in output.iterdir()) == sorted(
        [".lock", "checkpoints", "config.yaml", "log.txt", "metrics.jsonl", "state.json"]
    )
    assert read_state(output) == RunState("finished", 3, 3)
    assert {path.name for path in (output / "checkpoints").iterdir()} == {
        "best.pt",
        "step_00000002.pt",
        "step_00000003.pt",
    }
    training = [row for row in rows(config) if "loss" in row]
    assert [row["step"] for row in training] == [1, 2, 3]
    for row in training:
        assert row["loss"] == pytest.approx(sum(row["losses"].values()))
        assert set(row["losses"]) == {"fusion", "rgb", "thermal"}
        assert set(row["groups"]) == {"rgb_adapter", "thermal_adapter", "decoder", "encoder"}
        assert {"gradient_ratios", "images_per_second", "data_wait", "peak_memory_gib", "eta_seconds"} <= set(row)
    assert any("validation" in row for row in rows(config))
    log = (output / "log.txt").read_text()
    assert "started at step 0 from random weights\n" in log and "eta" in log and "| ratio rgb/thermal " in log
    assert [list(row["gradient_ratios"]) for row in training] == [["rgb/thermal"]] * 3


def test_training_lowers_the_loss(config: Config) -> None:
    config = with_train(config, steps=25, lr=3e-3)
    config.data.augment.enabled = False
    run(config)
    losses = [row["loss"] for row in rows(config) if "loss" in row]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_resume_goes_on_where_it_stopped(config: Config, tmp_path: Path) -> None:
    whole = run(with_train(config, steps=4))
    first = replace(with_train(config, steps=2), output=str(tmp_path / "b"))
    run(first)
    second = run(with_train(first, steps=4))
    assert second.step == 4
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key]), key
    assert [row["step"] for row in rows(first) if "loss" in row] == [1, 2, 3, 4]
    log = (Path(first.output) / "log.txt").read_text()
    assert f"resumed from {first.output}/checkpoints/step_00000002.pt at step 2" in log


def test_resume_never_refuses_a_used_folder_and_a_path_is_taken(config: Config, tmp_path: Path) -> None:
    run(config)
    with pytest.raises(UserError, match="holds a run already"):
        run(with_train(config, resume="never"))
    path = str(checkpoint.step_path(Path(config.output) / "checkpoints", 3))
    other = run(replace(with_train(config, resume=path, steps=4), output=str(tmp_path / "other")))
    assert other.step == 4


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "optimizer", "adamw"),
        ("train", "batch_size", 5),
        ("engine", "precision", "fp16"),
        ("model", "dense_prompt", False),
    ],
)
def test_resume_refuses_settings_that_make_it_another_run(config: Config, section: str, key: str, value: Any) -> None:
    run(config)
    before = (Path(config.output) / "config.yaml").read_text()
    other = replace(config, **{section: replace(getattr(config, section), **{key: value})})
    with pytest.raises(UserError, match=rf"{section}\.{key} was .*, now {value}") as caught:
        run(with_train(other, steps=5))
    assert "\n" not in str(caught.value)
    assert (Path(config.output) / "config.yaml").read_text() == before


def test_resume_refuses_other_pairs(config: Config) -> None:
    run(config)
    root = Path(config.data.train[0].root)
    for path in [root / folder / f"00{i}.png" for folder in ("RGB", "T", "GT") for i in range(3)]:
        path.rename(path.with_name(f"renamed{path.name}"))  # two of twelve are held out, so one of these was trained on
    with pytest.raises(UserError, match="other pairs"):
        run(with_train(config, steps=5))


def test_resume_from_an_older_checkpoint_does_not_bury_newer_ones(config: Config) -> None:
    trainer = run(config)
    with pytest.raises(UserError, match="got further"):
        run(with_train(config, resume=str(checkpoint.step_path(trainer.folder.checkpoints, 2)), steps=5))


def test_a_lost_best_is_made_again_on_resume(config: Config) -> None:
    trainer = run(with_train(config, steps=2))
    (trainer.folder.checkpoints / "best.pt").unlink()
    run(with_train(config, steps=2))
    assert checkpoint.load_checkpoint(trainer.folder.checkpoints / "best.pt")["step"] == 2


def test_a_frozen_encoder_of_random_weights_is_remarked(config: Config) -> None:
    run(with_train(replace(config, model=replace(config.model, freeze_encoder=True)), steps=1))
    log = (Path(config.output) / "log.txt").read_text()
    assert "from random weights; the encoder is frozen and stays random: set model.weights" in log


def test_init_from_takes_weights_only(config: Config, tmp_path: Path) -> None:
    trained = run(config)
    path = str(checkpoint.step_path(trained.folder.checkpoints, 3))
    fresh = replace(config, output=str(tmp_path / "fresh"), model=replace(config.model, init_from=path))
    fresh = with_train(fresh, steps=1, lr=0.0)
    started = run(fresh)
    for key, value in trained.model.state_dict().items():
        assert torch.equal(value, started.model.state_dict()[key]), key
    assert f"started at step 0 with the weights of {path}" in (tmp_path / "fresh" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("modalities", ["rgb"]),
        ("unimodal_supervision", False),
        ("freeze_encoder", True),
    ],
)
def test_variants_train(config: Config, setting: str, value: Any) -> None:
    trainer = run(replace(with_train(config, steps=1), model=replace(config.model, **{setting: value})))
    assert trainer.step == 1


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_stays_near_float32(config: Config, tmp_path: Path, precision: str) -> None:
    config = with_train(config, steps=2)
    mixed = replace(config, output=str(tmp_path / precision), engine=replace(config.engine, precision=precision))  # type: ignore[arg-type]
    run(config)
    trainer = run(mixed)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trainer.model.parameters())
    for full, short in zip(rows(config), rows(mixed), strict=True):
        if "loss" in full:
            assert short["loss"] == pytest.approx(full["loss"], rel=0.05)
            ours, theirs = (row["groups"]["decoder"]["total_norm"] for row in (short, full))
            assert ours == pytest.approx(theirs, rel=0.3)  # unscaled, or it would be thousands of times larger


def test_an_epoch_with_an_evaluation_chooses_the_best(config: Config) -> None:
    trainer = run(with_train(config, steps=6))  # ten pairs: two steps an epoch
    scores = [row["validation"]["S"] for row in rows(config) if "validation" in row]
    assert len(scores) == 3
    assert trainer.progress.best == max(scores)
    best = checkpoint.load_checkpoint(trainer.folder.checkpoints / "best.pt")
    assert best["step"] == 2 * (scores.index(max(scores)) + 1)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(config: Config, tmp_path: Path, precision: str) -> None:
    (tmp_path / "nan.py").write_text(
        "from samsod.registry import LOSSES\n"
        f"@LOSSES.register('nan_in_{precision}')\n"
        "def make(): return lambda logits, batch: logits.mean() * float('nan')\n"
    )
    config = replace(config, imports=[str(tmp_path / "nan.py")], loss=replace(config.loss, name=f"nan_in_{precision}"))
    config.engine.precision = precision  # type: ignore[assignment]
    with pytest.raises(FloatingPointError, match="step 1: not finite: loss fusion on rank 0"):
        run(config)
    assert not list((Path(config.output) / "checkpoints").iterdir())


def test_a_validation_image_that_cannot_be_read_does_not_cost_the_epoch(config: Config) -> None:
    (validation,) = training_sets(config)[1]
    damaged = validation.pairs[0].ground_truth
    damaged.write_bytes(b"damaged")
    with pytest.raises(UserError, match=damaged.name):
        run(config)
    assert (Path(config.output) / "checkpoints" / "step_00000002.pt").is_file()
    assert "stopped at step 2: UserError" in (Path(config.output) / "log.txt").read_text()


@pytest.mark.parametrize("fails", [False, True])
def test_loader_processes_end_with_the_training(
    config: Config, children: Children, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    def step(trainer: Trainer, batch: Batch) -> MergedStep:
        assert len(children()) == 1
        if fails and trainer.step == 1:
            raise UserError("oops")
        return taken(trainer, batch)

    taken = Trainer.train_step
    monkeypatch.setattr(Trainer, "train_step", step)
    config.data.workers = 1
    with pytest.raises(UserError, match="oops") if fails else nullcontext() as caught:
        run(config)
    assert not children() and (not fails or caught)


def test_an_overflow_under_fp16_is_skipped_and_lowers_the_scale(config: Config) -> None:
    trainer = run(replace(config, engine=replace(config.engine, precision="fp16")))
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    before = [p.detach().clone() for p in trainer.hook.parameters]
    trainer.train_step(next(trainer.batches(0)))
    assert trainer.scaler.get_scale() == 2.0**119
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.hook.parameters, strict=True))


def test_too_few_pairs_are_refused_before_anything_is_written(config: Config) -> None:
    with pytest.raises(UserError, match="only 10 training samples"):
        run(with_train(config, batch_size=11))
    assert not Path(config.output).exists()
