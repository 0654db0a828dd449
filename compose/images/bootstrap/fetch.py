"""Downloads: parallel, over connections that stay open, each file verified before anybody sees it.

A cache directory holds files by digest (``sha256/HEX``). Nothing in it is trusted: a file is verified each
time it is used, so that it needs no sync and a damaged one is fetched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from compose import __version__
from compose.errors import ImageError
from compose.images.bootstrap.proxies import basic, proxy_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

TIMEOUT = 30.0
"""Seconds without a byte, after which a connection is given up."""
ATTEMPTS = 3
_LIMIT = 256 << 20
_CHUNK = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)


class NotFoundError(ImageError):
    """The server answered that it has no such file."""


class _AgainError(Exception):
    """A fault that may pass."""


class Fetcher:
    """Fetches files for several threads, each with connections of its own. A context manager."""

    def __init__(
        self,
        *,
        cache: str | None = None,
        options: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        received: Callable[[int], None] | None = None,
        pause: float = 0.3,
    ) -> None:
        """`received` is told the size of each piece of data; `pause`: seconds before the first retry."""
        self._cache = f"{cache}/sha256" if cache else None
        self._options = options or {}
        self._environment = os.environ if environment is None else environment
        self._received = received or (lambda size: None)
        self._pause = pause
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPConnection] = []
        self._stopped = threading.Event()
        if self._cache:
            os.makedirs(self._cache, mode=0o700, exist_ok=True)

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close all connections; whoever still waits gets an `ImageError` soon."""
        self._stopped.set()
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()

    def get(self, uri: str, *, sha256: str = "", size: int = -1) -> bytes:
        """The content of `uri`; with `sha256`, from the cache or verified. Raises `ImageError`."""
        if sha256 and (found := self._cached(sha256)) is not None:
            self._received(len(found))
            return found
        data = self._fetch(uri, size)
        if sha256 and (error := _wrong(data, sha256, size)):
            data = self._fetch(uri, size, fresh=True)  # a proxy's stale copy, perhaps
            if error := _wrong(data, sha256, size):
                raise ImageError(f"{_shown(uri)}: {error}")
        if sha256:
            self._keep(sha256, data)
        return data

    def _cached(self, sha256: str) -> bytes | None:
        if not self._cache:
            return None
        try:
            with open(f"{self._cache}/{sha256}", "rb") as file:
                data = file.read()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def _keep(self, sha256: str, data: bytes) -> None:
        if not self._cache:
            return
        path = f"{self._cache}/{sha256}"
        temporary = f"{path}.{os.getpid()}.{threading.get_native_id()}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
            os.rename(temporary, path)
        except OSError:  # a full disk will be told by what needs it
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def _fetch(self, uri: str, size: int, *, fresh: bool = False) -> bytes:
        last = ""
        for attempt in range(ATTEMPTS):
            if attempt and self._stopped.wait(self._pause * attempt):
                break
            try:
                return self._follow(uri, size, fresh)
            except _AgainError as error:
                last = str(error)
        if self._stopped.is_set():
            raise ImageError(f"{_shown(uri)}: stopped")
        raise ImageError(f"{_shown(uri)}: {last}", hint="is the mirror reachable?  apt-get update")

    def _follow(self, uri: str, size: int, fresh: bool) -> bytes:
        for _ in range(6):
            parts = urlsplit(uri)
            if parts.scheme in ("file", "copy"):
                return _read_file(unquote(parts.path), uri)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ImageError(f"{_shown(uri)}: addresses of this kind are not supported")
            found = self._request(parts, size, fresh)
            if isinstance(found, bytes):
                return found
            target = urljoin(uri, found)
            scheme = urlsplit(target).scheme
            if scheme not in ("http", "https") or (parts.scheme, scheme) == ("https", "http"):
                raise ImageError(f"{_shown(uri)}: is redirected to {_shown(target)}, which is refused")
            uri = target
        raise ImageError(f"{_shown(uri)}: is redirected again and again")

    def _request(self, parts: SplitResult, size: int, fresh: bool) -> bytes | str:
        """One request: the content, or where it has moved."""
        connection, prefix, headers = self._connection(parts)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if fresh:
            headers["Cache-Control"] = "no-cache"
        try:
            connection.request("GET", prefix + path, headers=headers)
            answer = connection.getresponse()
            if answer.status == 200:
                return self._body(answer, size)
            if answer.status in _REDIRECTS and (target := answer.getheader("Location")):
                self._body(answer, 1 << 20)
                return target
        except (OSError, http.client.HTTPException) as error:
            self._forget(connection)
            raise _AgainError(_reason(error)) from error
        except BaseException:
            self._forget(connection)
            raise
        self._forget(connection)
        if answer.status in (404, 410):
            raise NotFoundError(f"{_shown(parts.geturl())}: not found")
        if answer.status >= 500 or answer.status in (408, 429):
            raise _AgainError(f"{answer.status} {answer.reason}")
        raise ImageError(f"{_shown(parts.geturl())}: {answer.status} {answer.reason}")

    def _body(self, answer: http.client.HTTPResponse, size: int) -> bytes:
        limit = size if size >= 0 else _LIMIT
        pieces = []
        total = 0
        while piece := answer.read(_CHUNK):
            total += len(piece)
            if total > limit:
                raise ImageError(f"the server sends more than the {limit} bytes that were expected")
            pieces.append(piece)
            self._received(len(piece))
        expected = answer.getheader("Content-Length")
        if expected and expected.isdigit() and total != int(expected):
            self._received(-total)
            raise OSError(0, "the connection broke off")
        return b"".join(pieces)

    def _connection(self, parts: SplitResult) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
        """A connection of this thread, what to put before the path, and the headers."""
        host = parts.hostname or ""
        headers = {"User-Agent": f"pycompose/{__version__}", "Host": parts.netloc.rpartition("@")[2]}
        if parts.username:
            headers["Authorization"] = basic(parts.username, parts.password or "")
        proxy = proxy_for(parts.scheme, host, self._options, self._environment)
        prefix = ""
        if proxy and parts.scheme == "http":
            prefix = f"http://{headers['Host']}"
            if proxy.authorization:
                headers["Proxy-Authorization"] = proxy.authorization
        key = (parts.scheme, host, parts.port)
        mine: dict[object, http.client.HTTPConnection] = self._local.__dict__.setdefault("connections", {})
        if key in mine and mine[key] in self._connections:
            return mine[key], prefix, headers
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            address = (proxy.host, proxy.port) if proxy else (host, parts.port or 443)
            connection = http.client.HTTPSConnection(*address, timeout=TIMEOUT)
            if proxy:
                extra = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
                connection.set_tunnel(host, parts.port or 443, extra)
        else:
            address = (proxy.host, proxy.port) if proxy else (host, parts.port or 80)
            connection = http.client.HTTPConnection(*address, timeout=TIMEOUT)
        with self._lock:
            if self._stopped.is_set():
                raise _AgainError("stopped")
            self._connections.append(connection)
        mine[key] = connection
        return connection, prefix, headers

    def _forget(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        with self._lock:
            if connection in self._connections:
                self._connections.remove(connection)


def _wrong(data: bytes, sha256: str, size: int) -> str:
    if size >= 0 and len(data) != size:
        return f"has {len(data)} bytes instead of {size}"
    if hashlib.sha256(data).hexdigest() != sha256:
        return "its digest is not the one that the signed index names"
    return ""


def _read_file(path: str, uri: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise NotFoundError(f"{uri}: not found") from error
    except OSError as error:
        raise ImageError(f"{uri}: {error.strerror}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} seconds"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _shown(uri: str) -> str:
    """The address without a password."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    authority, slash, path = rest.partition("/")
    return scheme + separator + authority.rpartition("@")[2] + slash + path
