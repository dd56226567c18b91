from __future__ import annotations

from pathlib import Path

import pytest

from samsod.config import LossConfig
from samsod.modeling.losses import build_loss
from samsod.registry import ADAPTERS, LOSSES, MODELS, Registry, import_user_modules
from samsod.utils.errors import UserError


def test_unknown_names_list_the_known_and_the_nearest() -> None:
    with pytest.raises(
        UserError, match=r"no adapter is called 'decopled' \(did you mean 'decoupled'\?\); known: .*vanilla"
    ):
        ADAPTERS.get("decopled")


def test_builtin_names() -> None:
    for name in ("vanilla", "decoupled", "decoupled_moe"):
        assert callable(ADAPTERS.get(name))
    assert callable(MODELS.get("samsod")) and callable(LOSSES.get("weighted_iou_bce"))


def test_a_name_is_given_once() -> None:
    registry = Registry("thing")
    registry.register("a")(dict)
    registry.register("a")(dict)
    with pytest.raises(ValueError, match="already registered"):
        registry.register("a")(list)


def test_user_modules_add_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from samsod.registry import LOSSES\n@LOSSES.register('{}')\ndef make(): return lambda p, b: p.mean()\n"
    (tmp_path / "my_loss.py").write_text(source.format("by_path"))
    (tmp_path / "my_losses.py").write_text(source.format("by_name"))
    monkeypatch.chdir(tmp_path)
    import_user_modules([str(tmp_path / "my_loss.py"), "my_losses"])
    assert callable(build_loss(LossConfig("by_path"))) and callable(build_loss(LossConfig("by_name")))


@pytest.mark.parametrize("module", ["no_such_module_anywhere", "nowhere/file.py"])
def test_a_module_that_is_not_there_is_named(module: str) -> None:
    with pytest.raises(UserError, match=module):
        import_user_modules([module])
