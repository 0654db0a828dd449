"""The C library, and one way to call it that turns errno into `OSError`."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def check(result: int, what: str) -> int:
    """Return `result`, or raise `OSError` for -1 with the errno of the call that gave it.

    `what` is the verb and its object, for example ``mount /proc``.
    """
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: int | bytes | object, what: str) -> int:
    """Call system call `number`; integers are passed as C longs, bytes as pointers."""
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return check(_libc.syscall(ctypes.c_long(number), *converted), what)


def function(name: str, *argument_types: type, result: type = ctypes.c_int) -> ctypes._NamedFuncPointer:
    """The C library's function `name`, typed; pass its result through `check`."""
    found = _libc[name]
    found.argtypes = argument_types
    found.restype = result
    return found
