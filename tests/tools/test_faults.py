"""What happens to runs: kills, preemption, restarts, full disks, dead loader processes."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from samsod.engine.checkpoint import load_checkpoint
from samsod.engine.run_state import RunState, read_state
from samsod.utils.distributed import free_port
from tests.conftest import write_pairs
from tests.forking import Process, start_script
from tests.places import HANG, ROOT
from tests.tools.test_commands import MICRO

STEPS = 20


def arguments(output: Path, pairs: Path, *overrides: str) -> list[str]:
    data = f"data.train=[{{family: folders, root: {pairs}}}]"
    settings = [f"train.steps={STEPS}", "train.batch_size=4", "train.log_every=1", "train.keep=50", *overrides]
    return [
        str(ROOT / "tools" / "train_net.py"),
        "--config",
        "configs/tiny.yaml",
        *MICRO,
        data,
        f"output={output}",
        *settings,
    ]


def torchrun(*options: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", *options]


Running = subprocess.Popen[str] | Process


def start(command: list[str]) -> Running:
    """A script with its arguments, or torchrun with those of a script, in a session of its own."""
    if command[0] != sys.executable:
        return start_script(Path(command[0]), *command[1:], own_session=True)
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, cwd=ROOT, env=variables, start_new_session=True, **pipes)  # type: ignore[call-overload]


def finish(process: Running, timeout: float = HANG) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; a hang is a failure."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode is not None
    return process.returncode, out, err


def wait_for(condition: Path, process: Running, timeout: float = HANG) -> None:
    deadline = time.monotonic() + timeout
    while not condition.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{condition} did not appear"
        time.sleep(0.01)


def last(output: Path) -> Path:
    return output / "checkpoints" / f"step_{STEPS:08d}.pt"


def same_training(first: Path, second: Path) -> bool:
    """Bitwise: weights, optimizer state, best metric."""
    a, b = load_checkpoint(first), load_checkpoint(second)
    weights = all(torch.equal(a["model"][key], b["model"][key]) for key in a["model"])
    states = [content["optimizer"]["state"] for content in (a, b)]
    moments = all(torch.equal(states[0][i][key], states[1][i][key]) for i in states[0] for key in states[0][i])
    return weights and moments and (a["best"], a["best_step"]) == (b["best"], b["best_step"])


CUT = ["train.checkpoint_steps=7", "data.workers=1", "data.holdout=0.2"]


def launcher_of(ranks: int, *options: str) -> list[str]:
    return [] if ranks == 1 else torchrun("--standalone", f"--nproc_per_node={ranks}", *options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The last checkpoint of a run on so many ranks that nothing happened to."""

    @functools.cache
    def make(ranks: int) -> Path:
        folder = tmp_path_factory.mktemp("whole")
        pairs = write_pairs(folder / "pairs", 12, seed=0)
        code, _, err = finish(start([*launcher_of(ranks), *arguments(folder / "run", pairs, *CUT)]))
        assert code == 0, err
        return last(folder / "run")

    return make


@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_at_step_7_and_resumed_is_bitwise_the_plain_run(
    tmp_path: Path, pairs_folder: Path, whole: Callable[[int], Path], ranks: int
) -> None:
    launcher, settings = launcher_of(ranks), CUT
    cut = start([*launcher, *arguments(tmp_path / "cut", pairs_folder, *settings)])
    wait_for(tmp_path / "cut" / "checkpoints" / "step_00000007.pt", cut)
    os.killpg(cut.pid, signal.SIGKILL)
    finish(cut)
    for path in (tmp_path / "cut" / "checkpoints").glob("step_*"):
        if path.name != "step_00000007.pt":  # as if it had been killed right at step 7, however fast it ran on
            path.unlink()
    code, out, err = finish(start([*launcher, *arguments(tmp_path / "cut", pairs_folder, *settings)]))
    assert code == 0, err
    assert "at step 7" in out
    assert same_training(whole(ranks), last(tmp_path / "cut"))
    rows = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, STEPS + 1))


def test_another_world_size_resumes_and_says_so(tmp_path: Path, pairs_folder: Path) -> None:
    first = arguments(tmp_path / "run", pairs_folder, "train.steps=3")
    assert finish(start(first))[0] == 0
    second = arguments(tmp_path / "run", pairs_folder, "train.steps=5")
    code, out, err = finish(start([*torchrun("--standalone", "--nproc_per_node=2"), *second]))
    assert code == 0, err
    assert "at step 3 (2 ranks instead of 1" in out


LONG = ["train.steps=100000", "train.checkpoint_every=100000", "data.holdout=0", "train.eval_every=0"]


def check_stopped(output: Path) -> int:
    """That a run saved the step it was asked to stop in, and says so; the step."""
    (saved,) = (output / "checkpoints").glob("step_*.pt")
    rows = (output / "metrics.jsonl").read_text().splitlines()
    step = json.loads(rows[-1])["step"]
    assert load_checkpoint(saved)["step"] == step
    assert "asked to stop, saved at step" in (output / "log.txt").read_text()
    assert read_state(output) == RunState("stopped", step, 100000)
    return int(step)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_process_group_saves_and_exits_0(
    tmp_path: Path, pairs_folder: Path, number: signal.Signals
) -> None:
    """As of Ctrl-C on a terminal, or of a cluster: the loader processes hear it too, and must not die before."""
    process = start(arguments(tmp_path / "run", pairs_folder, *LONG, "data.workers=2"))
    wait_for(tmp_path / "run" / "metrics.jsonl", process)
    os.killpg(process.pid, number)
    code, out, err = finish(process)
    assert (code, err) == (0, "asked to stop: saves first, once this step is done; again: at once\n"), out
    check_stopped(tmp_path / "run")


def test_sigterm_to_torchrun_saves_on_all_ranks(tmp_path: Path, pairs_folder: Path) -> None:
    launcher = torchrun("--standalone", "--nproc_per_node=2")
    process = start([*launcher, *arguments(tmp_path / "run", pairs_folder, *LONG, "data.workers=1")])
    wait_for(tmp_path / "run" / "metrics.jsonl", process)
    process.send_signal(signal.SIGTERM)
    finish(process)  # torchrun itself ends with the signal it was sent
    check_stopped(tmp_path / "run")


def test_a_second_signal_ends_a_run_at_once_wherever_it_is(tmp_path: Path, pairs_folder: Path) -> None:
    """Here in a step that never ends, as of a rank that waits for one that is gone."""
    stuck = tmp_path / "stuck.py"
    stuck.write_text(
        "import ctypes, pathlib\n"
        "from samsod.engine.trainer import Trainer\n"
        "def train_step(self, batch):\n"
        f"    pathlib.Path({str(tmp_path / 'in_step')!r}).touch()\n"
        "    while True: ctypes.PyDLL(None).sleep(1000)\n"  # in C, and holding the interpreter
        "Trainer.train_step = train_step\n"
    )
    script, *rest = arguments(tmp_path / "run", pairs_folder, *LONG, f"imports=[{stuck}]")
    process = start_script(Path(script), *rest, own_session=True)
    wait_for(tmp_path / "in_step", process)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + HANG
    while "asked to stop" not in process.told():  # until then the system takes a second one for the first
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == -signal.SIGTERM


def test_two_runs_in_one_folder_are_refused_in_one_line(tmp_path: Path, pairs_folder: Path) -> None:
    first = start(arguments(tmp_path / "run", pairs_folder, *LONG))
    wait_for(tmp_path / "run" / "metrics.jsonl", first)
    code, _, err = finish(start(arguments(tmp_path / "run", pairs_folder, *LONG)))
    (line,) = err.splitlines()
    assert code == 2 and f"process {first.pid} on" in line and "is working in it" in line
    first.send_signal(signal.SIGINT)
    assert finish(first)[0] == 0


def test_torchrun_restarts_after_a_killed_rank_and_ends_at_the_same_weights(
    tmp_path: Path, pairs_folder: Path, whole: Callable[[int], Path]
) -> None:
    launcher, settings = launcher_of(2, "--max-restarts=2"), CUT
    suicidal = tmp_path / "suicidal.py"
    suicidal.write_text(
        "import os, signal\n"
        "from samsod.engine.trainer import Trainer\n"
        "original = Trainer.train_step\n"
        "def train_step(self, batch):\n"
        "    if self.step == 12 and os.environ['RANK'] == '1' and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return original(self, batch)\n"
        "Trainer.train_step = train_step\n"
    )
    command = [*launcher, *arguments(tmp_path / "cut", pairs_folder, *settings, f"imports=[{suicidal}]")]
    code, out, err = finish(start(command))
    assert code == 0, err
    assert "resumed from" in out
    assert same_training(whole(2), last(tmp_path / "cut"))


def test_two_machines_meet_and_train_as_one_process(tmp_path: Path, pairs_folder: Path) -> None:
    """Two torchrun agents on loopback, started as on two hosts."""
    meeting = ["--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{free_port()}", "--rdzv_id=42"]
    settings = ["train.steps=4", "train.lr=1e-4"]
    command = [
        *torchrun("--nnodes=2", "--nproc_per_node=1", *meeting),
        *arguments(tmp_path / "two", pairs_folder, *settings),
    ]
    agents = [start(command) for _ in range(2)]
    for code, _, err in [finish(agent) for agent in agents]:
        assert code == 0, err
    assert "on 2 x cpu" in (tmp_path / "two" / "log.txt").read_text()
    assert finish(start(arguments(tmp_path / "one", pairs_folder, *settings)))[0] == 0
    one, two = (
        load_checkpoint(tmp_path / name / "checkpoints" / "step_00000004.pt")["model"] for name in ("one", "two")
    )
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-6)


def test_a_dead_loader_process_is_named_and_nothing_hangs(tmp_path: Path, pairs_folder: Path) -> None:
    deadly = tmp_path / "deadly.py"
    deadly.write_text(
        "import os, signal\n"
        "from samsod.data.dataset import PairDataset\n"
        "original = PairDataset.__getitem__\n"
        "def get(self, key):\n"
        "    if getattr(key, 'epoch', 0) == 2:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return original(self, key)\n"
        "PairDataset.__getitem__ = get\n"
    )
    command = arguments(tmp_path / "run", pairs_folder, "data.workers=1", f"imports=[{deadly}]")
    code, _, err = finish(start(command))
    assert code == 1
    assert "DataLoader worker" in err and "killed by signal" in err


def test_a_sample_that_goes_bad_in_epoch_3_is_named(tmp_path: Path, pairs_folder: Path) -> None:
    settings = ["data.workers=1", "train.steps=100000", "train.checkpoint_steps=5", "train.keep=1", "data.holdout=0"]
    process = start(arguments(tmp_path / "run", pairs_folder, *settings))
    wait_for(tmp_path / "run" / "checkpoints" / "step_00000005.pt", process)
    (pairs_folder / "T" / "004.png").write_bytes(b"")
    code, _, err = finish(process)
    assert code == 2
    (line,) = err.splitlines()
    assert "T/004.png" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_named_and_the_previous_checkpoint_intact(tmp_path: Path, pairs_folder: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        command = arguments(
            disk / "run", pairs_folder, "train.checkpoint_steps=2", "data.holdout=0", "train.eval_every=0"
        )
        code, _, err = finish(start(command))
        assert code == 1
        assert "No space left" in err and "step_" in err and "is intact" in err
        kept = sorted((disk / "run" / "checkpoints").iterdir())
        assert kept and all(load_checkpoint(path)["step"] == int(path.stem[5:]) for path in kept)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_sigkill_at_30_random_moments(tmp_path: Path, pairs_folder: Path) -> None:
    """A checkpoint is saved at every step, so that many kills fall into a save."""
    settings = ["train.steps=400", "train.checkpoint_steps=1", "train.keep=3", "data.holdout=0", "train.eval_every=0"]
    command = arguments(tmp_path / "run", pairs_folder, *settings)
    generator, reached = random.Random(0), 0
    for _ in range(30):
        process = start(command)
        wait_for(tmp_path / "run" / "metrics.jsonl", process)
        time.sleep(3 + generator.random() * 2)
        os.killpg(process.pid, signal.SIGKILL)
        _, out, err = finish(process)
        assert "Traceback" not in err and "error" not in err, err
        steps = [load_checkpoint(path)["step"] for path in (tmp_path / "run" / "checkpoints").glob("step_*.pt")]
        assert not steps or max(steps) >= reached
        assert reached == 0 or f"at step {reached}" in out or not out
        reached = max(steps, default=reached)
    assert reached > 30
