"""Signal masks and dispositions, without the cost of the `signal` module."""

from __future__ import annotations

import _signal as _python  # type: ignore[import-not-found]
import ctypes

from compose.linux.libc import check, function, syscall
from compose.linux.numbers import SYS_rt_sigaction

_SIG_BLOCK = 0
_SIG_SETMASK = 2
_SET_BYTES = 128
_UNCHANGEABLE = (9, 19)  # SIGKILL, SIGSTOP
_OF_THE_LIBRARY = (32, 33)
"""Its functions refuse them, but its posix_spawn leaves them ignored in what it executes."""
SIGACTION = bytes(32)
"""struct kernel_sigaction: the default action, no flags, an empty mask."""
MASK_BYTES = 8

_sigprocmask = function("sigprocmask", ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)
_signal = function("signal", ctypes.c_int, ctypes.c_void_p, result=ctypes.c_void_p)


def block_all() -> bytes:
    """Block every signal; returns the former mask for `set_mask`."""
    former = ctypes.create_string_buffer(_SET_BYTES)
    check(_sigprocmask(_SIG_BLOCK, b"\xff" * _SET_BYTES, former), "sigprocmask")
    return former.raw


def set_mask(mask: bytes = bytes(_SET_BYTES)) -> None:
    """Set the mask of blocked signals; without an argument nothing is blocked."""
    check(_sigprocmask(_SIG_SETMASK, mask, None), "sigprocmask")


def default_all() -> None:
    """Give every signal its default action: Python ignores SIGPIPE and SIGXFSZ, and exec keeps that."""
    for number in changed():
        if number in _OF_THE_LIBRARY:
            syscall(SYS_rt_sigaction, number, SIGACTION, None, MASK_BYTES, what="rt_sigaction")
        else:
            _signal(number, None)


def changed() -> list[int]:
    """The signals that may have another action than the default.

    The interpreter knows since it started, so that the kernel is not asked 62 times.
    """
    return [
        number
        for number in range(1, 65)
        if number in _OF_THE_LIBRARY
        or (number not in _UNCHANGEABLE and _python.getsignal(number) != _python.SIG_DFL)
    ]
