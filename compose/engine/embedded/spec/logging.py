"""``logging`` -> what the monitor needs: driver, rotation, and where lines go with which tag and fields.

Options are those of Docker's drivers; one that a driver does not know is warned of when the file is read
(model/support.py). An address's host name is looked up here, once: a monitor waits for nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from compose.errors import ContainerError
from compose.model.values import byte_size
from compose.runtime.output.shipping import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from compose.runtime.spec import Logging

_MAX_SIZE = 10 * 1024 * 1024
_MAX_FILES = 3
_KEPT_HERE = ("json-file", "local", "none")
_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "security", "console", "solaris-cron"),
    *(f"local{number}" for number in range(8)),
)
_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_COMPRESSIONS = ("", "gzip", "zlib", "none")
_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}")


class About(NamedTuple):
    """The container that a log is of, as tags and fields speak of it."""

    id: str
    name: str
    image: str
    image_name: str
    command: str
    labels: Mapping[str, str]
    environment: Sequence[str]


class Address(NamedTuple):
    """Where to: a path, or host and port."""

    stream: bool
    path: str = ""
    host: str = ""
    port: int = 0


def logging(service: Mapping[str, Any], about: About | None = None) -> Logging:
    """The ``logging`` of a spec. Rotation is on by default: three files of 10 MB.

    Without `about` the options are only checked. Raises `ContainerError`.
    """
    wanted = service.get("logging") or {}
    options = {key: str(value) for key, value in (wanted.get("options") or {}).items() if value is not None}
    driver = wanted.get("driver") or "json-file"
    found: Any = {
        "driver": driver if driver in (*_KEPT_HERE, *DRIVERS) else "json-file",
        "max_size": _size(options.get("max-size")),
        "max_files": _files(options.get("max-file")),
    }
    if found["driver"] in DRIVERS:
        address = _ADDRESSES[driver](options)
        if driver in _CHECKS:
            _CHECKS[driver](options)
        tag = _tag(options.get("tag") or options.get(f"{driver}-tag") or "{{.ID}}", about)
        if about is not None:
            found |= {
                "address": address.path or list(_resolved(driver, address)),
                "stream": address.stream,
                "tag": tag,
                "extra": _extra(options, about),
                "options": options,
                "facility": _facility(options),
            }
    result: Logging = found
    return result


def _size(text: str | None) -> int:
    """In bytes a file; 0 is no limit, for which people write -1."""
    try:
        size = byte_size(text) if text else _MAX_SIZE
    except ValueError as error:
        raise ContainerError(f"logging.options.max-size: {error}") from None
    if size < 1 and size != -1:
        raise ContainerError(
            f"logging.options.max-size: {text!r} is no size", hint="write 10m, or -1 for no limit"
        )
    return max(size, 0)


def _files(text: str | None) -> int:
    files = text or str(_MAX_FILES)
    if not files.isdecimal() or not 1 <= int(files[:9]) < 1_000_000:
        raise ContainerError(f"logging.options.max-file: {files!r} is not a number of files")
    return int(files)


def _wrong(option: str, value: str, hint: str) -> ContainerError:
    return ContainerError(f"logging.options.{option}: {value!r} is not known", hint=hint)


# Addresses --------------------------------------------------------------------------------------------------


def _syslog_address(options: Mapping[str, str]) -> Address:
    text = options.get("syslog-address") or "unixgram:///dev/log"
    kinds = {"tcp": True, "udp": False, "unix": True, "unixgram": False}
    return _address("syslog-address", text, kinds, 514)


def _gelf_address(options: Mapping[str, str]) -> Address:
    text = options.get("gelf-address")
    if not text:
        raise ContainerError(
            "logging.options: gelf needs gelf-address", hint="gelf-address: udp://host:12201"
        )
    return _address("gelf-address", text, {"udp": False, "tcp": True}, 12201)


def _fluentd_address(options: Mapping[str, str]) -> Address:
    text = options.get("fluentd-address") or "tcp://localhost:24224"
    if "://" not in text:
        text = f"tcp://{text}"
    return _address("fluentd-address", text, {"tcp": True, "unix": True}, 24224)


def _journald_address(options: Mapping[str, str]) -> Address:
    return Address(stream=False, path="/run/systemd/journal/socket")


_ADDRESSES = {
    "syslog": _syslog_address,
    "gelf": _gelf_address,
    "fluentd": _fluentd_address,
    "journald": _journald_address,
}


def _address(option: str, text: str, kinds: Mapping[str, bool], port: int) -> Address:
    """``KIND://HOST:PORT`` or ``unix:///PATH``; `kinds` says which of them are streams."""
    kind, separator, rest = text.partition("://")
    if not separator or kind not in kinds:
        raise _wrong(option, text, f"write {' or '.join(f'{known}://...' for known in kinds)}")
    if kind.startswith("unix"):
        if not rest.startswith("/") or len(rest) > 107:
            raise _wrong(option, text, f"write {kind}:///path/of/a/socket")
        return Address(kinds[kind], path=rest)
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+)(?::(\d{1,5}))?/?", rest)
    number = int(found[2] or port) if found else 0
    if found is None or not 0 < number < 65536:
        raise _wrong(option, text, f"write {kind}://host:{port}")
    return Address(kinds[kind], host=found[1].strip("[]"), port=number)


def _resolved(driver: str, address: Address) -> tuple[str, int]:
    import socket

    kind = socket.SOCK_STREAM if address.stream else socket.SOCK_DGRAM
    try:
        found = socket.getaddrinfo(address.host, address.port, type=kind)
    except OSError as error:
        raise ContainerError(
            f"logging: {driver}: {address.host}: {error.strerror or error}", hint="check the host's name"
        ) from None
    return str(found[0][4][0]), address.port


# Options of one driver --------------------------------------------------------------------------------------


def _facility(options: Mapping[str, str]) -> int:
    name = options.get("syslog-facility") or "daemon"
    if name.isdecimal() and int(name[:3]) < len(_FACILITIES):
        return int(name)
    if name not in _FACILITIES:
        raise _wrong("syslog-facility", name, f"one of {', '.join(_FACILITIES)}")
    return _FACILITIES.index(name)


def _check_syslog(options: Mapping[str, str]) -> None:
    _facility(options)
    if options.get("syslog-format", "") not in _FORMATS:
        raise _wrong("syslog-format", options["syslog-format"], "rfc3164, rfc5424 or rfc5424micro")


def _check_gelf(options: Mapping[str, str]) -> None:
    if options.get("gelf-compression-type", "") not in _COMPRESSIONS:
        raise _wrong("gelf-compression-type", options["gelf-compression-type"], "gzip, zlib or none")
    level = options.get("gelf-compression-level") or "1"
    if not re.fullmatch(r"-1|[0-9]", level):
        raise _wrong("gelf-compression-level", level, "a number from -1 to 9")


_CHECKS = {"syslog": _check_syslog, "gelf": _check_gelf}


# Tags and fields --------------------------------------------------------------------------------------------


def _tag(template: str, about: About | None) -> str:
    """A tag in which ``{{.Name}}`` and its like stand for what they name. Raises `ContainerError`."""
    known = {
        ".ID": about.id[:12] if about else "",
        ".FullID": about.id if about else "",
        ".Name": about.name if about else "",
        ".ImageID": about.image.removeprefix("sha256:")[:12] if about else "",
        ".ImageFullID": about.image if about else "",
        ".ImageName": about.image_name if about else "",
        ".Command": about.command if about else "",
        ".DaemonName": "pycompose",
    }

    def value(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise _wrong("tag", template, f"there are {', '.join(f'{{{{{name}}}}}' for name in known)}")
        return known[found[1]]

    return " ".join(_PLACEHOLDER.sub(value, template).split())


def _extra(options: Mapping[str, str], about: About) -> dict[str, str]:
    """The labels and variables that the options choose."""
    variables = dict(entry.partition("=")[::2] for entry in about.environment)
    return {
        **_chosen(about.labels, options, "labels"),
        **_chosen(variables, options, "env"),
    }


def _chosen(values: Mapping[str, str], options: Mapping[str, str], option: str) -> dict[str, str]:
    names = [name for name in (options.get(option) or "").split(",") if name]
    found = {name: values[name] for name in names if name in values}
    pattern = options.get(f"{option}-regex")
    if pattern:
        try:
            fits = re.compile(pattern)
        except re.error as error:
            raise ContainerError(f"logging.options.{option}-regex: {pattern!r}: {error}") from None
        found |= {name: value for name, value in values.items() if fits.search(name)}
    return found
