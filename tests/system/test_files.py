"""What the file system is asked for."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from compose.linux.files import FS_IOC_GETFLAGS, FS_TOPDIR_FL, spread_directories

if TYPE_CHECKING:
    from pathlib import Path

PROC = "/proc/self/task"


def flags(directory: str) -> int:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, bytes(8))[:4], "little")
    finally:
        os.close(descriptor)


def test_directories_are_spread_where_the_file_system_can(tmp_path: Path) -> None:
    can = spread_directories(str(tmp_path))
    assert spread_directories(str(tmp_path)) == can  # a second time changes nothing
    if can:
        assert flags(str(tmp_path)) & FS_TOPDIR_FL


def test_a_file_system_without_flags_is_no_error() -> None:
    assert not spread_directories(PROC)
