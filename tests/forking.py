"""Commands, and ranks of a process group, as processes forked from one that has imported PyTorch already.

To start Python and import PyTorch takes two seconds of a core and 150 MB each time, most of what a small command costs.
Only what others wrote is imported ahead: samsod's own modules every process imports itself, in its own order, as a
command does. What depends on how Python itself starts or ends is for `subprocess`: its variables, pipes, torchrun.
"""

from __future__ import annotations

import functools
import importlib
import os
import pickle
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from tests.places import HANG, ROOT

AHEAD = (
    "cv2",
    "fvcore.nn",
    "numpy",
    "pytest",
    "sam2.modeling.backbones.hieradet",
    "sam2.modeling.backbones.image_encoder",
    "sam2.modeling.sam.mask_decoder",
    "sam2.modeling.sam.prompt_encoder",
    "torch",
    "yaml",
)


class Job(NamedTuple):
    """What a forked process is to do, and where."""

    work: bytes
    """pickled, because what it names is to be imported by that process alone"""
    folder: str
    environment: dict[str, str]
    own_session: bool


class Process:
    """A forked process; of `subprocess.Popen` what tests need.

    Args:
        work: What it does; its exit code is that of a script that does it.
        environment: Variables on top of this process's.
        own_session: Whether it leads a session, and so a group of processes, of its own.
    """

    def __init__(
        self, work: Callable[[], object], environment: Mapping[str, str] | None = None, own_session: bool = False
    ) -> None:
        self._out, self._err = (tempfile.TemporaryFile("a+") for _ in range(2))  # noqa: SIM115  closed with this object
        self.channel, theirs = Pipe()
        with theirs:
            socket.send_fds(_server(), [b"!"], [theirs.fileno(), self._out.fileno(), self._err.fileno()])
        self.channel.send(Job(pickle.dumps(work), str(ROOT), {**os.environ, **(environment or {})}, own_session))
        self.pid: int = self.channel.recv()
        self.returncode: int | None = None

    def poll(self, timeout: float = 0.0) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None and self.channel.poll(timeout):
            self.returncode = self.channel.recv()
        return self.returncode

    def communicate(self, timeout: float = HANG) -> tuple[str, str]:
        """Waits for the end: what was printed on stdout and on stderr."""
        if self.poll(timeout) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        self._out.seek(0)
        return self._out.read(), self.told()

    def told(self) -> str:
        """What was printed on stderr until now."""
        self._err.seek(0)
        return self._err.read()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start_script(path: Path, *arguments: object, own_session: bool = False) -> Process:
    """A script of this repository as `python path argument ...`, in the repository's folder."""
    return Process(functools.partial(_run_script, str(path), list(map(str, arguments))), own_session=own_session)


def run_script(path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The same, waited for."""
    process = start_script(path, *arguments)
    try:
        out, err = process.communicate()
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess([str(path), *map(str, arguments)], process.poll() or 0, out, err)


def _run_script(path: str, arguments: list[str]) -> None:
    sys.argv = [path, *arguments]
    sys.path[0] = os.path.dirname(path)
    runpy.run_path(path, run_name="__main__")


@functools.cache
def _server() -> socket.socket:
    """The socket of the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair()
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.forking import serve; serve({theirs.fileno()})()"
    with theirs:
        subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd=ROOT)
    return ours


def serve(descriptor: int) -> Callable[[], object]:
    """Forks until the socket's other end is closed; returns in each process, with what that is to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, and for what it started
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are not waited for
    for name in AHEAD:
        importlib.import_module(name)
    with socket.socket(fileno=descriptor) as requests:
        while True:
            _, received, *_ = socket.recv_fds(requests, 1, 3)
            if not received:
                sys.exit()
            if os.fork() == 0:
                break
            for each in received:
                os.close(each)
    return _keep(Connection(received[0]), *received[1:])


def _keep(channel: Connection, out: int, err: int) -> Callable[[], object]:
    """Forks the process, tells its id and its exit code, and ends; returns in that process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    job: Job = channel.recv()
    if pid := os.fork():
        channel.send(pid)
        channel.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os._exit(0)
    channel.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if job.own_session:
        os.setsid()
    for descriptor, place in ((out, 1), (err, 2)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.chdir(job.folder)
    os.environ.clear()
    os.environ.update(job.environment)
    sys.modules["numpy"].random.seed()  # or all would draw alike
    work: Callable[[], object] = pickle.loads(job.work)
    return work
