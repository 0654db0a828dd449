"""Files that are always whole: written under a temporary name, synced, renamed. Also JSON, wherever it is.

The C half of `json` is used directly, because `json` itself loads `re` and `enum`: 5 ms and 1 MB in each of
the processes that stay.
"""

from __future__ import annotations

import _json
import os
from itertools import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_counter = count()  # threads of one process may replace the same file


class _Defaults:
    """What the C scanner wants to know: the defaults of `json`."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012


_defaults: Any = _Defaults()
_scan = _json.make_scanner(_defaults)


def loads(data: bytes) -> Any:
    """The value of a JSON text; raises `ValueError`, or `RecursionError` when it is nested too deeply."""
    text = data.decode("utf-8", "surrogateescape").strip()
    try:
        value, end = _scan(text, 0)
    except (
        StopIteration,
        SystemError,
    ):  # before Python 3.12 it wants an exception of `json` that is not loaded
        raise ValueError("not JSON") from None
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} is nothing that JSON knows")


def _encode(value: Any, text: Any, colon: str, comma: str) -> str:
    encode = _json.make_encoder({}, _refuse, text, None, colon, comma, False, False, False)
    return "".join(encode(value, 0))


def dumps(value: Any) -> bytes:
    """`value` as compact JSON in ASCII; lone surrogates survive."""
    return _encode(value, _json.encode_basestring_ascii, ":", ",").encode("ascii")


def readable(value: Any) -> bytes:
    """`value` as JSON with one line an entry of every object, as a person wants to read it."""
    try:
        return (_lines(value, "", _json.encode_basestring) + "\n").encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair
        return (_lines(value, "", _json.encode_basestring_ascii) + "\n").encode("ascii")


def _lines(value: Any, indent: str, text: Any) -> str:
    deeper = indent + " "
    if isinstance(value, dict) and value:
        entries = [f"{deeper}{text(key)}: {_lines(entry, deeper, text)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if isinstance(value, (list, tuple)) and any(isinstance(entry, dict) for entry in value):
        entries = [f"{deeper}{_lines(entry, deeper, text)}" for entry in value]
        return "[\n" + ",\n".join(entries) + f"\n{indent}]"
    return _encode(value, text, ": ", ", ")


def replace(path: str, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace the file `path` by `data`: readers and a power cut see the old content or the new one.

    Without `durable` nothing is synced, for files that a reboot makes worthless anyway.
    """
    temporary = f"{path}.{os.getpid()}-{next(_counter)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if durable:
            os.fsync(descriptor)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename = path  # of what cannot be written; a descriptor does not tell
        raise
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
    if durable:
        sync_directory(os.path.dirname(path))


def replace_or_overwrite(path: str, data: bytes) -> None:
    """`replace` of JSON, not durably; without room for a second file the old one takes what fits into it.

    That is one write, blanks at its end: a process that is killed leaves the old content or the new one.
    """
    try:
        replace(path, data, durable=False)
    except OSError as error:
        if error.errno != _ENOSPC or not _overwrite(path, data):
            raise


def _overwrite(path: str, data: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        return len(data) <= size and os.pwrite(descriptor, data.ljust(size), 0) == size
    finally:
        os.close(descriptor)


def keep_spare(path: str) -> None:
    """Reserve room beside `path` for one `replace_from_spare`, unless there is some; raises `OSError`."""
    try:
        descriptor = os.open(_spare(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        os.posix_fallocate(descriptor, 0, _SPARE_SIZE)
    except OSError:
        os.unlink(_spare(path))
        raise
    finally:
        os.close(descriptor)


def replace_from_spare(path: str, data: bytes) -> None:
    """`replace`, durably, on a disk that is full: into the file that `keep_spare` has made.

    Raises `OSError` when there is none, or not enough room in it.
    """
    descriptor = os.open(_spare(path), os.O_WRONLY | os.O_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(_spare(path), path)
    sync_directory(os.path.dirname(path))


_SPARE_SIZE = 8192
_ENOSPC = 28  # without the module, which would stay in the memory of every helper


def _spare(path: str) -> str:
    return f"{path}.spare"


def replace_json(path: str, value: Any, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace the file `path` by `value` as JSON that a person can read."""
    replace(path, readable(value), mode=mode, durable=durable)


def read_json(path: str) -> Any:
    """The JSON value in the file `path`; raises as `loads` does, or `OSError`."""
    with open(path, "rb", buffering=0) as file:
        return loads(file.readall())


def sync_directory(path: str) -> None:
    """Make the entries of a directory last over a power cut."""
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
