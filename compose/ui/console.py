"""This terminal joined with the terminal of a process in a container."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import termios
import tty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.runtime.client import ExecSession

_CHUNK = 65536


def relay(session: ExecSession) -> int | None:
    """Pass bytes both ways, and the window's size, until the process has ended; its exit code.

    This terminal is raw meanwhile, and as before afterwards, whatever happens.
    """
    assert session.terminal is not None
    os.set_blocking(session.terminal, False)
    with _raw(0), _resizing(session) as resized:
        try:
            _pump(session, session.terminal, resized)
            return session.wait()
        finally:
            session.close()


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizing(session: ExecSession) -> Iterator[int]:
    """Keep the size of the two terminals the same; yields a descriptor that is readable after a change."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    old_wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    old_handler = signal.signal(signal.SIGWINCH, lambda *_: None)
    resize(session)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(old_wakeup)
        signal.signal(signal.SIGWINCH, old_handler)
        os.close(reading)
        os.close(writing)


def resize(session: ExecSession) -> None:
    """Give the container's terminal the size of this one."""
    with contextlib.suppress(OSError):
        size = os.get_terminal_size(0)
        session.resize(size.lines, size.columns)


def _pump(session: ExecSession, master: int, resized: int) -> None:
    """Until the process has ended and its terminal is empty."""
    pending = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(master, selectors.EVENT_READ)
        selector.register(session.fileno(), selectors.EVENT_READ)
        selector.register(resized, selectors.EVENT_READ)
        while True:
            ready = {key.fd: events for key, events in selector.select()}
            if resized in ready:
                os.read(resized, _CHUNK)
                resize(session)
            if 0 in ready:
                data = os.read(0, _CHUNK)
                if data:
                    pending += data
                else:
                    selector.unregister(0)
            if ready.get(master, 0) & selectors.EVENT_READ and _show(master) is None:
                return
            if pending:
                with contextlib.suppress(BlockingIOError):
                    del pending[: os.write(master, pending)]
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if pending else 0)
            selector.modify(master, events)
            if session.fileno() in ready:
                while _show(master):
                    pass
                return


def _show(master: int) -> bool | None:
    """Pass on what the process has written; False when there is nothing now, None when there is no more."""
    try:
        data = os.read(master, _CHUNK)
    except BlockingIOError:
        return False
    except OSError:  # EIO: no process has the terminal open any more
        return None
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
    return True if data else None
