"""Config texts and overrides of all kinds end as values or as one line, and soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from samsod.config import Config, load_config
from samsod.config.yaml_text import MOST_NESTED, parse_file
from samsod.utils.errors import UserError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
CHAIN = "n0: &n0 [x]\n" + "".join(f"n{i}: &n{i} [*n{i - 1}]\n" for i in range(1, 200))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a: &x [*x]", "c.yaml:1: the alias *x lies in what it stands for"),
        (b"a: *x", "c.yaml:1: the alias *x stands for nothing above it"),
        (LAUGHS.encode(), "more than 10000 values"),
        (CHAIN.encode(), "nested more than 40 deep"),
        (b"a: " + b"[" * 900 + b"]" * 900, "c.yaml:1: nested more than 40 deep"),
        (b"[" * 100_000, "c.yaml:1: nested more than 40 deep"),
        (b"".join(b" " * i + b"a:\n" for i in range(900)), "c.yaml:42: nested more than 40 deep"),
        (b"seed: " + b"9" * 400, "c.yaml:1: seed: expected a whole number, found inf"),
        (b"train:\n  epochs: " + b"9" * 5000, "c.yaml:2: train.epochs: expected a whole number, found inf"),
        (b"train: {lr: " + b"9" * 400 + b".5}", "train.lr: expected a finite number, found inf"),
        (b"train: {lr: 1e400}", "train.lr: expected a finite number, found inf"),
        (b"loss: {options: {a: {b: [1e400]}}}", "loss.options.a.b.0: expected a finite number"),
        (b"output: [" + b"x" * 5000 + b"]", "output: expected text, found a list"),
        (b"train: {lr: " + b"x" * 5000 + b"}", "train.lr: expected a number, found 'xxx"),
        (b"a:\n\tb: 1", "c.yaml:2: not valid YAML: found character '\\t' that cannot start any token"),
        (b"seed: 1\nx: \x00", "c.yaml:2: not valid YAML: special characters are not allowed"),
        (bytes(range(256)), "c.yaml: cannot be read as text"),
        (b'output: "a\\0b"', "c.yaml:1: output: expected text without NUL"),
        (b"seed: !!python/object/apply:os.system [ls]", "c.yaml:1: found the tag"),
        (b"seed: 1\n---\nseed: 2", "c.yaml:2: expected one document"),
        (b"[a]: 1", "c.yaml:1: expected text for a key"),
        (b"seed: 1 #" + b"x" * 2**20, "c.yaml: more than 1048576 characters"),
    ],
)
def test_a_text_that_is_no_config_is_one_line_at_once(tmp_path: Path, text: bytes, expected: str) -> None:
    (tmp_path / "c.yaml").write_bytes(text)
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "c.yaml")
    assert time.process_time() - started < 10  # seconds; it used to be minutes, or for ever
    (line,) = str(caught.value).splitlines()
    assert expected in line and len(line) < 300


def test_no_number_of_faults_takes_long(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("".join(f"key{i}: 1\n" for i in range(9000)))
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "c.yaml")
    assert len(caught.value.args) == 101 and caught.value.args[-1] == "and 8900 more faults"
    assert time.process_time() - started < 10


def test_no_file_is_read_without_end() -> None:
    with pytest.raises(UserError, match="/dev/zero: more than 1048576 characters"):
        load_config("/dev/zero")


def test_an_alias_is_a_value_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("data:\n  train: &sets [{family: vt821}]\n  test: *sets\noutput: &o run\nmodel: {weights: *o}")
    config = load_config(path, ["data.test.0.root=/x"])
    assert [item.root for item in (*config.data.train, *config.data.test)] == ["", "/x"]
    assert (config.output, config.model.weights) == ("run", "run")


def test_the_deepest_text_that_is_allowed_can_be_worked_with() -> None:
    tree = parse_file("a: " + "[" * MOST_NESTED + "]" * MOST_NESTED, "c.yaml", [])
    assert str(tree.plain()).count("[") == MOST_NESTED


def overridden(tmp_path: Path, *overrides: str) -> Config:
    (tmp_path / "empty.yaml").write_text("")
    return load_config(tmp_path / "empty.yaml", overrides)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("run #2", "run #2"),
        ("#2", "#2"),
        (" run #2\t", "run #2"),
        ("a: b", "a: b"),
        ("it's & *this", "it's & *this"),
        ("'run #2'", "run #2"),
        ('"a\\u00e9"', "aé"),
        ("x\udcff", "x\udcff"),
    ],
)
def test_an_overrides_text_is_what_was_written(tmp_path: Path, text: str, value: str) -> None:
    assert overridden(tmp_path, f"output={text}").output == value


def test_overrides_hold_numbers_lists_and_mappings(tmp_path: Path) -> None:
    config = overridden(tmp_path, "train.lr=1e-4", "imports=[a, 'b #c']", "loss.options={window: 15}")
    assert (config.train.lr, config.imports, config.loss.options) == (1e-4, ["a", "b #c"], {"window": 15})


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("output=", "command line: output: expected the name of a folder, found nothing"),
        ("output=' '", "output: expected the name of a folder"),
        ("imports=[a #b]", "there are no comments here; put quotes around text with ' #' in it"),
        ("imports=[a] #b", "there are no comments here"),
        ("imports=[a", "command line: not valid YAML"),
        ("imports=[a] b", "command line: not valid YAML"),
        ("seed=" + "9" * 400, "command line: seed: expected a whole number, found inf"),
        ("data.test.²=1", "data.test"),
        ("data.test." + "9" * 5000 + ".root=x", "data.test"),
        ("loss.options." + "a." * 3000 + "b=1", "nested more than 40 deep"),
        ("output=a\nb\0", "output: expected text without NUL"),
    ],
)
def test_an_override_that_cannot_be_used_is_one_line(tmp_path: Path, override: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        overridden(tmp_path, override)
    (line,) = str(caught.value).splitlines()
    assert expected in line


def test_an_empty_output_in_a_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("output: ''")
    with pytest.raises(UserError, match="output: expected the name of a folder"):
        load_config(tmp_path / "c.yaml")
