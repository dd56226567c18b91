from __future__ import annotations

import importlib
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from samsod.utils.errors import UserError
from samsod.utils.files import (
    append_text,
    cache_folder,
    check_file_writable,
    check_writable,
    code_digest,
    locked,
    temporary_folder,
    write_text,
    written_whole,
)
from tests.places import HANG


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    write_text(tmp_path / "a", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "new")]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(OSError, match="full"), written_whole(tmp_path / "a") as partial:
        partial.write_text("ne")
        raise OSError("disk full")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_folders_that_cannot_be_written_are_refused_without_making_them(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "deeper")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        check_writable(tmp_path / "file" / "deeper")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for place, which in ((tmp_path / "link", ""), (tmp_path / "link" / "deeper", f"{tmp_path}/link ")):
        with pytest.raises(UserError, match=rf"^{place}: {which}is a link to nowhere, which is not there$"):
            check_writable(place)
    with pytest.raises(UserError, match="loop/deeper: Too many levels of symbolic links"):
        check_writable(tmp_path / "loop" / "deeper")
    with pytest.raises(UserError, match="File name too long"):
        check_writable(tmp_path / ("x" * 300))
    with pytest.raises(UserError, match="cannot write to /proc"):  # whatever the rights say
        check_writable("/proc/samsod/run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "loop"]


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    for path in (tmp_path / "old", tmp_path / "new" / "file"):
        check_file_writable(path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name, fault in (("folder", "is a folder"), ("link", "is a link to nowhere"), ("old/file", "is a file")):
        with pytest.raises(UserError, match=fault):
            check_file_writable(tmp_path / name)
    with pytest.raises(UserError, match="/dev/null: is no regular file"):  # it would be replaced by one
        check_file_writable(Path("/dev/null"))


def test_a_full_disk_is_named_with_the_file(small_disk: Path) -> None:
    write_text(small_disk / "a", "old")
    for write in (write_text, append_text):
        with pytest.raises(OSError, match="No space left") as caught:
            write(small_disk / "a", "x" * 200_000)
        assert (caught.value.filename, caught.value.filename2) == (str(small_disk / "a"), None)
    with pytest.raises(OSError, match="No space left") as caught, written_whole(small_disk / "b") as partial:
        partial.write_bytes(b"x" * 200_000)
    assert caught.value.filename == str(small_disk / "b")
    assert [path.name for path in small_disk.iterdir()] == ["a"]


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "nowhere" / "a", "text")
    assert caught.value.filename == str(tmp_path / "nowhere" / "a")


def test_names_that_are_no_text_are_escaped_in_files(tmp_path: Path) -> None:
    for _ in range(2):
        append_text(tmp_path / "log", "a\udcff é\n")
    assert (tmp_path / "log").read_text(encoding="utf-8") == "a\\udcff é\n" * 2


def test_the_cache_folder_follows_xdg_and_needs_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, base in (
        (str(tmp_path / "x"), tmp_path / "x"),
        ("relative", tmp_path / ".cache"),
        ("", tmp_path / ".cache"),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == base / "samsod"

    def unknown(_: object) -> pwd.struct_passwd:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert cache_folder() == Path(tempfile.gettempdir()) / f"samsod-{os.getuid()}"


HOLD = """
import sys, time
from pathlib import Path
from samsod.utils.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_held_by_one_process_and_freed_by_its_death(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"^{folder}: process {holder.pid} on \S+ is working in it; .*$"):
            locked(folder).__enter__()
    finally:
        holder.kill()
        holder.communicate()
    with locked(folder):
        pass


def test_a_folder_that_cannot_be_made_is_not_locked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/run: cannot be written to"), locked(tmp_path / "file" / "run"):
        pass


WORK = """
import sys, time
from pathlib import Path
from samsod.utils.errors import run_main
from samsod.utils.files import temporary_folder
def main():
    with temporary_folder(Path(sys.argv[1]), ".work-") as folder:
        (folder / "half").write_text("x")
        print(folder, flush=True)
        time.sleep(600)
run_main(main)
"""


def test_a_temporary_folder_goes_with_its_process_or_with_the_next(tmp_path: Path) -> None:
    def start() -> tuple[subprocess.Popen[str], Path]:
        command = [sys.executable, "-c", WORK, str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    stopped, its_folder = start()
    try:
        with temporary_folder(tmp_path, ".work-") as mine:
            assert its_folder.is_dir() and mine.is_dir()  # that of a process that lives stays
        stopped.send_signal(signal.SIGTERM)
        assert stopped.communicate(timeout=HANG)[1] == "interrupted\n" and stopped.returncode == 1
        assert not list(tmp_path.iterdir())
        stopped, its_folder = start()
    finally:
        stopped.kill()
        stopped.communicate()
    assert its_folder.is_dir()
    before = signal.getsignal(signal.SIGTERM)
    with temporary_folder(tmp_path, ".work-"):
        assert not its_folder.exists()
    assert not list(tmp_path.iterdir()) and signal.getsignal(signal.SIGTERM) == before


def test_a_digest_covers_a_package_and_all_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "digested_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("X = 1")
    modules = importlib.import_module("digested_package"), importlib.import_module("digested_package.part")
    before = [code_digest(module) for module in modules]
    assert before == [code_digest(module) for module in modules] and len({*before, code_digest(*modules)}) == 3
    (package / "part.py").write_text("X = 2")
    assert not {*before} & {code_digest(module) for module in modules}
