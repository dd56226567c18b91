"""The real command makes a table of real runs, and goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

from samsod.data.decoding.images import read_rgb
from samsod.data.pictures import write_png
from tests.experiments.conftest import table_file  # noqa: F401  a fixture
from tests.tools.test_commands import command, fault


def test_a_table_from_nothing(tmp_path: Path, table_file: Path, pairs_folder: Path) -> None:  # noqa: F811
    output, maps = tmp_path / "runs", tmp_path / "maps"
    maps.mkdir()
    for path in (pairs_folder / "GT").iterdir():
        write_png(maps / path.name, read_rgb(path)[..., 0])
    with table_file.open("a") as file:
        file.write("compare: [{first: split, second: plain, label: decoupling}]\n")
    arguments = [table_file, "--seeds", "0", "--output", output, "--pred", f"perfect={maps}"]
    made = command("run_experiment", *arguments, "--jobs", "2")
    assert made.returncode == 0, made.stderr
    assert "2 of 2 runs to do, about 0:00:" in made.stdout
    results = {
        row: json.loads((output / row / "seed0" / "test" / "results.json").read_text()) for row in ("plain", "split")
    }
    lines = made.stdout.splitlines()
    for name, score in (("plain one", results["plain"]), ("split one", results["split"])):
        (line,) = (line for line in lines if f"  {name}  " in line)
        assert f"{score['pairs']['S']:.4f}" in line
    (perfect,) = (line for line in lines if "  perfect  " in line)
    assert "1.0000*" in perfect and "0.0000*" in perfect
    (difference,) = (line for line in lines if "  decoupling" in line and "  MAE  " in line)
    assert f"{results['split']['pairs']['MAE'] - results['plain']['pairs']['MAE']:+.4f}" in difference
    assert sorted(path.name for path in (output / "table9").iterdir()) == [
        *("differences.csv", "differences.json", "differences.md"),
        *("results.csv", "results.json", "results.md", "results.tex"),
    ]
    again = command("run_experiment", *arguments)
    assert "0 of 2 runs to do" in again.stdout and "started" not in again.stdout
    assert again.stdout.splitlines()[-12:] == lines[-12:]


def test_mistakes() -> None:
    fault(command("run_experiment", "tabel3"), "table3")
    fault(command("run_experiment", "table3", "--seeds", "-1"), "--seeds")
    fault(command("run_experiment", "table3", "--dry-run", "data.root=/nowhere"), "/nowhere")
