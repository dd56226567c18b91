"""The output folder: held by one run, the user's own files left alone, what is in the way found before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from samsod.config import Config, to_yaml
from samsod.engine import checkpoint
from samsod.engine.folder import MARK, RunFolder
from samsod.utils.errors import UserError
from samsod.utils.files import locked


def refusal(config: Config) -> str:
    with pytest.raises(UserError) as caught, RunFolder(config).held():
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_has_one_run_at_a_time(config: Config) -> None:
    with locked(Path(config.output)):
        assert f"{config.output}: process " in refusal(config)
    with RunFolder(config).held():
        pass


def test_a_config_of_the_users_own_is_not_overwritten(config: Config) -> None:
    path = Path(config.output) / "config.yaml"
    path.parent.mkdir()
    for mine in ("train: {lr: 0.1}\n", "no: config\n", "[", "\0"):
        path.write_text(mine)
        assert "config.yaml: is not samsod's to overwrite" in refusal(config)
        assert path.read_text() == mine
    other = MARK + to_yaml(replace(config, seed=7))
    commented = f"# my notes\n{to_yaml(config)}"
    for text, kept in ((other, False), (to_yaml(config), False), (commented, True)):
        path.write_text(text)
        folder = RunFolder(config)
        with folder.held():
            folder.prepare()
        assert path.read_text() == (text if kept else MARK + to_yaml(config))


def test_what_is_in_the_way_is_found_before_anything_is_written(config: Config, tmp_path: Path) -> None:
    output = Path(config.output)
    output.symlink_to(tmp_path / "nowhere")
    assert f"{output}: is a link to {tmp_path / 'nowhere'}, which is not there" in refusal(config)
    output.unlink()
    output.write_text("a file")
    assert f"{output} is a file" in refusal(config)
    output.unlink()
    output.mkdir()
    (output / "checkpoints").write_text("a file")
    assert "checkpoints is a file, expected a folder" in refusal(config)
    (output / "checkpoints").unlink()
    (output / "checkpoints").symlink_to(tmp_path / "nowhere")
    assert "checkpoints: is a link to" in refusal(config)
    (output / "checkpoints").unlink()
    (output / "metrics.jsonl").mkdir()
    assert "metrics.jsonl: is a folder, expected a file" in refusal(config)
    (output / "metrics.jsonl").rmdir()
    (output / "log.txt").symlink_to(tmp_path / "nowhere" / "log.txt")
    assert "log.txt: is a link to" in refusal(config)
    (output / "log.txt").unlink()
    assert list(output.iterdir()) == []


def test_what_a_cut_off_save_left_is_cleared(config: Config) -> None:
    folder = RunFolder(config)
    folder.checkpoints.mkdir(parents=True)
    rest = folder.checkpoints / f".{checkpoint.step_path(folder.checkpoints, 3).name}.partial"
    rest.write_text("half")
    with folder.held():
        folder.prepare()
    assert not rest.exists()
