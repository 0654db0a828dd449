"""Made-up packages, indexes, keys and a small mirror on 127.0.0.1 for the tests of the bootstrap."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import lzma
import os
import tarfile
import threading
from typing import TYPE_CHECKING, NamedTuple

import pysequoia

from compose.images.bootstrap.deb822 import fields
from compose.images.bootstrap.packages import Package, package

if TYPE_CHECKING:
    from collections.abc import Iterator

Member = tuple[str, bytes | str | None]
"""A name and its content; a text is the target of a symbolic link, None makes a directory."""


def tar_of(members: list[Member], mode: int = 0o644) -> bytes:
    """A tar archive in GNU format as dpkg-deb makes them, owned by whoever runs the test."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.mtime, info.mode = os.getuid(), os.getgid(), 1_600_000_000, mode
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def ar_of(members: list[tuple[str, bytes]]) -> bytes:
    """An ar archive."""
    found = b"!<arch>\n"
    for name, content in members:
        found += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        found += content + b"\n" * (len(content) % 2)
    return found


def deb_of(
    control: str, files: list[Member], *, extra: dict[str, bytes] | None = None, compression: str = "xz"
) -> bytes:
    """A package of the fields `control`, the files and further control files."""
    members: list[Member] = [
        ("./control", control.encode()),
        *((f"./{n}", c) for n, c in (extra or {}).items()),
    ]

    def compress(data: bytes) -> bytes:
        return lzma.compress(data) if compression == "xz" else gzip.compress(data)

    return ar_of(
        [
            ("debian-binary", b"2.0\n"),
            (f"control.tar.{compression}", compress(tar_of(members, 0o755))),
            (f"data.tar.{compression}", compress(tar_of(files))),
        ]
    )


def entry_of(text: str, content: bytes = b"") -> Package:
    """A package as an index has it; `text` gives the fields that matter."""
    values = {"version": "1", "architecture": "all", "filename": "pool/x.deb"}
    values |= {"size": str(len(content)), "sha256": hashlib.sha256(content).hexdigest()}
    return package(values | fields(text.strip().split("\n")), "http://127.0.0.1")


def index_of(*paragraphs: str) -> bytes:
    """A Packages file."""
    rest = f"Architecture: all\nFilename: pool/x.deb\nSize: 1\nSHA256: {'0' * 64}\n"
    return "\n".join(paragraph.strip() + "\n" + rest for paragraph in paragraphs).encode()


class Signer(NamedTuple):
    """A key of our own."""

    certificate: bytes
    secret: pysequoia.Tsk

    def sign(self, text: str) -> bytes:
        """`text`, clear-signed."""
        return pysequoia.sign(self.secret.signer(), text.encode(), mode=pysequoia.SignatureMode.CLEAR)


def new_signer() -> Signer:
    """A fresh key."""
    secret = pysequoia.Tsk.generate("Archive <archive@example.invalid>")
    return Signer(bytes(secret.extract_certificate()), secret)


class Mirror:
    """What the server on 127.0.0.1 serves, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        """Path -> status, headers and body of the next answers, before `files` counts."""
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.connections: set[object] = set()
        self.address = ""


@contextlib.contextmanager
def serve() -> Iterator[Mirror]:
    """A mirror; it ends with the context."""
    mirror = Mirror()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            mirror.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            mirror.connections.add(self.client_address)
            waiting = mirror.answers.get(self.path)
            if waiting:
                status, headers, body = waiting.pop(0)
            else:
                found = mirror.files.get(self.path)
                status, headers, body = (404, {}, b"") if found is None else (200, {}, found)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            if headers.get("Content-Length", str(len(body))) != str(len(body)):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that goes away in the middle is what some tests are about

    with Server(("127.0.0.1", 0), Handler) as server:
        mirror.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()
