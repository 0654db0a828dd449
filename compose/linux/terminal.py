"""Pseudo-terminals from a given instance of devpts."""

from __future__ import annotations

import fcntl
import os
import struct

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
TIOCSCTTY = 0x540E
_TIOCSWINSZ = 0x5414


def open_peer(master: int) -> int:
    """The slave of `master`, opened without any path (TIOCGPTPEER)."""
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    return fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_controlling_terminal(slave: int) -> None:
    """Make `slave` the controlling terminal of the calling session leader."""
    fcntl.ioctl(slave, TIOCSCTTY, 0)


def set_window_size(terminal: int, rows: int, columns: int) -> None:
    """Tell the terminal its size in characters."""
    fcntl.ioctl(terminal, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
