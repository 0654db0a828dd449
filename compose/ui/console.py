"""This terminal joined with a process in a container: with a terminal of its own, or with process 1.

    relay(session)                    `exec` on a terminal
    follow(attachment, ...)           `attach`, and `run` in the foreground

What is typed goes through a thread that may block, what the process writes through the main one, which also
hears signals. A terminal is raw meanwhile, and as before afterwards, whatever ends us.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import select
import signal
import termios
import tty

from compose.ui.heard import Heard
from compose.ui.pump import feed, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from compose.runtime.attachment import Attachment
    from compose.runtime.client import ExecSession
    from compose.ui.keys import Detacher

_CHUNK = 65536
_ENDING = (signal.SIGHUP, signal.SIGTERM)
PROXIED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""What `attach` passes on to process 1."""


class Detached(Exception):
    """The user has typed the keys that detach."""


class _Ended(Exception):
    """A signal ends this process."""


def relay(session: ExecSession, *, stdin: bool = True) -> int | None:
    """Pass bytes both ways, and the window's size, until the process has ended; its exit code.

    Without `stdin` nothing that is typed is passed on.
    """
    assert session.terminal is not None
    master = session.terminal
    os.set_blocking(master, False)
    with contextlib.closing(session), Console(session.resize, raw=stdin) as console:
        console.resize()
        if stdin:
            _thread.start_new_thread(_type, (0, os.dup(master), None, -1))
        try:
            _until(
                {
                    console.fileno(): lambda: console.hear(()),
                    master: lambda: _show(master) is None,
                    session.fileno(): lambda: True,
                }
            )
            while _show(master):
                pass
            return session.wait()
        except _Ended as ended:
            return 128 + int(ended.args[0])


def follow(
    attachment: Attachment,
    *,
    stdin: bool,
    detacher: Detacher | None,
    terminal: bool = False,
    proxied: Iterable[int] = PROXIED,
    end_input: bool = False,
    redraw: bool = True,
    send: Callable[[int], None] | None = None,
) -> int | None:
    """Show what process 1 writes, and pass on what is typed, until its end; its exit code.

    With a terminal inside, which `terminal` says where the run may be over by now, this one becomes raw,
    and `detacher` watches for the keys that detach: `Detached`. Signals in `proxied` go to process 1, by
    `send` if that is given. `end_input`: the end of our input is the end of its input. `redraw`: what is on
    its screen has been drawn for somebody else.
    """
    raw = (attachment.terminal or terminal) and stdin and os.isatty(0)
    with Console(attachment.resize, raw=raw, heard=proxied) as console:
        console.resize(redraw=redraw)
        follower = _Follower(attachment, console, proxied, send or attachment.kill, end_input=end_input)
        if stdin and attachment.writer is not None:
            keys = detacher if raw else None
            _thread.start_new_thread(_type, (0, attachment.writer, keys, follower.told))
        try:
            return follower.run()
        except _Ended as ended:
            return 128 + int(ended.args[0])


class _Follower:
    """`follow` while it lasts."""

    def __init__(
        self,
        attachment: Attachment,
        console: Console,
        proxied: Iterable[int],
        send: Callable[[int], None],
        *,
        end_input: bool,
    ) -> None:
        self._attachment = attachment
        self._console = console
        self._proxied = proxied
        self._send = send
        self._end_input = end_input
        self._shown = True
        self._connection = -1
        self._typed, self.told = os.pipe2(os.O_CLOEXEC)  # the thread may outlive us, so nobody closes them

    def run(self) -> int | None:
        """Until the end of process 1; its exit code."""
        while True:
            self._print()
            if self._attachment.ended:
                return self._attachment.exit_code
            self._connection = self._attachment.fileno()
            _until(
                {
                    self._connection: self._hear,
                    self._console.fileno(): lambda: self._console.hear(self._proxied, self._send),
                    self._typed: self._typing_ended,
                }
            )

    def _hear(self) -> bool:
        """True at the end, and when the connection is another one because the monitor had died."""
        ended = self._attachment.hear()
        self._print()
        return ended or self._attachment.fileno() != self._connection

    def _typing_ended(self) -> bool:
        if os.read(self._typed, 1) == b"d":
            raise Detached
        if self._end_input:
            self._attachment.end_input()
        return False

    def _print(self) -> None:
        for stream, data in self._attachment.read():
            if self._shown:
                self._shown = _shows(1 + stream, data)


def _until(callbacks: Mapping[int, Callable[[], bool]]) -> None:
    """Call back whoever has something to read, until one of them says that it is enough."""
    poll = select.poll()
    for descriptor in callbacks:
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _events in poll.poll():
            if callbacks[descriptor]():
                return


class Console:
    """This terminal while something else has it: raw, and its size passed on with `resize(rows, columns)`."""

    def __init__(
        self, resize: Callable[[int, int], None], *, raw: bool = True, heard: Iterable[int] = ()
    ) -> None:
        self._resize = resize
        self._raw = raw
        self._heard = Heard({*heard, *(_ENDING if raw else ()), signal.SIGWINCH, signal.SIGCONT})
        self._before: list[Any] = []

    def __enter__(self) -> Console:
        self._heard.__enter__()
        if self._raw:
            self._before = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead is kept
        return self

    def __exit__(self, *_error: object) -> None:
        if self._raw:
            with contextlib.suppress(termios.error):  # its window has been closed
                termios.tcsetattr(0, termios.TCSADRAIN, self._before)
        self._heard.__exit__()

    def fileno(self) -> int:
        """Becomes readable when a signal has come."""
        return self._heard.fileno()

    def hear(self, proxied: Iterable[int], send: Callable[[int], None] | None = None) -> bool:
        """Act on the signals that have come; False, or `_Ended` when one of them ends us."""
        for number in self._heard.take():
            if send is not None and number in proxied:
                send(number)
            elif number in _ENDING:
                raise _Ended(number)
            elif number == signal.SIGCONT and self._raw:
                with contextlib.suppress(termios.error):  # a closed window continues us, to be told of that
                    tty.setraw(0, termios.TCSADRAIN)  # a shell has set it as it was while we were stopped
            self.resize()
        return False

    def resize(self, *, redraw: bool = False) -> None:
        """Pass on the size of this terminal; `redraw`: as a change, so that a full screen is drawn again."""
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(0)
            if redraw:
                self._resize(size.lines + 1, size.columns)
            self._resize(size.lines, size.columns)


def _shows(target: int, data: bytes) -> bool:
    """Write everything; False where that is a terminal whose window has been closed."""
    try:
        write_all(target, data)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False
    return True


def _type(source: int, target: int, detacher: Detacher | None, told: int) -> None:
    """Pass on what is typed; a letter to `told` says why that is over: d for detached, e for the end."""
    reason = b"e"
    try:
        if detacher is None:
            feed(source, target)
        else:
            while data := os.read(source, _CHUNK):
                passed, gone = detacher.look(data)
                write_all(target, passed)
                if gone:
                    reason = b"d"
                    break
    except OSError:  # nobody reads it any more
        pass
    if told >= 0:
        os.write(told, reason)


def _show(master: int) -> bool | None:
    """Pass on what the process has written; False when there is nothing now, None when there is no more."""
    try:
        data = os.read(master, _CHUNK)
    except BlockingIOError:
        return False
    except OSError:  # EIO: no process has the terminal open any more
        return None
    write_all(1, data)
    return True if data else None
