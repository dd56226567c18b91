"""Runs that are cut off and go on: what must be the same, what is made up for, which files are touched."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from samsod.config import Config, LossConfig, RuleConfig
from samsod.config.data_schema import DatasetConfig
from samsod.data.selection import training_sets
from samsod.engine import checkpoint
from samsod.engine.run_state import RunState, read_state
from samsod.engine.trainer import Trainer
from samsod.utils.errors import UserError
from tests.conftest import write_pairs
from tests.training import run


def with_train(config: Config, **changes: Any) -> Config:
    return replace(config, train=replace(config.train, **changes))


def step_file(config: Config, step: int) -> Path:
    return checkpoint.step_path(Path(config.output) / "checkpoints", step)


def evaluations(config: Config) -> list[int]:
    lines = (Path(config.output) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines if "validation" in line]


def refused(config: Config, part: str) -> None:
    with pytest.raises(UserError, match=part) as caught:
        run(config)
    assert "\n" not in str(caught.value)


def same_weights(first: Trainer, second: Trainer) -> bool:
    other = second.model.state_dict()
    return all(torch.equal(value, other[key]) for key, value in first.model.state_dict().items())


@pytest.fixture
def begun(config: Config) -> Config:
    """A run of one step, nothing evaluated."""
    config.data.holdout = 0.0
    config = with_train(config, steps=1, resume="auto")
    run(config)
    return with_train(config, steps=2)


def test_settings_are_compared_in_both_directions_and_shown_whole(begun: Config, tmp_path: Path) -> None:
    refused(replace(begun, loss=LossConfig(options={"window": 5})), r"loss\.options was \{\}, now \{window: 5\};")
    other = replace(begun, output=str(tmp_path / "other"), loss=LossConfig(options={"window": 5}))
    run(with_train(other, steps=1))
    refused(replace(other, loss=LossConfig()), r"loss\.options was \{window: 5\}, now \{\};")
    refused(
        replace(begun, engine=replace(begun.engine, gradient_rule=RuleConfig("sum"))),
        r"engine\.gradient_rule\.name was pcgrad, now sum;",
    )


def test_a_run_may_go_on_block_by_block(begun: Config, tmp_path: Path) -> None:
    """With the same weights up to the order in which a trained encoder's gradients of the modalities add up."""
    other = replace(begun, output=str(tmp_path / "other"))
    shutil.copytree(begun.output, other.output)
    plain = run(begun)
    blocks = run(replace(other, engine=replace(other.engine, checkpointing="block")))
    assert torch.allclose(blocks.hook.merged, plain.hook.merged, rtol=1e-4, atol=1e-6) and blocks.step == 2
    log = (tmp_path / "other" / "log.txt").read_text()
    assert "resumed from" in log and "fp32, block by block, pcgrad" in log


def test_a_setting_that_an_older_checkpoint_lacks_had_its_default(begun: Config) -> None:
    content = checkpoint.load_checkpoint(step_file(begun, 1))
    del content["config"]["train"]["clip_norm"]
    checkpoint.save_checkpoint(step_file(begun, 1), content)
    refused(with_train(begun, clip_norm=1.0), r"train\.clip_norm was 0\.0, now 1\.0;")
    run(begun)


def test_the_length_is_free_unless_the_rate_follows_it(begun: Config, tmp_path: Path) -> None:
    poly = with_train(replace(begun, output=str(tmp_path / "poly")), schedule="poly", steps=0, epochs=1)
    poly = with_train(poly, batch_size=12)  # one step
    run(poly)
    refused(with_train(poly, epochs=2), r"train\.epochs was 1, now 2;")


def test_other_validation_pairs_are_refused_once_there_is_a_best(config: Config, tmp_path: Path) -> None:
    config.data.val = [DatasetConfig(root=str(write_pairs(tmp_path / "val", 2, seed=1)))]
    run(with_train(config, steps=1))
    config.data.val = [DatasetConfig(root=str(write_pairs(tmp_path / "other", 2, seed=2)))]
    refused(with_train(config, steps=2), r"the best checkpoint so far was chosen on other pairs than data\.val finds")
    content = checkpoint.load_checkpoint(step_file(config, 1))
    checkpoint.save_checkpoint(step_file(config, 1), {**content, "best": None, "best_step": 0})
    run(with_train(config, steps=2))


def test_pairs_are_known_by_more_than_their_stems_and_may_be_moved(begun: Config, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(begun.data.train[0].root, moved)
    begun.data.train = [replace(begun.data.train[0], root=str(moved))]
    run(begun)
    write_pairs(moved, 12, seed=99)
    refused(with_train(begun, steps=3), r"other pairs than data\.train finds")


def test_a_file_to_resume_from_is_kept_and_the_command_can_be_given_again(begun: Config, tmp_path: Path) -> None:
    start = step_file(begun, 1)
    mine = start.with_name("step_00000001 (copy).pt")
    shutil.copy(start, mine)
    command = with_train(begun, resume=str(start), steps=4, checkpoint_steps=1, keep=1)
    run(with_train(command, steps=3))
    assert start.is_file() and mine.is_file() and step_file(begun, 3).is_file() and not step_file(begun, 2).exists()
    again = run(command)
    assert again.step == 4 and not step_file(begun, 3).exists() and start.is_file()
    assert f"resumed from {step_file(begun, 3)}" in (Path(begun.output) / "log.txt").read_text()
    elsewhere = replace(command, output=str(tmp_path / "elsewhere"))
    run(with_train(elsewhere, steps=3))
    assert same_weights(run(elsewhere), again)
    assert sorted(path.name for path in (tmp_path / "elsewhere" / "checkpoints").iterdir()) == ["step_00000004.pt"]
    content = checkpoint.load_checkpoint(start)
    checkpoint.save_checkpoint(tmp_path / "another.pt", {**content, "world_size": 4})
    refused(with_train(command, resume=str(tmp_path / "another.pt")), "holds a run that got further")


def test_a_damaged_newest_checkpoint_says_what_to_do(begun: Config) -> None:
    run(with_train(begun, steps=3, checkpoint_steps=1))
    whole = run(with_train(replace(begun, output=begun.output + "2"), steps=3))
    path = step_file(begun, 3)
    data = bytearray(path.read_bytes())
    largest = max(checkpoint.load_checkpoint(path)["model"].values(), key=torch.Tensor.numel)
    data[data.index(largest.numpy().tobytes()) + 7] ^= 1
    path.write_bytes(data)
    command = with_train(begun, steps=3, checkpoint_steps=1)
    refused(command, r"fails its checksum.*; train\.resume=previous goes on from the one before, step_00000002\.pt")
    again = run(with_train(command, resume="previous"))
    assert same_weights(again, whole)
    assert path.with_name("step_00000003.pt.damaged").read_bytes() == bytes(data)
    log = (Path(begun.output) / "log.txt").read_text()
    assert "renamed to step_00000003.pt.damaged" in log and "step_00000002.pt at step 2" in log
    assert run(with_train(command, resume="previous")).step == 3
    for left in path.parent.glob("step_*.pt"):
        left.write_bytes(b"")
    refused(with_train(command, resume="previous"), "none of the checkpoints can be read")
    assert path.is_file()


def test_the_step_is_saved_before_a_validation_which_a_resumed_run_makes_up_for(config: Config, tmp_path: Path) -> None:
    """As long as the first validation fails; the run is then the same as one in which it did not."""
    config = with_train(config, steps=4)  # ten pairs: two steps an epoch
    whole = run(replace(config, output=str(tmp_path / "whole")))
    (validation,) = training_sets(config)[1]
    truth = validation.pairs[0].ground_truth
    content = truth.read_bytes()
    truth.write_bytes(content[:40].ljust(len(content), b"x"))
    refused(config, truth.name)
    assert step_file(config, 2).is_file() and evaluations(config) == []
    assert "stopped at step 2: UserError" in (Path(config.output) / "log.txt").read_text()
    assert read_state(Path(config.output)) == RunState("failed", 2, 4)
    truth.write_bytes(content)
    again = run(with_train(config, checkpoint_every=1))
    assert evaluations(config) == [2, 4] and same_weights(whole, again)
    assert (again.progress.best, again.progress.best_step) == (whole.progress.best, whole.progress.best_step)
    best = checkpoint.load_checkpoint(Path(config.output) / "checkpoints" / "best.pt")
    assert best["step"] == again.progress.best_step
    run(config)
    assert evaluations(config) == [2, 4]  # a finished run has nothing to make up for


def test_a_kill_between_the_score_and_its_checkpoint_leaves_one_row(config: Config) -> None:
    trainer = run(with_train(config, steps=2))
    content = checkpoint.load_checkpoint(step_file(config, 2))
    content.update(best=None, best_step=0, evaluated_step=0)
    checkpoint.save_checkpoint(step_file(config, 2), content)
    (trainer.folder.checkpoints / "best.pt").unlink()
    run(with_train(config, steps=2))
    assert evaluations(config) == [2]
    assert checkpoint.load_checkpoint(trainer.folder.checkpoints / "best.pt")["step"] == 2


def test_a_best_checkpoint_that_is_gone_is_chosen_anew(config: Config) -> None:
    config.train.lr = 0.0  # the first stays the best
    trainer = run(with_train(config, steps=4))
    assert trainer.progress.best_step == 2
    (trainer.folder.checkpoints / "best.pt").unlink()
    again = run(with_train(config, steps=4))
    assert again.progress.best_step == 4
    assert checkpoint.load_checkpoint(trainer.folder.checkpoints / "best.pt")["step"] == 4
    assert "best.pt is not the one of step 2" in (Path(config.output) / "log.txt").read_text()


MINE = """
import random
import numpy, torch
from samsod.modeling.losses import WeightedIouBce
from samsod.registry import LOSSES, RULES

@LOSSES.register("noisy", replace=True)
class Noisy(WeightedIouBce):
    def __call__(self, logits, batch):
        return super().__call__(logits, batch) * (random.random() + numpy.random.rand() + torch.rand(()))

@RULES.register("balanced", replace=True)
class Balanced:
    "Weights that follow the norms over the steps."
    def __init__(self, momentum=0.5):
        self.momentum, self.norms = momentum, None
    def weights(self, gram, context):
        norms = gram.diagonal().sqrt() / context.losses["fusion"]
        self.norms = norms if self.norms is None else self.norms.lerp(norms, self.momentum)
        return 1 / (self.norms + 1e-3)
    def state_dict(self):
        return {"norms": self.norms}
    def load_state_dict(self, state):
        self.norms = state["norms"]
"""


def test_random_numbers_and_a_rule_with_a_memory_are_resumed_bitwise(config: Config, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    rule = RuleConfig("balanced", {"momentum": 0.25})
    config = replace(
        with_train(config, steps=4),
        imports=[str(tmp_path / "mine.py")],
        loss=LossConfig("noisy"),
        engine=replace(config.engine, gradient_rule=rule),
    )
    whole = run(config)
    cut = replace(config, output=str(tmp_path / "cut"))
    run(with_train(cut, steps=2))
    assert same_weights(whole, run(cut))


ODD: list[tuple[str, Any, str]] = [
    ("model", [], "model is a list, not a dict"),
    ("model", {"a": 1}, "model.a is a int, not a Tensor"),
    ("base", {"file": 1}, "base.file is a int, not a str"),
    ("base", {}, "base lacks the name"),
    ("config", {"train": []}, "a section of config is not a dict"),
    ("step", "1", "step is a str, not a int"),
    ("optimizer", {"state": []}, "cannot be gone on from: "),
    ("scaler", None, "scaler is a NoneType, not a dict"),
    ("rules", {"decoder": {}}, "cannot be gone on from: KeyError"),
    ("random", {"python": 3}, "cannot be gone on from: "),
    ("data_id", None, "data_id is a NoneType, not a str"),
    ("data_id", ..., "it lacks data_id"),
]
"""Key of a checkpoint, what stands there (an ellipsis: nothing), and what is said of it."""


def test_odd_contents_are_one_line(begun: Config) -> None:
    content = checkpoint.load_checkpoint(step_file(begun, 1))
    for key, value, part in ODD:
        odd = {k: v for k, v in {**content, key: value}.items() if v is not ...}
        checkpoint.save_checkpoint(step_file(begun, 1), odd)
        refused(begun, f"step_00000001.pt: .*{part}")
    content["optimizer"]["state"][0]["exp_avg"] = torch.zeros(1)
    checkpoint.save_checkpoint(step_file(begun, 1), content)
    refused(begun, "the optimizer's exp_avg do not fit the model")
