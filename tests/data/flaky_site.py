"""A web server on this machine that breaks off, changes files and answers ranges, as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    path: str
    range: str | None
    status: int
    sent: int


@dataclass
class Site:
    """Files by path; `breaks` says after how many bytes the next answers for a path break off."""

    files: dict[str, bytes] = field(default_factory=dict)
    breaks: dict[str, list[int]] = field(default_factory=dict)
    names_versions: bool = True
    knows_ranges: bool = True
    requests: list[Request] = field(default_factory=list)
    address: str = ""

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path, asked = self.path.lstrip("/"), self.headers.get("Range")
            if path not in site.files:
                site.requests.append(Request(path, asked, 404, 0))
                self.send_error(404)
                return
            whole = site.files[path]
            etag = f'"{sha256(whole).hexdigest()}"'
            start = 0
            if site.knows_ranges and asked and self.headers.get("If-Range", etag) == etag:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start else 200
            if start >= len(whole):
                status = 416
            body = whole[start:] if status != 416 else b""
            sent = body
            if site.breaks.get(path):
                sent = body[: site.breaks[path].pop(0)]
            site.requests.append(Request(path, asked, status, len(sent)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 206:
                span = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
                self.send_header("Content-Range", span)
            if site.names_versions:
                self.send_header("ETag", etag)
            self.end_headers()
            self.wfile.write(sent)

    return Handler


@contextmanager
def serve() -> Iterator[Site]:
    site = Site()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(site)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        site.address = f"http://127.0.0.1:{server.server_port}"
        yield site
        server.shutdown()
        thread.join()
