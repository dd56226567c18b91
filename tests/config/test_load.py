from __future__ import annotations

import pwd
from dataclasses import replace
from pathlib import Path

import pytest

from samsod.config import Config, load_config, to_yaml
from samsod.config.data_schema import DatasetConfig
from samsod.utils.errors import UserError

ODD = ["aé", "\U0001f600", "\ud83d", "\udcff\udc80", "\x7f\x85\u2028\ufeff", "a\nb\t\x01", '"\\', " #x", "[", "1e5"]


def test_any_text_comes_back_from_yaml(tmp_path: Path) -> None:
    config = replace(Config(), output="/x/\udcff\U0001f600\n", imports=ODD)
    config.loss.options = {text: {"deep": [text, 1, 0.5, None, True]} for text in ODD}
    config.data.train = [DatasetConfig(root=text) for text in ODD]
    for docs in (False, True):
        (tmp_path / "c.yaml").write_text(to_yaml(config, docs), encoding="utf-8")
        assert load_config(tmp_path / "c.yaml") == config


def test_a_home_nobody_knows_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.yaml").write_text("output: ~/x")

    def unknown(user: object) -> pwd.struct_passwd:
        raise KeyError(user)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    for path in ("~/x", "~nobody/x"):
        with pytest.raises(UserError, match=f"^{path}: it is not known which folder ~ stands for; write it out$"):
            load_config(tmp_path / "c.yaml", [f"output={path}"])
