from __future__ import annotations

import subprocess
import sys
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


def test_a_name_is_given_once_but_on_purpose() -> None:
    registry = Registry("thing")
    registry.register("a")(dict)
    registry.register("a")(dict)
    with pytest.raises(ValueError, match=r"thing 'a' is already registered at .*test_registry.py:\d+; choose another"):
        registry.register("a")(list)
    assert registry.get("a") is dict
    registry.register("a", replace=True)(list)
    assert registry.get("a") is list


def test_a_file_imported_twice_is_no_clash_and_its_copy_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    source = "from samsod.registry import LOSSES\n@LOSSES.register('twice'{})\ndef make(): return None\n"
    for name, more in (("one", ""), ("copy", ""), ("wanted", ", replace=True")):
        (tmp_path / f"{name}.py").write_text(source.format(more))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))
    import_user_modules([str(tmp_path / "one.py"), "one.py", "one"])
    first = LOSSES.get("twice")
    with pytest.raises(UserError, match=r"'copy.py': ValueError: loss 'twice' .* register\('twice', replace=True\)$"):
        import_user_modules(["copy.py"])
    assert LOSSES.get("twice") is first
    import_user_modules(["wanted.py"])
    assert LOSSES.get("twice") is not first


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("raise SystemExit", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise BaseException('a\\nb')", "BaseException: a\\nb"),
        ("def", "SyntaxError: "),
    ],
)
def test_a_module_that_ends_the_program_is_named(tmp_path: Path, source: str, reason: str) -> None:
    (tmp_path / "bad.py").write_text(source)
    with pytest.raises(UserError) as caught:
        import_user_modules([str(tmp_path / "bad.py")])
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"imports: cannot import '{tmp_path}/bad.py': {reason}")


def test_what_a_module_prints_keeps_out_of_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "talks.py").write_text("print('one', 2)\nprint('three\\nfour')")
    import_user_modules([str(tmp_path / "talks.py")])
    name = tmp_path / "talks.py"
    assert capsys.readouterr() == ("", f"{name}: one 2\n{name}: three\n{name}: four\n")


def test_user_modules_add_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    source = "from samsod.registry import LOSSES\n@LOSSES.register('{}')\ndef make(): return lambda p, b: p.mean()\n"
    (tmp_path / "my_loss.py").write_text(source.format("by_path"))
    (tmp_path / "my_losses.py").write_text(source.format("by_name"))
    monkeypatch.chdir(tmp_path)
    import_user_modules([str(tmp_path / "my_loss.py"), "my_losses"])
    assert callable(build_loss(LossConfig("by_path"))) and callable(build_loss(LossConfig("by_name")))


def test_a_users_file_hides_no_module_from_processes_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copy.py").write_text("raise ImportError('not the copy that was meant')")
    (tmp_path / "my_parts.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    import_user_modules(["my_parts"])
    # As multiprocessing does: a new process takes over the path.
    code = f"import sys; sys.path = {sys.path!r}; import copy; copy.deepcopy"
    assert str(tmp_path) in sys.path
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


@pytest.mark.parametrize("module", ["no_such_module_anywhere", "nowhere/file.py"])
def test_a_module_that_is_not_there_is_named(module: str) -> None:
    with pytest.raises(UserError, match=module):
        import_user_modules([module])
