"""The model's benchmark as a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from samsod.config.command_line import positive_numbers, positives
from tests.tools.test_commands import MICRO, command, fault

SMALL = ("--config", "configs/tiny.yaml", *MICRO, "train.batch_size=2")


def test_a_step_on_real_batches_and_the_scaling_table_as_json(pairs_folder: Path) -> None:
    data = f"data.train=[{{family: folders, root: {pairs_folder}}}]"
    done = command("bench_model", *SMALL, data, "--data", "--runs", 1, "--scaling", "--link", "2,0.5", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["step"]["images"] == 2 and figures["step"]["parts"]["wait for data"]["median"] > 1e-4
    assert {row["link"] for row in figures["scaling"]} == {2, 0.5}
    assert list(figures["row_bytes"]) == ["fusion", "rgb", "thermal"]


def test_mistakes() -> None:
    fault(command("bench_model", *SMALL, "--link", "12,fast"), "expected a number above 0, found 'fast'")
    fault(command("bench_model", *SMALL, "--batch", "1,0"), "expected a whole number of at least 1", "'0'")


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "0", "1,,2"])
def test_no_numbers(text: str) -> None:
    from argparse import ArgumentTypeError

    with pytest.raises(ArgumentTypeError):
        positive_numbers(text)
    with pytest.raises(ArgumentTypeError):
        positives(text)
    assert positive_numbers("12,0.5,12") == [12, 0.5] and positives("4,1,4") == [4, 1]
