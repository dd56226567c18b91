"""The scheduler, with commands that take no time in place of the real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from samsod.experiments.processes import Stopped
from samsod.experiments.runner import Launcher, check_free, make_runs, measure_costs
from samsod.utils.errors import UserError
from samsod.utils.files import locked
from tests.experiments.conftest import Plan
from tests.places import HANG, ROOT

TRAIN = """
import os, pathlib, signal, sys, time
from samsod.engine.run_state import RunState, write_state
folder = pathlib.Path(sys.argv[sys.argv.index("--config") + 1]).parent
(folder / "checkpoints").mkdir(exist_ok=True)
def save(*_):
    (folder / "checkpoints" / "step_00000001.pt").write_text("cut off")
    write_state(folder, RunState("stopped", 1, 2))
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
with (folder.parents[1] / "calls.txt").open("a") as calls: calls.write(f"{folder.parent.name}\\n")
{body}
(folder / "checkpoints" / "step_00000002.pt").write_text("done")
write_state(folder, RunState("finished", 2, 2))
"""
TEST = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
folder.mkdir(exist_ok=True)
checkpoint = pathlib.Path(sys.argv[sys.argv.index("--checkpoint") + 1])
(folder / "results.json").write_text(json.dumps({"pairs": {"S": 0.5, "images": 1, "from": checkpoint.name}}))
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samsod.experiments.runner.POLL_SECONDS", 0.02)


def launcher(tmp_path: Path, body: str = "", jobs: int = 1, **settings: object) -> Launcher:
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "train_net.py").write_text(TRAIN.replace("{body}", body))
    (tools / "test_net.py").write_text(TEST)
    (tools / "bench_model.py").write_text("print('{\"fps\": 3}')")
    return Launcher(tools, jobs, **settings)  # type: ignore[arg-type]


def calls(tmp_path: Path) -> list[str]:
    path = tmp_path / "runs" / "calls.txt"
    return path.read_text().split() if path.is_file() else []


def test_finished_runs_are_skipped(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = plan(seeds=(0, 1))
    make_runs(runs[:3], launcher(tmp_path), {"plain": 1.0, "split": 1.0})
    assert all(run.finished() for run in runs[:3]) and calls(tmp_path) == ["plain", "split", "plain"]
    make_runs(runs, launcher(tmp_path), {"plain": 1.0, "split": 1.0})
    assert runs[3].finished() and calls(tmp_path) == ["plain", "split", "plain", "split"]
    said = capsys.readouterr().out
    assert said.count("finished split seed 1; about 0:00:00 to go") == 1
    results = json.loads(runs[3].results.read_text())
    assert results["pairs"]["from"] == "step_00000002.pt"


def test_the_best_checkpoint_is_tested_when_there_is_one(plan: Plan, tmp_path: Path) -> None:
    run = plan()[0]
    body = '(folder / "checkpoints" / "best.pt").write_text("best")'
    make_runs([run], launcher(tmp_path, body), {"plain": 1.0})
    assert json.loads(run.results.read_text())["pairs"]["from"] == "best.pt"


def test_cost_is_measured_once_a_row(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = plan(seeds=(0, 1))
    for run in runs:
        run.folder.mkdir(parents=True)
    measure_costs(runs, launcher(tmp_path).tools)
    assert json.loads(runs[0].cost.read_text()) == {"fps": 3}
    assert capsys.readouterr().out.count("timing") == 2
    measure_costs(runs, tmp_path / "no tools any more")


def test_a_cost_that_cannot_be_measured_is_told_as_of_a_run(plan: Plan, tmp_path: Path) -> None:
    (run, _) = runs = plan()
    tools = launcher(tmp_path).tools
    (tools / "bench_model.py").write_text("raise SystemExit(1)")
    with pytest.raises(Stopped, match=r"^plain ended with 1: it printed nothing$"):
        measure_costs(runs, tools)
    (tools / "bench_model.py").write_text("import sys\nsys.stderr.write('error: a\\nerror: b\\n')\nsys.exit(2)")
    with pytest.raises(UserError, match=r"^plain: a\nplain: b$"):
        measure_costs(runs, tools)
    assert not run.cost.exists()


# One after the other they would never end.
UNTIL_BOTH_HAVE_BEGUN = f"""
file, end = folder.parents[1] / 'calls.txt', time.monotonic() + {HANG}
while len(file.read_text().split()) < 2:
    time.sleep(0.02)
    assert time.monotonic() < end, 'the other run never began'
"""


def test_jobs_run_at_once(plan: Plan, tmp_path: Path) -> None:
    runs = plan()
    make_runs(runs, launcher(tmp_path, UNTIL_BOTH_HAVE_BEGUN, jobs=2), {"plain": 1.0, "split": 1.0})
    assert all(run.finished() for run in runs)


def test_a_users_mistake_ends_it_and_stops_the_others(plan: Plan, tmp_path: Path) -> None:
    body = "\n".join(
        [
            UNTIL_BOTH_HAVE_BEGUN,
            "if folder.parent.name == 'plain':",
            "    sys.stderr.write('error: RGB/7.png: no such file\\n')",
            "    sys.exit(2)",
            f"time.sleep({HANG})",
        ]
    )
    runs = plan(seeds=(0, 1))
    with pytest.raises(UserError, match=r"^plain seed 0: RGB/7\.png: no such file$"):
        make_runs(runs, launcher(tmp_path, body, jobs=2), {"plain": 1.0, "split": 1.0})
    assert sorted(calls(tmp_path)) == ["plain", "split"]  # none of the other seed was begun
    assert runs[1].state() == "goes on from step 1" and not runs[0].finished()


def test_a_crash_is_told_with_its_last_line(plan: Plan, tmp_path: Path) -> None:
    body = "raise FloatingPointError('step 3: not finite')"
    with pytest.raises(Stopped, match=r"plain seed 0 ended with 1: FloatingPointError: step 3.*commands\.txt"):
        make_runs(plan(), launcher(tmp_path, body), {"plain": 1.0, "split": 1.0})


def signal_soon(begun: Path, *numbers: signal.Signals) -> None:
    """Sends this process signals once a run has written a file."""

    def wait_and_send() -> None:
        end = time.monotonic() + HANG
        while not begun.exists():
            if time.monotonic() > end:
                return  # the test has failed; a signal now would reach another one
            time.sleep(0.02)
        for number in numbers:
            os.kill(os.getpid(), number)

    threading.Thread(target=wait_and_send).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_the_same_call_goes_on(plan: Plan, tmp_path: Path, number: signal.Signals) -> None:
    runs = plan()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it is ignored where the tests run under nohup
    signal_soon(tmp_path / "runs" / "calls.txt", number)
    with pytest.raises(Stopped):
        make_runs(runs, launcher(tmp_path, f"time.sleep({HANG})"), {"plain": 1.0, "split": 1.0})
    signal.signal(signal.SIGHUP, before)
    assert [run.state() for run in runs] == ["goes on from step 1", "new"]
    make_runs(runs, launcher(tmp_path), {"plain": 1.0, "split": 1.0})
    assert all(run.finished() for run in runs)
    # The time of the second part alone would be a bad guess for the next seed.
    assert not (runs[0].folder / "seconds.json").exists() and (runs[1].folder / "seconds.json").exists()


def is_there(process: int) -> bool:
    path = Path(f"/proc/{process}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


STUBBORN = """
import subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
(folder / "processes").write_text(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_second_signal_ends_at_once(plan: Plan, tmp_path: Path) -> None:
    (run, _) = runs = plan()
    signal_soon(run.folder / "processes", signal.SIGTERM, signal.SIGINT)
    with pytest.raises(Stopped):
        make_runs(runs, launcher(tmp_path, STUBBORN), {"plain": 1.0, "split": 1.0})
    processes = [int(word) for word in (run.folder / "processes").read_text().split()]
    end = time.monotonic() + HANG
    while any(map(is_there, processes)):  # torchrun's ranks, in groups of their own, end too
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_made_by_another_process_is_named_before_anything_starts(plan: Plan, tmp_path: Path) -> None:
    runs = plan()
    check_free(runs)
    assert not runs[0].folder.exists()
    runs[1].folder.parent.mkdir(parents=True)
    runs[1].folder.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"split/seed0: is a link to .*nowhere, which is not there"):
        check_free(runs)
    runs[1].folder.unlink()
    runs[0].folder.mkdir(parents=True)
    with locked(runs[0].folder):
        named = rf"plain/seed0: process {os.getpid()} on .* is working in it"
        with pytest.raises(UserError, match=named):
            check_free(runs)
        with pytest.raises(UserError, match=named):
            make_runs(runs, launcher(tmp_path), {"plain": 1.0, "split": 1.0})
        assert not (runs[0].folder / "config.yaml").exists()
        check_free(runs[1:])
    with locked(runs[1].results.parent), pytest.raises(UserError, match=r"split/seed0/test: process"):
        check_free(runs)
    make_runs(runs, launcher(tmp_path), {"plain": 1.0, "split": 1.0})
    with locked(runs[0].folder):  # its checkpoint is being looked at; there is nothing left to do in it
        check_free(runs)


DRIVER = """
import sys
from pathlib import Path
from samsod.experiments.plan import plan_runs
from samsod.experiments.runner import Launcher, make_runs
from samsod.experiments.table import read_table
table, tools, output = map(Path, sys.argv[1:])
make_runs(plan_runs(read_table(table), table, [], [], [0], output), Launcher(tools), {"plain": 1.0, "split": 1.0})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the run goes on")
def test_runs_end_when_the_runner_is_killed(plan: Plan, tmp_path: Path, table_file: Path) -> None:
    tools = launcher(tmp_path, "time.sleep(600)").tools
    runner = subprocess.Popen([sys.executable, "-c", DRIVER, table_file, tools, tmp_path / "runs"], cwd=ROOT)
    end = time.monotonic() + HANG
    while not calls(tmp_path):
        assert runner.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    runner.kill()
    runner.wait()
    while plan()[0].state() != "goes on from step 1":  # asked to save, as by any other signal
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_run_stopped_by_somebody_else_is_not_finished(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="plain seed 0 was asked to stop"):
        make_runs(plan(), launcher(tmp_path, "save()"), {"plain": 1.0, "split": 1.0})
    assert plan()[0].state() == "goes on from step 1" and not plan()[0].results.exists()


def test_shares_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert launcher(tmp_path).environment(0) == {}  # the user's own number stays
    monkeypatch.delenv("OMP_NUM_THREADS")
    cores = len(os.sched_getaffinity(0))
    assert launcher(tmp_path, jobs=cores).environment(0) == {"OMP_NUM_THREADS": "1"}
    pair = launcher(tmp_path, jobs=2, ranks=2, gpus=4)
    assert [pair.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["0,1", "2,3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    assert launcher(tmp_path, jobs=2, gpus=2).environment(1) == {"CUDA_VISIBLE_DEVICES": "7"}
