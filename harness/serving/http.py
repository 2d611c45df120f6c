"""The HTTP side: routes, JSON, server-sent events, and an end that finishes what is being decoded. Standard library only.

Not covered: TLS and authentication; put a proxy before it where others can reach the port.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .answer import Kind
from .errors import ApiError
from .service import Service

MAX_BODY = 32 * 1024 * 1024
_KINDS: dict[str, Kind] = {"/v1/chat/completions": "chat", "/v1/completions": "completion"}


class Server(ThreadingHTTPServer):
    """Serves a service on an address. `port` 0 takes a free one. Raises OSError when the address is taken."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, service: Service) -> None:
        self.service = service
        self._answering, self._changed = 0, threading.Condition()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Around the answer to one request."""
        with self._changed:
            self._answering += 1
        try:
            yield
        finally:
            with self._changed:
                self._answering -= 1
                self._changed.notify_all()

    def finish(self, timeout: float) -> None:
        """Take no more requests, finish what is being decoded, and give answers that are being written `timeout` seconds."""
        self.service.engine.close()
        with self._changed:
            self._changed.wait_for(lambda: self._answering == 0, timeout)
        self.shutdown()

    @property
    def url(self) -> str:
        """The base address for clients."""
        host, port = self.server_address[:2]
        name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/v1"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        if path == "/v1/models":
            self._json(200, self.server.service.models())
        elif path.startswith("/v1/models/"):
            self._json(200, self.server.service.models()["data"][0])
        elif path == "/health":
            self._json(200, self.server.service.health())
        else:
            self._error(ApiError(404, f"there is no {path or '/'} here; try /v1/models"))

    def do_POST(self) -> None:
        path = self.path.partition("?")[0].rstrip("/")
        try:
            with self.server.answering():
                self._answer(path, self._body())
        except ApiError as error:
            self._error(error)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has gone

    def _answer(self, path: str, body: Any) -> None:
        if path not in _KINDS:
            raise ApiError(404, f"there is no {path or '/'} here; there are {' and '.join(_KINDS)}")
        found = self.server.service.ask(_KINDS[path], body)
        if isinstance(found, dict):
            self._json(200, found)
        else:
            self._events(found)

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True
            raise ApiError(413 if length.isdecimal() else 411, f"the body needs a Content-Length of at most {MAX_BODY} bytes")
        try:
            return json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise ApiError(400, f"the body is not valid JSON ({error})") from None

    def _json(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _error(self, error: ApiError) -> None:
        self._json(error.status, error.body())

    def _events(self, events: Iterator[dict[str, Any]]) -> None:
        """Send events as they come. An error after the first one is an event too: the status is long sent."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for event in events:
                self._event(json.dumps(event, ensure_ascii=False))
            self._event("[DONE]")
        except ApiError as error:
            self._event(json.dumps(error.body(), ensure_ascii=False))
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data: str) -> None:
        line = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet: a line a request is the proxy's business."""
