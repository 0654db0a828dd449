"""Files that are always whole: written under a temporary name, synced, renamed."""

from __future__ import annotations

import json
import os
from itertools import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_counter = count()  # threads of one process may replace the same file


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
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
    if durable:
        sync_directory(os.path.dirname(path))


def replace_json(path: str, value: Any, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace the file `path` by `value` as JSON that a person can read."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    replace(path, text.encode("utf-8", "surrogateescape"), mode=mode, durable=durable)


def read_json(path: str) -> Any:
    """The JSON value in the file `path`; raises `OSError` or `ValueError`."""
    with open(path, "rb") as file:
        return json.loads(file.read().decode("utf-8", "surrogateescape"))


def sync_directory(path: str) -> None:
    """Make the entries of a directory last over a power cut."""
    descriptor = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
