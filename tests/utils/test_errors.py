from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from samsod.utils.errors import Failure, UserError, about, run_main


def fail(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "code", "shown"),
    [
        (lambda: None, 0, ""),
        (fail(UserError("a: wrong", "b: wrong")), 2, "error: a: wrong\nerror: b: wrong\n"),
        (fail(KeyboardInterrupt()), 1, "interrupted\n"),
        (fail(Failure("a process was killed")), 1, "error: a process was killed\n"),
        (
            fail(RuntimeError("DataLoader worker (pid 7) is killed. \n")),
            1,
            "error: DataLoader worker (pid 7) is killed.\n",
        ),
    ],
)
def test_exit_codes(main: Callable[[], None], code: int, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_main(main)
    assert caught.value.code == code
    assert capsys.readouterr().err == shown


def test_anything_else_keeps_its_traceback_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_main(fail(RuntimeError("deep")))
    assert caught.value.code == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_path_is_one_line_of_text() -> None:
    message = str(about(Path(os.fsdecode(b"caf\xc3\xa9/a b\xff\n.png")), "is bad"))
    assert message == "café/a b\\udcff\\n.png: is bad" and message.encode()


def test_every_fault_is_one_line_of_text_in_other_processes_too() -> None:
    error = UserError("/a\nb\udcff: wrong", "/c\r\x1b[2J\u2028: wrong")
    lines = ["/a\\nb\\udcff: wrong", "/c\\r\\x1b[2J\\u2028: wrong"]
    for one in (error, pickle.loads(pickle.dumps(error)), UserError(*error.args)):
        assert str(one).splitlines() == lines == list(one.args)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EMFILE])
def test_what_the_system_says_of_a_file_is_one_line(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_main(fail(OSError(number, os.strerror(number), "/disk/a\nb")))
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"error: /disk/a\\nb: {os.strerror(number)}\n"
