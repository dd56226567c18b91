"""The real commands, run as a user runs them: what they write, what they say, how they exit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import write_pairs
from tests.forking import run_script
from tests.places import HANG, ROOT

MICRO = [
    "model.size=micro",
    "model.trunk={}",
    "model.decoder_width=32",
    "model.image_size=64",
    "model.freeze_encoder=false",
    "data.workers=0",
    "engine.device=cpu",
]


def command(tool: str, *args: object, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    path = ROOT / "tools" / f"{tool}.py"
    if ranks == 1:
        return run_script(path, *args)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    line = [*launcher, str(path), *map(str, args)]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=HANG)


def train(tmp_path: Path, pairs: Path, *overrides: str, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    data = f"data.train=[{{family: folders, root: {pairs}}}]"
    settings = [*MICRO, data, f"output={tmp_path / 'run'}", "train.steps=2", "train.batch_size=4", "train.log_every=1"]
    return command("train_net", "--config", "configs/tiny.yaml", *settings, *overrides, ranks=ranks)


def test(tmp_path: Path, pairs: Path, *overrides: str, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    data = f"data.test=[{{family: folders, name: mine, root: {pairs}}}]"
    checkpoint, output = tmp_path / "run" / "checkpoints" / "step_00000002.pt", tmp_path / "test"
    paths = ["--checkpoint", checkpoint, "--output", output]
    return command("test_net", "--config", "configs/tiny.yaml", *paths, *MICRO, data, *overrides, ranks=ranks)


test.__test__ = False  # type: ignore[attr-defined]


def test_train_and_test(tmp_path: Path, pairs_folder: Path) -> None:
    trained = train(tmp_path, pairs_folder)
    assert trained.returncode == 0, trained.stderr
    assert "eta" in trained.stdout and "validation on" in trained.stdout
    assert {"config.yaml", "log.txt", "metrics.jsonl", "state.json"} < {p.name for p in (tmp_path / "run").iterdir()}
    tested = test(tmp_path, pairs_folder)
    assert tested.returncode == 0, tested.stderr
    results = json.loads((tmp_path / "test" / "results.json").read_text())
    assert set(results) == {"mine"} and results["mine"]["images"] == 12
    assert f"{results['mine']['S']:.4f}" in tested.stdout
    maps = tmp_path / "test" / "maps" / "mine"
    assert sorted(p.name for p in maps.iterdir()) == [f"{i:03d}.png" for i in range(12)]


def test_under_torchrun(tmp_path: Path, pairs_folder: Path) -> None:
    trained = train(tmp_path, pairs_folder, ranks=2)
    assert trained.returncode == 0, trained.stderr
    assert "2 steps of 4 images on 2 x cpu" in trained.stdout
    tested = test(tmp_path, pairs_folder, ranks=2)
    assert tested.returncode == 0, tested.stderr
    assert json.loads((tmp_path / "test" / "results.json").read_text())["mine"]["images"] == 12
    assert tested.stdout.count("S↑") == 1


def test_flops_json_gives_the_papers_figures() -> None:
    done = command("flops", "--config", "configs/large.yaml", "--json")
    assert json.loads(done.stdout) == {
        "params": 224_147_765,
        "params_trainable": 10_760_608,
        "macs_fvcore": 417_111_122_304,
        "macs_with_attention": 446_163_603_840,
        "input_size": 512,
    }


def test_print_config_is_a_config(tmp_path: Path) -> None:
    done = command("train_net", "--config", "configs/tiny.yaml", "--print-config", "train.lr=1e-5")
    (tmp_path / "c.yaml").write_text(done.stdout)
    again = command("train_net", "--config", tmp_path / "c.yaml", "--print-config")
    assert done.returncode == again.returncode == 0
    assert again.stdout == done.stdout and "lr: 1e-05" in done.stdout and "# " in done.stdout


def fault(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """A user's mistake: exit code 2, one line, which names these parts."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for part in parts:
        assert part in lines[0], lines[0]


def test_mistakes_on_the_command_line() -> None:
    fault(command("train_net"), "--config")
    fault(command("train_net", "--config", "nowhere.yaml"), "nowhere.yaml")
    fault(command("flops", "--config", "configs/tiny.yaml", "model.sise=tiny"), "model.sise", "model.size")
    fault(command("flops", "--config", "configs/tiny.yaml", "train.lr=fast"), "train.lr", "a number")
    fault(command("flops", "--config", "configs/tiny.yaml", "model.adapter.name=vanila"), "vanila", "vanilla")
    fault(command("test_net", "--config", "configs/tiny.yaml"), "--checkpoint")


def test_data_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path, pairs_folder: Path) -> None:
    fault(train(tmp_path, tmp_path / "nowhere"), "nowhere")
    (tmp_path / "empty" / "RGB").mkdir(parents=True)
    fault(train(tmp_path, tmp_path / "empty"), "empty")
    (pairs_folder / "T" / "003.png").unlink()
    fault(train(tmp_path, pairs_folder), "003", str(pairs_folder / "T"))
    for index in range(12):
        if index != 3:
            (pairs_folder / "T" / f"{index:03d}.png").rename(pairs_folder / "T" / f"x{index:03d}.png")
    done = train(tmp_path, pairs_folder)
    assert done.returncode == 2
    lacking, left_over = done.stderr.splitlines()  # two faults, a line each, the first few stems named
    assert "12 files have no thermal image" in lacking and "000, 001" in lacking and "x000, x001" in left_over
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["truncated", "size", "no_mask"])
def test_bad_images_are_named(tmp_path: Path, damage: str) -> None:
    from samsod.data.decoding.images import cv2
    from samsod.data.pictures import write_png

    pairs = write_pairs(tmp_path / "pairs", 12, seed=1)
    rgb = cv2.imread(str(pairs / "RGB" / "005.png"))
    assert rgb is not None
    expected = {"truncated": "005.jpg", "size": "T/005.png", "no_mask": "GT/005.png"}[damage]
    if damage == "truncated":
        (pairs / "RGB" / "005.png").unlink()
        data = cv2.imencode(".jpg", rgb)[1].tobytes()
        (pairs / "RGB" / "005.jpg").write_bytes(data[: len(data) // 2])
    elif damage == "size":
        write_png(pairs / "T" / "005.png", rgb[:40])
    else:
        write_png(pairs / "GT" / "005.png", rgb)
    fault(train(tmp_path, pairs, "train.batch_size=12", "data.holdout=0"), expected)
    assert train(tmp_path, write_pairs(tmp_path / "good", 12, seed=1)).returncode == 0
    fault(test(tmp_path, pairs, "data.workers=1"), expected)
    assert [path.name for path in (tmp_path / "test").rglob("*")] == [".lock"]


def test_a_batch_that_does_not_divide(tmp_path: Path, pairs_folder: Path) -> None:
    done = train(tmp_path, pairs_folder, "train.batch_size=5", ranks=2)
    assert done.returncode != 0
    assert "error: train.batch_size is 5; it must be a multiple of the 2 ranks" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_model(tmp_path: Path, pairs_folder: Path) -> None:
    assert train(tmp_path, pairs_folder).returncode == 0
    fault(
        test(tmp_path, pairs_folder, "model.adapter.name=vanilla"),
        "step_00000002.pt",
        "missing (",
        "it was trained with model.adapter.name=decoupled",
    )
    changed = ("model.dense_prompt was true in training and is false now", "--allow-changed model.dense_prompt")
    fault(test(tmp_path, pairs_folder, "model.dense_prompt=false"), *changed)
    (tmp_path / "run" / "checkpoints" / "step_00000002.pt").write_bytes(b"PK cut off")
    fault(test(tmp_path, pairs_folder), "step_00000002.pt", "damaged")
    assert not (tmp_path / "test").exists()


def test_a_loss_that_is_not_finite_exits_with_1(tmp_path: Path, pairs_folder: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from samsod.registry import LOSSES\n"
        "@LOSSES.register('nan', replace=True)\n"
        "def make(): return lambda logits, batch: logits.mean() * float('nan')\n"
    )
    done = train(tmp_path, pairs_folder, f"imports=[{tmp_path / 'mine.py'}]", "loss.name=nan")
    assert done.returncode == 1
    assert "step 1: not finite" in done.stderr
