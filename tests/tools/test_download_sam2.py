"""tools/download_sam2.py as a user runs it, from a mirror on this machine."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.places import HANG, ROOT


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "download_sam2.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG)


def test_files_come_from_a_mirror_with_their_checksum(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    for folder, name in (("092824", "sam2.1_hiera_tiny.pt"), ("072824", "sam2_hiera_tiny.pt")):
        (mirror / folder).mkdir(parents=True)
        (mirror / folder / name).write_bytes(name.encode() * 1000)
    handler = partial(Quiet, directory=str(mirror))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        places = ("--output", tmp_path / "weights", "--url-base", f"http://127.0.0.1:{http.server_port}/")
        done = run("sam2.1_hiera_tiny.pt", "sam2_hiera_tiny.pt", *places)
        missing = run("sam2.1_hiera_small.pt", *places)
        http.shutdown()
    assert done.returncode == 0, done.stderr
    for name in ("sam2.1_hiera_tiny.pt", "sam2_hiera_tiny.pt"):
        data = (tmp_path / "weights" / name).read_bytes()
        assert data == name.encode() * 1000
        assert f"{name}: {len(data):,} bytes\nSHA-256 {hashlib.sha256(data).hexdigest()}" in done.stdout
    assert missing.returncode == 2 and "092824/sam2.1_hiera_small.pt: the server says 404" in missing.stderr
    assert missing.stderr.count("\n") == 1
    unknown = run("sam2.1_hiera_larg.pt")
    assert unknown.returncode == 2 and "did you mean 'sam2.1_hiera_large.pt'?" in unknown.stderr
