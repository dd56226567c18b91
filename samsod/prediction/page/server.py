"""Serves the page to try a model: the standard library's server, one page, and what it asks for as JSON.

Only its own page is answered: a web site elsewhere could make a visitor's browser ask here, by a name of its own that
leads to 127.0.0.1 (DNS rebinding) or across sites; so the name in the Host header is checked, and the Origin.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import ipaddress
import json
import re
import socket
import sys
import threading
import traceback
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from samsod.prediction.page.demo import Demo, Refusal
from samsod.utils.errors import Failure, UserError, shown

PAGE = Path(__file__).with_name("page.html")
WAITING = 8
"""Predictions that are answered or wait for their turn at once; more are told to come again."""
PATIENCE = 30.0
"""Seconds that a browser may be silent in the middle of a request."""
_EXAMPLE = re.compile(r"/examples/(\d{1,6})/([^/?]{1,100})")
_DISCARDED = 4
"""Times the limit of what is read of a request that is refused; see `_discard`."""


class PageServer(ThreadingHTTPServer):
    """The server, which listens from when it is made; `serve_forever` answers.

    Args:
        demo: The model.
        host: Where it listens: a name or address of this machine.
        port: The port; 0: any that is free.

    Attributes:
        url: Where the page is.

    Raises:
        UserError: It cannot listen there.
    """

    daemon_threads = True

    def __init__(self, demo: Demo, host: str = "127.0.0.1", port: int = 8000) -> None:
        self.demo = demo
        self.slots = threading.BoundedSemaphore(WAITING)
        # An image for each modality, a third longer in base64, and some room for their names.
        self.limit = len(demo.predictor.modalities) * (demo.limit * 4 // 3 + 1000) + 10_000
        self.page, self.policy = _page(demo)
        try:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            super().__init__((host, port), _Handler)
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened at: {error.strerror}"
            raise UserError(f"port {port} of {host} {reason}; choose another with --port or --host") from None
        self.names = {"localhost", host.lower(), socket.gethostname().lower()}
        name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        shown_host = f"[{name}]" if ":" in name else name
        self.url = f"http://{shown_host}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """Binds without looking up the machine's name, which may take long where no name server answers."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no fault."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def is_own(self, netloc: str | None) -> bool:
        """Whether a Host names this machine: by a known name, or by an address, which no name server can give away."""
        try:
            host = urlsplit(f"//{netloc or ''}").hostname or ""
        except ValueError:
            return False
        try:
            return bool(ipaddress.ip_address(host))
        except ValueError:
            return host in self.names


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "samsod", ""
    timeout = PATIENCE
    _unread = 0

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        text = self.headers.get("Content-Length", "")
        self._unread = int(text) if text.isdecimal() and len(text) < 16 else 0
        self._answered(self._post)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.close_connection = True
        self._say(code, {"error": shown(message or HTTPStatus(code).phrase)})

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answered(self, answer: Any) -> None:
        """Answers, or says in a sentence why not."""
        try:
            self._check_origin()
            answer()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Refusal as error:
            self._discard()
            self.send_error(error.status, str(error))
        except UserError as error:
            self._say(400, {"error": str(error)})
        except Failure as error:
            self._say(500, {"error": str(error)})
        except Exception:
            traceback.print_exc()
            self.send_error(500, "the prediction failed; the server's terminal says more")

    def _check_origin(self) -> None:
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        if not self.server.is_own(host):
            raise Refusal(403, f"this server is not called {shown(host or 'so')}; open {self.server.url}")
        if origin and urlsplit(origin).netloc != host:
            raise Refusal(403, "another site's page may not ask this server")

    def _get(self) -> None:
        path = urlsplit(self.path).path
        if path == "/":
            self._send(200, self.server.page, "text/html; charset=utf-8")
        elif found := _EXAMPLE.fullmatch(path):
            self._send(200, self.server.demo.thumbnail(int(found[1]), unquote(found[2])), "image/jpeg")
        else:
            raise Refusal(404, f"there is nothing at {shown(path)}")

    def _post(self) -> None:
        if urlsplit(self.path).path != "/predict":
            raise Refusal(404, f"there is nothing at {shown(self.path)}")
        if self.headers.get_content_type() != "application/json":  # which no other site can send without asking first
            raise Refusal(415, "expected application/json")
        if not self.server.slots.acquire(blocking=False):
            raise Refusal(503, "too many predictions are wanted at once; try again in a moment")
        try:
            body = self._body()
            try:
                wanted = json.loads(body)
            except (ValueError, RecursionError):
                raise Refusal(400, "expected JSON") from None
            del body
            self._say(200, self.server.demo.predict(wanted))
        finally:
            self.server.slots.release()

    def _body(self) -> bytes:
        length = self._unread
        if not length:
            raise Refusal(411, "expected a Content-Length")
        if length > self.server.limit:
            raise Refusal(413, f"the images are too large: at most {self.server.demo.limit / 2**20:.4g} MiB each")
        self._unread = 0
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError
        return body

    def _discard(self) -> None:
        """Reads what was not read of a request: many browsers see no answer before they have sent all of theirs."""
        left, self._unread = min(self._unread, _DISCARDED * self.server.limit), 0
        with suppress(OSError):
            while left > 0 and (piece := self.rfile.read(min(left, 1 << 16))):
                left -= len(piece)

    def _say(self, status: int, content: dict[str, Any]) -> None:
        self._send(status, json.dumps(content).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Content-Security-Policy": self.server.policy,
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            **({"Connection": "close"} if self.close_connection else {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _page(demo: Demo) -> tuple[bytes, str]:
    """The page with the model's settings in it, and the policy that lets it run its own script and nothing else."""
    text = PAGE.read_text(encoding="utf-8")
    script, style = (re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("script", "style"))
    assert script and style
    policy = (
        "default-src 'none'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors 'none'; script-src {_hash(script[1])}; style-src {_hash(style[1])}"
    )
    settings = json.dumps(demo.settings()).replace("<", "\\u003c")  # nothing in it ends the element
    return text.replace("{settings}", settings).encode(), policy


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
