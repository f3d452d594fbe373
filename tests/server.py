"""A web server on the loopback that serves bytes, and misbehaves where it is told to.

    with Server({"a.h5ad": content}) as server:
        server.answers["a.h5ad"] = [Answer(status=503), Answer(status=503), Answer()]
        fetch(f"{server.url}/a.h5ad")
        assert [request.status for request in server.requests] == [503, 503, 200]

Names are paths without the leading slash; one with its query (``get?id=1``) goes before one without.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import unquote

BLOCK = 1 << 14


@dataclass(frozen=True)
class Answer:
    """How a request is answered; the default is a server as it should be.

    Parameters
    ----------
    status
        Anything but 200 is sent with `body` and its length, whatever was asked.
    body
        What is sent; None is the file of that name (nothing where `status` is not 200).
    headers
        Further headers; one set to None is left out.
    etag
        False: the server tells no version of the file.
    ranges
        False: a request for a part is answered 200 with the whole. A number: no more bytes than so
        many are given for a part.
    if_range
        False: a part is given even of a version that is not the asked one.
    length
        ``"content"``: Content-Length; ``"chunked"``; ``"close"``: the end of the connection.
    cut
        So many bytes are sent, then the connection is dropped.
    hang
        After `cut` bytes (before the headers where it is None) nothing comes any more.
    seconds
        To be waited after each block of 16 KiB.
    only_agent
        403 for a User-Agent that does not begin so.
    """

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    etag: bool = True
    ranges: bool | int = True
    if_range: bool = True
    length: str = "content"
    cut: int | None = None
    hang: bool = False
    seconds: float = 0
    only_agent: str = ""


@dataclass
class Request:
    """What was asked, and what was answered."""

    name: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0  # bytes of the body


class Server:
    """Serves a folder, or bytes by name, while the block runs; see the top of the file.

    `answers[name]` is one `Answer`, or a list of them that are given in turn, the last one for good.
    `files` may be changed at any time.
    """

    def __init__(self, files: Mapping[str, bytes] | Path) -> None:
        self.folder = files if isinstance(files, Path) else None
        self.files: dict[str, bytes] = {} if isinstance(files, Path) else dict(files)
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Server:
        handler = type("Handler", (_Handler,), {"owner": self})
        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._httpd.server_address[1]}"
        direct = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        self._direct = mock.patch.dict(os.environ, direct)
        self._direct.start()
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._direct.stop()

    def stop(self) -> None:
        """Take the server down; a second time does nothing."""
        self._over.set()
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    def asked(self, name: str) -> list[Request]:
        """The requests for one name, in their order."""
        return [request for request in self.requests if request.name == name]

    def content(self, name: str) -> bytes | None:
        """The bytes behind a name, None where there are none."""
        for key in (name, name.split("?")[0]):
            if key in self.files:
                return self.files[key]
            if self.folder is not None and (self.folder / key).is_file():
                return (self.folder / key).read_bytes()
        return None

    def next_answer(self, name: str) -> Answer:
        """The answer whose turn it is."""
        with self._lock:
            found = self.answers.get(name, self.answers.get(name.split("?")[0], Answer()))
            if isinstance(found, Answer):
                return found
            return found.pop(0) if len(found) > 1 else found[0]

    def wait(self, seconds: float | None = None) -> None:
        """Sleep, but no longer than the server runs."""
        self._over.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing: `Server.requests` tells."""

    def do_GET(self) -> None:
        self.close_connection = True
        name = unquote(self.path.lstrip("/"))
        request = Request(name, dict(self.headers))
        self.owner.requests.append(request)
        with suppress(BrokenPipeError, ConnectionResetError):  # whoever asked is gone
            self._answer(request, self.owner.next_answer(name))

    def _answer(self, request: Request, answer: Answer) -> None:
        whole = answer.body if answer.body is not None else self.owner.content(request.name)
        status, body, headers = answer.status, whole or b"", {}
        if answer.status != 200:
            body = answer.body or b""
        elif answer.only_agent and not request.headers["User-Agent"].startswith(answer.only_agent):
            status, body = 403, b"who are you?"
        elif whole is None:
            status, body = 404, b"no such file"
        else:
            status, body, headers = self._part(request, answer, whole)
        if answer.hang and answer.cut is None:
            self.owner.wait()
            return
        request.status = status
        self.send_response(status)
        self.send_header("Connection", "close")
        if answer.length == "content":
            headers["Content-Length"] = str(len(body))
        elif answer.length == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        for key, value in {**headers, **answer.headers}.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        self._send(request, answer, body)

    def _part(
        self, request: Request, answer: Answer, whole: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        """The whole file, or the part that was asked for."""
        headers = {}
        etag = f'"{hashlib.sha256(whole).hexdigest()[:16]}"'
        if answer.etag:
            headers["ETag"] = etag
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if asked is None or not answer.ranges:
            return 200, whole, headers
        if answer.if_range and request.headers.get("If-Range", etag) != etag:
            return 200, whole, headers
        start = int(asked[1])
        if start >= len(whole):
            return 416, b"", {"Content-Range": f"bytes */{len(whole)}"}
        end = len(whole)
        if answer.ranges is not True:
            end = min(end, start + answer.ranges)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(whole)}"
        return 206, whole[start:end], headers

    def _send(self, request: Request, answer: Answer, body: bytes) -> None:
        end = len(body) if answer.cut is None else min(answer.cut, len(body))
        for start in range(0, end, BLOCK):
            block = body[start : min(start + BLOCK, end)]
            if answer.length == "chunked":
                self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            else:
                self.wfile.write(block)
            request.sent += len(block)
            if answer.seconds:
                self.owner.wait(answer.seconds)
        self.wfile.flush()
        if answer.hang:
            self.owner.wait()
        elif answer.length == "chunked" and end == len(body):
            self.wfile.write(b"0\r\n\r\n")
