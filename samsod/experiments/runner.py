"""Makes runs with the real commands, several at once, each going on where it was cut off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from samsod.config import to_yaml
from samsod.engine.checkpoint import newest
from samsod.engine.run_state import read_state
from samsod.experiments.estimate import remaining
from samsod.experiments.plan import Run
from samsod.experiments.processes import Stopped, end_with, stop, stoppable
from samsod.experiments.same_data import data_digest, encoder_digest
from samsod.utils.errors import EXIT_USER_ERROR, UserError
from samsod.utils.files import LOCK, check_writable, locked, write_text
from samsod.utils.machine import cores
from samsod.utils.progress import duration

POLL_SECONDS = 0.5
SAY_SECONDS = 60.0
OUTPUT = "commands.txt"
"""File of a run's folder with all its commands printed."""


@dataclass
class Launcher:
    """How the commands are started.

    Args:
        tools: Folder of train_net.py, test_net.py and bench_model.py.
        jobs: Runs at once.
        ranks: Processes of every run; more than one is started by torchrun.
        gpus: GPUs of this machine, shared out among the jobs; 0 leaves the CPU's cores to be shared out.
    """

    tools: Path
    jobs: int = 1
    ranks: int = 1
    gpus: int = 0

    def stages(self, run: Run) -> Iterator[list[str]]:
        """The commands of a run, each to be asked for when the one before it has succeeded."""
        config = ["--config", str(run.folder / "config.yaml")]
        yield self._command("train_net.py", *config)
        state = read_state(run.folder)
        if state is None or state.state != "finished":  # asked to stop, train_net.py exits with 0 too
            raise Stopped(f"{run.title} was asked to stop by somebody else, and saved")
        checkpoints = run.folder / "checkpoints"
        best = checkpoints / "best.pt"
        checkpoint = best if best.is_file() else newest(checkpoints)
        yield self._command(
            "test_net.py", *config, "--checkpoint", str(checkpoint), "--output", str(run.results.parent)
        )

    def environment(self, slot: int) -> dict[str, str]:
        """A job's share of the machine: its own GPUs, or its part of the cores unless the user has set one."""
        if not self.gpus and "OMP_NUM_THREADS" in os.environ:
            return {}
        if not self.gpus:
            return {"OMP_NUM_THREADS": str(max(cores() // (self.jobs * self.ranks), 1))}
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = given.split(",") if given else [str(i) for i in range(self.gpus)]
        mine = (names[(slot * self.ranks + i) % self.gpus] for i in range(self.ranks))
        return {"CUDA_VISIBLE_DEVICES": ",".join(mine)}

    def _command(self, tool: str, *arguments: str) -> list[str]:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={self.ranks}"]
        return [sys.executable, *(torchrun if self.ranks > 1 else []), str(self.tools / tool), *arguments]


@dataclass
class _Job:
    """A run under way."""

    run: Run
    slot: int
    stages: Iterator[list[str]]
    whole: bool
    started: float = field(default_factory=time.monotonic)
    process: subprocess.Popen[bytes] | None = None
    command: list[str] = field(default_factory=list)


def check_free(runs: Sequence[Run]) -> None:
    """Refuses runs that cannot be made where they belong, or that somebody else makes at the moment.

    Raises:
        UserError: The folder of a run that is not finished cannot be written to, or another process works in it; the
            line names it.
    """
    for folder in (folder for run in runs if not run.finished() for folder in (run.folder, run.results.parent)):
        check_writable(folder)
        if (folder / LOCK).exists():
            with locked(folder):
                pass


def make_runs(runs: Sequence[Run], launcher: Launcher, seconds: dict[str, float]) -> None:
    """Makes all runs that are not finished; says when each starts and ends, and about how long the others take.

    Args:
        runs: The runs, in the order they are started.
        launcher: How their commands are started.
        seconds: About how long a run of each row takes.

    Raises:
        UserError: A command found a mistake of the user's; the runs under way were stopped and saved.
        Stopped: A command failed, or Ctrl-C, SIGTERM or SIGHUP came; likewise.
    """
    waiting = [run for run in runs if not run.finished()]
    active: dict[int, _Job] = {}
    said = time.monotonic()
    with stoppable() as signals:
        try:
            while waiting or active:
                for slot in (slot for slot in range(launcher.jobs) if waiting and slot not in active):
                    active[slot] = _begin(waiting.pop(0), slot, launcher)
                time.sleep(POLL_SECONDS)
                for job in [job for job in active.values() if job.process and job.process.poll() is not None]:
                    _check(job)
                    if not _next_stage(job, launcher):
                        del active[job.slot]
                        took = _finish(job)
                        seconds[job.run.row.name] = took if job.whole else seconds[job.run.row.name]
                        rest = remaining(runs, seconds, launcher.jobs)
                        print(f"finished {job.run.title}; about {duration(rest)} to go", flush=True)
                if time.monotonic() - said > SAY_SECONDS:
                    said = time.monotonic()
                    print("; ".join(f"{job.run.title} {_where(job.run)}" for job in active.values()), flush=True)
        except BaseException:
            stop([job.process for job in active.values() if job.process], signals)
            raise


def measure_costs(runs: Sequence[Run], tools: Path) -> None:
    """Times every row's model once, when nothing else is under way, into `cost.json` beside its runs.

    Raises:
        UserError: The command found a mistake of the user's.
        Stopped: It failed.
    """
    for run in {run.cost: run for run in runs if not run.cost.is_file()}.values():
        print(f"timing the model of {run.row.name}", flush=True)
        config = run.folder / "config.yaml"
        command = [sys.executable, str(tools / "bench_model.py"), "--config", str(config), "--json", "--seconds", "60"]
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=partial(end_with, os.getpid()))
        if done.returncode:
            raise _failure(run.row.name, command, done.returncode, done.stderr.splitlines())
        write_text(run.cost, done.stdout)


def _begin(run: Run, slot: int, launcher: Launcher) -> _Job:
    check_free([run])
    state = run.state()
    run.folder.mkdir(parents=True, exist_ok=True)
    run.finished_mark.unlink(missing_ok=True)
    write_text(run.folder / "config.yaml", to_yaml(run.config))
    write_text(run.data_mark, data_digest(run.config))
    if digest := encoder_digest(run.config):
        write_text(run.encoder_mark, digest)
    (run.folder / OUTPUT).unlink(missing_ok=True)
    print(f"started {run.title} ({state}), see {run.folder / OUTPUT}", flush=True)
    job = _Job(run, slot, launcher.stages(run), whole=state == "new")
    _next_stage(job, launcher)
    return job


def _next_stage(job: _Job, launcher: Launcher) -> bool:
    """Starts the run's next command; false when there is none."""
    command = next(job.stages, None)
    if command is None:
        return False
    job.command = command
    with (job.run.folder / OUTPUT).open("ab") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        # In a session of its own, so that Ctrl-C reaches this process alone, which then asks the runs to save.
        job.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | launcher.environment(job.slot),
            start_new_session=True,
            preexec_fn=partial(end_with, os.getpid()),
        )
    return True


def _check(job: _Job) -> None:
    """Sees how a command ended.

    Raises:
        UserError: It found a mistake of the user's.
        Stopped: It failed.
    """
    assert job.process is not None
    code = job.process.returncode
    if code == 0:
        return
    output = job.run.folder / OUTPUT
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    raise _failure(job.run.title, job.command, code, lines, f" (see {output})")


def _failure(title: str, command: Sequence[str], code: int, lines: Sequence[str], where: str = "") -> Exception:
    """What a command that ended badly has said: a mistake of the user's, or `Stopped`."""
    faults = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if faults and (code == EXIT_USER_ERROR or "torch.distributed.run" in command):
        return UserError(*(f"{title}: {fault}" for fault in faults))
    last = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
    return Stopped(f"{title} ended with {code}: {last}{where}")


def _finish(job: _Job) -> float:
    """Marks the run finished; the seconds it took, which are kept when it ran in one go."""
    seconds = time.monotonic() - job.started
    if job.whole:
        write_text(job.run.folder / "seconds.json", json.dumps({"seconds": seconds}) + "\n")
    write_text(job.run.finished_mark, to_yaml(job.run.config))
    return seconds


def _where(run: Run) -> str:
    """How far a run's training is."""
    state = read_state(run.folder)
    return f"step {state.step} of {state.steps}" if state else "starting"
