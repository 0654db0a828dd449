"""Which proxy a download goes through: apt's own settings first, then the environment's.

apt.conf(5): ``Acquire::http::Proxy::HOST``, ``Acquire::http::Proxy``, with ``DIRECT`` for none; then
``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from compose.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Proxy(NamedTuple):
    host: str
    port: int
    authorization: str
    """Value of the Proxy-Authorization header, or empty."""


def proxy_for(
    scheme: str, host: str, options: Mapping[str, str], environment: Mapping[str, str]
) -> Proxy | None:
    """The proxy for `host`, or None for a direct connection; raises `ImageError` for an unknown kind."""
    for key in (f"acquire::{scheme}::proxy::{host.lower()}", f"acquire::{scheme}::proxy"):
        if value := options.get(key):
            return None if value.upper() == "DIRECT" else _parse(value)
    if _excluded(host, environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        return None
    # HTTP_PROXY in capitals is not read: in a CGI it is a header of the request (CVE-2016-5385)
    names = [f"{scheme}_proxy", "all_proxy"] + (["HTTPS_PROXY"] if scheme == "https" else []) + ["ALL_PROXY"]
    value = next((environment[name] for name in names if environment.get(name)), "")
    return _parse(value) if value else None


def basic(user: str, password: str) -> str:
    """A header value for basic authentication."""
    from base64 import b64encode

    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def _parse(value: str) -> Proxy:
    try:
        parts = urlsplit(value if "//" in value else "http://" + value)
        port = parts.port or 3128
    except ValueError as error:
        raise ImageError(f"the proxy {value!r} is not an address") from error
    if parts.scheme != "http" or not parts.hostname:
        raise ImageError(f"the proxy {parts.scheme}://{parts.hostname} is of a kind that is not supported")
    authorization = basic(parts.username, parts.password or "") if parts.username else ""
    return Proxy(parts.hostname, port, authorization)


def _excluded(host: str, rule: str) -> bool:
    host = host.lower()
    for item in rule.lower().replace(",", " ").split():
        name = item.lstrip("*").lstrip(".").partition(":")[0]
        if item == "*" or (name and (host == name or host.endswith("." + name))):
            return True
    return False
