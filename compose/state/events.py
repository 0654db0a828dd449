"""What happened to the containers of a project, for `pycompose events`.

    DATA/events/PROJECT.jsonl     one JSON object a line: time (ns since the epoch), action, service, id,
                                  attributes (texts)
    DATA/events/PROJECT.1.jsonl   what came before that

Whoever acts writes, monitors and commands alike: one write(2) to a file that is opened for appending is whole
or not there, whoever is killed. A file that has grown to 512 KiB becomes the older one. Events are for people
who look: that they cannot be written (a full disk) stops nobody, and nothing is synced for them. They are
kept a day longer than the project.
"""

from __future__ import annotations

import fcntl
import os
import time

from compose.state import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from compose.state.paths import Paths

_LARGEST = 512 << 10
_KEPT = 86_400.0
"""Seconds that the events of a project that is gone are kept."""


def record(paths: Paths, spec: Mapping[str, Any], action: str, **attributes: object) -> None:
    """Write down that something has happened to a container; those of `run` are their caller's business."""
    if spec.get("oneoff") or not spec.get("service"):
        return
    texts = {key: str(value) for key, value in attributes.items()}
    event = {
        "time": time.time_ns(),
        "action": action,
        "service": spec["service"],
        "id": spec["id"],
        "attributes": {**texts, "image": spec.get("image_name", ""), "name": spec["name"]},
    }
    try:
        _append(paths, spec["project"], files.dumps(event) + b"\n")
    except OSError:
        return


def file(paths: Paths, project: str, *, older: bool = False) -> str:
    """The path of a project's events."""
    return f"{paths.events}/{project}{'.1' if older else ''}.jsonl"


def _append(paths: Paths, project: str, line: bytes) -> None:
    path = file(paths, project)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        _sweep(paths)
        descriptor = os.open(path, flags | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
        if os.fstat(descriptor).st_size >= _LARGEST:
            _rotate(paths, project, descriptor)
    finally:
        os.close(descriptor)


def _rotate(paths: Paths, project: str, descriptor: int) -> None:
    """Make the file the older one, unless somebody else has."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    path = file(paths, project)
    try:
        if os.path.samestat(os.stat(path), os.fstat(descriptor)):
            os.rename(path, file(paths, project, older=True))
    except FileNotFoundError:
        return


def _sweep(paths: Paths) -> None:
    """Remove what has not been written to for a day: the project is gone, or nothing happens in it."""
    os.makedirs(paths.events, mode=0o700, exist_ok=True)
    for name in os.listdir(paths.events):
        path = f"{paths.events}/{name}"
        try:
            if time.time() - os.stat(path).st_mtime > _KEPT:
                os.unlink(path)
        except FileNotFoundError:
            continue


class Reader:
    """A place in the events of a project, from which one can read on as they come."""

    def __init__(self, paths: Paths, project: str, *, from_now: bool) -> None:
        self._paths = paths
        self._project = project
        self._open: list[tuple[int, bytes]] = []
        """Descriptors, and the beginning of a line that is not whole; a file that was replaced is read until
        the next one is."""
        if not from_now:
            self._add(file(paths, project, older=True))
        self._add(file(paths, project), at_end=from_now)

    def read(self) -> Iterator[dict[str, Any]]:
        """The events that have come since the last call."""
        yield from self._rest()
        current = file(self._paths, self._project)
        if self._add(current):
            yield from self._rest()

    def close(self) -> None:
        """Close the files."""
        for descriptor, _ in self._open:
            os.close(descriptor)
        self._open = []

    def _add(self, path: str, *, at_end: bool = False) -> bool:
        """Open a file that is not open yet."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        found = os.fstat(descriptor)
        if any(os.path.samestat(os.fstat(known), found) for known, _ in self._open):
            os.close(descriptor)
            return False
        if at_end:
            os.lseek(descriptor, 0, os.SEEK_END)
        self._open.append((descriptor, b""))
        while len(self._open) > 2:
            os.close(self._open.pop(0)[0])
        return True

    def _rest(self) -> Iterator[dict[str, Any]]:
        for place, (descriptor, begun) in enumerate(self._open):
            parts = [begun]
            while data := os.read(descriptor, 1 << 16):
                parts.append(data)
            *lines, left = b"".join(parts).split(b"\n")
            self._open[place] = (descriptor, left)
            for line in lines:
                try:
                    event = files.loads(line)
                except (ValueError, RecursionError):  # the rest of a write that the disk had no room for
                    continue
                if isinstance(event, dict) and isinstance(event.get("time"), int):
                    yield event
