from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from samsod.config import to_yaml
from samsod.experiments.plan import Run, leave_out_missing, plan_runs
from samsod.experiments.same_data import _known, data_digest, encoder_digest
from samsod.experiments.table import find_table, read_table
from samsod.utils.errors import UserError
from tests.experiments.conftest import Plan
from tests.places import ROOT

TABLES = ROOT / "configs" / "experiments"


def leave(run: Run, *names: str) -> None:
    """What a run leaves when it is finished, or was cut off."""
    (run.folder / "test").mkdir(parents=True, exist_ok=True)
    (run.folder / "checkpoints").mkdir(exist_ok=True)
    contents = {"config.yaml": to_yaml(run.config), "finished.yaml": to_yaml(run.config), "test/results.json": "{}"}
    for name in names:
        (run.folder / name).write_text(contents.get(name, ""))


def test_every_seed_of_every_row_seed_by_seed(plan: Plan) -> None:
    runs = plan("train.lr=0.5", seeds=(0, 7))
    assert [run.title for run in runs] == ["plain seed 0", "split seed 0", "plain seed 7", "split seed 7"]
    assert {run.config.train.lr for run in runs} == {0.5}
    assert [run.config.seed for run in runs] == [0, 0, 7, 7]
    assert [run.config.model.adapter.name for run in runs[:2]] == ["vanilla", "decoupled"]
    assert len({run.folder for run in runs}) == 4


def test_overlays_win_over_rows_and_overrides_over_both(plan: Plan, tmp_path: Path) -> None:
    over = tmp_path / "over.yaml"
    over.write_text("model: {adapter: {name: decoupled_moe}}\ntrain: {lr: 0.25}\n")
    for run in plan("train.lr=0.125", overlays=[over]):
        assert (run.config.model.adapter.name, run.config.train.lr) == ("decoupled_moe", 0.125)


def test_states(plan: Plan) -> None:
    run = plan()[0]
    assert (run.state(), run.finished()) == ("new", False)
    leave(run, "config.yaml", "checkpoints/step_00000012.pt")
    assert run.state() == "goes on from step 12"
    leave(run, "finished.yaml")
    assert not run.finished()  # its results are gone
    leave(run, "test/results.json")
    assert run.state() == "finished"
    (same,) = (other for other in plan("data.workers=3", "train.log_every=5") if other.title == run.title)
    assert same.finished()
    (retest,) = (other for other in plan("test.streams=true") if other.title == run.title)
    assert retest.state() == "goes on from step 12"


def test_another_data_root_is_another_run_unless_the_data_moved(
    table_file: Path, tmp_path: Path, pairs_folder: Path
) -> None:
    sets = "[{family: vt821}]"
    (tmp_path / "sets.yaml").write_text(f"data: {{train: {sets}, test: {sets}}}\n")

    def planned(root: Path) -> Run:
        _known.clear()  # as in another process
        table, overrides = read_table(table_file), [f"data.root={root}"]
        return plan_runs(table, table_file, [tmp_path / "sets.yaml"], overrides, [0], tmp_path / "runs")[0]

    first, copy, other = (tmp_path / name for name in ("first", "copy", "other"))
    for place in (first, copy, other):
        shutil.copytree(pairs_folder, place / "VT821")
    run = planned(first)
    leave(run, "config.yaml", "finished.yaml", "test/results.json")
    run.data_mark.write_text(data_digest(run.config))
    assert planned(first).finished() and planned(copy).finished()
    with (other / "VT821" / "T" / "003.png").open("ab") as file:
        file.write(b"longer")
    with pytest.raises(UserError, match=rf"plain/seed0: .*data\.root was {first}, now {other} with other files"):
        planned(other)
    with pytest.raises(UserError, match="now /nowhere with other files"):
        planned(Path("/nowhere"))
    run.data_mark.unlink()
    with pytest.raises(UserError, match=r"data\.root was"):
        planned(copy)


def test_of_the_encoders_file_what_it_holds_counts(plan: Plan, tmp_path: Path) -> None:
    encoder, copy = tmp_path / "one.pt", tmp_path / "copy.pt"
    encoder.write_bytes(b"trained")

    def planned(path: Path) -> Run:
        return plan(f"model.encoder_from={path}")[0]

    run = planned(encoder)
    leave(run, "config.yaml", "finished.yaml", "test/results.json")
    run.encoder_mark.write_text(encoder_digest(run.config))
    shutil.copy(encoder, copy)
    assert planned(encoder).finished() and planned(copy).finished()
    copy.write_bytes(b"trained otherwise")
    with pytest.raises(UserError, match=rf"plain/seed0: .*model\.encoder_from was {encoder}, now {copy}"):
        planned(copy)
    encoder.write_bytes(b"trained anew")
    with pytest.raises(UserError, match=r"plain/seed0: .*one\.pt was written anew\); choose another --output"):
        planned(encoder)
    encoder.unlink()  # nothing to make, so nothing to load
    assert planned(encoder).finished()


def test_a_folder_of_another_run_is_refused(plan: Plan) -> None:
    leave(plan()[1], "config.yaml")
    with pytest.raises(UserError) as caught:
        plan("train.lr=0.5")
    assert "split/seed0" in str(caught.value) and "train.lr was 0.001, now 0.5" in str(caught.value)
    assert "--output" in str(caught.value) and "\n" not in str(caught.value)


def test_all_faults_at_once(plan: Plan, table_file: Path) -> None:
    with pytest.raises(UserError, match=r"model\.sise.*\n.*train\.lrr"):
        plan("train.lrr=1", "model.sise=tiny")
    table_file.write_text("titel: x\nrows: [{name: a, config: base.yaml}, {name: a, config: base.yaml}]\n")
    with pytest.raises(UserError, match=r"(?s)titel.*'title'.*a name of its own"):
        read_table(table_file)


def test_seed_and_output_are_not_the_overrides_business(plan: Plan, table_file: Path) -> None:
    with pytest.raises(UserError, match=r"^seed is every run's own: use --seeds\noutput is .* --output$"):
        plan("seed=7", "output=x")
    table_file.write_text("rows: []\n")
    with pytest.raises(UserError, match=r"table9\.yaml: not a table: it has no rows"):
        read_table(table_file)
    with pytest.raises(UserError, match=r"base\.yaml: not a table: it has no rows"):
        read_table(table_file.parent / "base.yaml")


@pytest.mark.parametrize("name", ["../../evil", "a/b", ".hidden", "..", "", "two\\nlines", "/etc"])
def test_a_rows_name_cannot_leave_the_output_folder(name: str, table_file: Path) -> None:
    table_file.write_text(f'rows: [{{name: "{name}", config: base.yaml}}]\n')
    with pytest.raises(UserError, match=r"^.*table9\.yaml:1: rows\.0\.name: expected a .*name") as caught:
        read_table(table_file)
    assert "\n" not in str(caught.value)


def test_what_a_table_cannot_show_is_found_before_anything_runs(table_file: Path) -> None:
    def told(text: str) -> list[str]:
        table_file.write_text(text)
        with pytest.raises(UserError) as caught:
            read_table(table_file)
        return [line.partition(": ")[2] for line in str(caught.value).splitlines()]

    row, none = "{name: a, config: base.yaml, reported: %s}", '""'
    (metric,) = told(f"metrics: [S, maxG]\nrows: [{row % none}]\n")
    assert metric.startswith("metrics: no metric is called 'maxG' (did you mean 'maxF'?); known: S")
    table_file.write_text(f"metrics: [s, MAXIOU, mae]\nrows: [{row % none}]\n")
    assert read_table(table_file).metrics == ["S", "maxIoU", "MAE"]
    (table,) = told(f"reported: tabel3\nrows: [{row % 'x'}, {row.replace('a,', 'b,') % 'y'}]\n")
    assert table.startswith("reported: the paper has no 'tabel3' (did you mean 'table3'?)")
    (beside,) = told(f"reported: table1\nrows: [{row % 'SAMSOD-lrge'}]\n")
    assert beside.startswith("rows: the paper's table1 has no 'SAMSOD-lrge' (did you mean 'SAMSOD-large'?)")
    (unnamed,) = told(f"rows: [{row % 'SAMSOD-large'}]\n")
    assert unnamed.startswith("reported: the paper has no ''; known: table1")
    assert told(f"metrics: []\nrows: [{row % none}]\n") == ["metrics: expected at least one"]
    rows = f"rows: [{row % none}, {row.replace('a,', 'bare,') % none}]\n"
    assert told(f"{rows}compare: [{{first: a, second: bar}}, {{first: a, second: a}}]\n") == [
        "compare.0.second: no row is called 'bar' (did you mean 'bare'?)",
        "compare.1: expected two rows, found 'a' twice",
    ]


def test_tables_are_found_by_name(tmp_path: Path, table_file: Path) -> None:
    assert find_table("table3", TABLES) == TABLES / "table3.yaml"
    assert find_table("rules", TABLES) == TABLES / "rules.yaml"
    with pytest.raises(UserError, match="no table is called 'va'"):  # a row's config
        find_table("va", TABLES)
    assert find_table(str(table_file), TABLES) == table_file
    with pytest.raises(UserError, match=r"did you mean 'table3'.*table1, table2"):
        find_table("tabel3", TABLES)


@pytest.mark.parametrize("name", [*(f"table{i}" for i in range(1, 7)), "rules"])
def test_the_tables_can_be_planned(name: str, tmp_path: Path) -> None:
    path = TABLES / f"{name}.yaml"
    table = read_table(path)
    runs = plan_runs(table, path, [], [], (0, 1), tmp_path)
    assert len(runs) == 2 * len(table.rows)
    assert all(run.state() == "new" for run in runs)


def test_the_rows_of_the_rules_differ_in_their_rule_alone(tmp_path: Path) -> None:
    path = TABLES / "rules.yaml"
    runs = plan_runs(read_table(path), path, [path.parent / "small.yaml"], [], (0,), tmp_path)
    assert [run.row.label for run in runs] == [run.config.engine.gradient_rule.name for run in runs]
    alike = [replace(run.config, engine=runs[0].config.engine, output="") for run in runs]
    assert len(runs) == 6 and all(config == alike[0] for config in alike)
    shared = {run.row.name: run.config for run in runs[:2]}
    third = TABLES / "table3.yaml"
    for run in plan_runs(read_table(third), third, [path.parent / "small.yaml"], [], (0,), tmp_path):
        assert shared.pop(run.row.name, run.config) == run.config
    assert not shared


def test_optional_rows_are_left_out_when_a_package_is_missing(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, table_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "far.yaml").write_text("_base_: base.yaml\nengine: {gradient_rule: {name: upgrad}}\n")
    with table_file.open("a") as file:
        file.write("  - {name: far, label: far one, config: far.yaml, optional: true}\n")
        file.write("compare:\n  - {first: split, second: plain}\n  - {first: far, second: plain}\n")
    for package in ("qpsolvers", "quadprog"):
        monkeypatch.setitem(sys.modules, package, None)
    table, runs, lines = leave_out_missing(read_table(table_file), plan(seeds=(0, 1)))
    assert [row.name for row in table.rows] == ["plain", "split"] == [run.row.name for run in runs[:2]]
    assert len(runs) == 4
    assert [pair.first for pair in table.compare] == ["split"]
    assert lines == [
        "left out far: engine.gradient_rule: upgrad needs qpsolvers and quadprog: pip install qpsolvers quadprog"
    ]
    with pytest.raises(UserError, match=r"^left out far: "):
        leave_out_missing(table, [run for run in plan() if run.row.name == "far"])
    with pytest.raises(UserError, match="mmpareto does not take"):
        leave_out_missing(table, plan("engine.gradient_rule={name: mmpareto, options: {gama: 1}}")[2:])


def test_table_3_has_the_papers_seven_settings(tmp_path: Path) -> None:
    path = TABLES / "table3.yaml"
    runs = plan_runs(read_table(path), path, [], [], (0,), tmp_path)
    found = [
        (
            run.config.model.adapter.name,
            run.config.model.modalities,
            run.config.model.unimodal_supervision,
            run.config.engine.gradient_rule.name,
        )
        for run in runs
    ]
    both = ["rgb", "thermal"]
    assert found == [
        ("vanilla", ["rgb"], True, "pcgrad"),  # one loss: nothing to merge
        ("vanilla", both, False, "pcgrad"),
        ("vanilla", both, True, "sum"),
        ("vanilla", both, True, "pcgrad"),
        ("decoupled", both, False, "pcgrad"),
        ("decoupled", both, True, "sum"),
        ("decoupled", both, True, "pcgrad"),
    ]
    small = plan_runs(read_table(path), path, [path.parent / "small.yaml"], [], (0,), tmp_path)
    assert [run.config.model.adapter.name for run in small] == [row[0] for row in found]
    assert {run.config.train.steps for run in small} == {240} and {run.config.model.size for run in small} == {"micro"}
