"""Downloads from a server on this machine, which cuts off, changes its mind and tells lies."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from samsod.utils import download as module
from samsod.utils.download import download
from samsod.utils.errors import Failure, UserError

CONTENT = bytes(range(256)) * 4000


@dataclass
class Server:
    """What the server does; `asked` is what it was asked for."""

    url: str = ""
    content: bytes = CONTENT
    tag: str = '"one"'
    ranges: bool = True
    cut: int = 0
    status: int = 200
    says_length: bool = True
    extent: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted, condition = self.headers.get("Range", ""), self.headers.get("If-Range", "")
            state.asked.append((wanted, condition))
            if state.status != 200:
                return self.send_error(state.status)
            start = int(re.findall(r"\d+", wanted)[0]) if wanted and state.ranges and condition == state.tag else 0
            if start >= len(state.content):
                return self.send_error(416)
            body, total = state.content[start:], len(state.content)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", state.extent or f"bytes {start}-{total - 1}/{total}")
            if state.says_length:
                self.send_header("Content-Length", str(len(body)))
            if state.tag:
                self.send_header("ETag", state.tag)
            self.end_headers()
            self.wfile.write(body[: state.cut] if state.cut else body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_port}/weights.pt"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def cut_off(server: Server, path: Path, after: int = 300_000) -> None:
    server.cut = after
    with pytest.raises(Failure, match=rf"cut off after {after:,} of {len(server.content):,} bytes; the same command"):
        download(server.url, path)
    assert names(path.parent) == {"weights.pt.partial", "weights.pt.partial.from"}
    server.cut = 0


def test_a_download_is_whole_under_its_name(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.pt"
    download(server.url, path)
    assert path.read_bytes() == CONTENT and names(path.parent) == {"weights.pt"}
    with pytest.raises(UserError, match="exists"):
        download(server.url, path)


def test_it_goes_on_where_it_was_cut_off_again_and_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    cut_off(server, path)
    server.cut = 200_000
    with pytest.raises(Failure, match="cut off after 500,000"):
        download(server.url, path)
    server.cut = 0
    download(server.url, path)
    assert path.read_bytes() == CONTENT and names(tmp_path) == {"weights.pt"}
    assert server.asked == [("", ""), ("bytes=300000-", '"one"'), ("bytes=500000-", '"one"')]


def test_a_server_without_ranges_sends_it_anew(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    cut_off(server, tmp_path / "weights.pt")
    download(server.url, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("tag", ['"two"', '"one"'])
def test_another_file_by_now_is_not_mixed_with_the_old_one(server: Server, tmp_path: Path, tag: str) -> None:
    """Told by its tag; or, when the server does not change that, by its length."""
    cut_off(server, tmp_path / "weights.pt")
    server.content, server.tag = CONTENT[::-1] + b"more", tag
    download(server.url, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == server.content


def test_a_shorter_file_by_now_is_taken_from_the_start(server: Server, tmp_path: Path) -> None:
    cut_off(server, tmp_path / "weights.pt")
    server.content = b"short"
    download(server.url, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == b"short"


def test_without_a_tag_nothing_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.tag = ""
    cut_off(server, tmp_path / "weights.pt")
    download(server.url, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT and server.asked[-1] == ("", "")


def test_killed_before_it_got_its_name_nothing_is_asked_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pt.partial").write_bytes(CONTENT)
    (tmp_path / "weights.pt.partial.from").write_text(f'{len(CONTENT)} "one"')
    download(server.url, tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT and not server.asked


@pytest.mark.parametrize(("status", "kind"), [(404, UserError), (403, UserError), (500, Failure), (503, Failure)])
def test_what_the_server_refuses_is_one_line(
    server: Server, tmp_path: Path, status: int, kind: type[Exception]
) -> None:
    server.status = status
    with pytest.raises(kind, match=rf"weights\.pt: the server says {status}"):
        download(server.url, tmp_path / "weights.pt")
    assert not names(tmp_path)


def test_lengths_that_cannot_be_are_refused(server: Server, tmp_path: Path) -> None:
    cut_off(server, tmp_path / "weights.pt")
    server.extent = "bytes 0-9/10"
    with pytest.raises(Failure, match="does not say how long"):
        download(server.url, tmp_path / "weights.pt")
    server.extent, server.says_length, server.tag = "", False, '"other"'
    with pytest.raises(Failure, match="does not say how long"):
        download(server.url, tmp_path / "weights.pt")
    assert "weights.pt" not in names(tmp_path)


def test_no_server_and_no_url(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="cannot be reached"):
        download("http://127.0.0.1:9/x", tmp_path / "x")
    with pytest.raises(UserError, match="weights"):
        download("weights", tmp_path / "x")
    assert not names(tmp_path)


def test_two_processes_do_not_write_one_file(server: Server, tmp_path: Path) -> None:
    with module._held(tmp_path / "weights.pt.partial"), pytest.raises(UserError, match="another process"):
        download(server.url, tmp_path / "weights.pt")
