"""The caller's standard streams joined with those of a process in a container, by pipes.

    with Pipes() as pipes:
        session = keeper.exec(identity, process, pipes.theirs)
        pipes.begin()                 three threads, one a stream
        code = session.wait()
        pipes.finish()                what it has written is passed on, then this returns

A container never gets a descriptor of the caller: through /proc/self/fd it could reopen a file that it was
given for reading, and write to it. Each stream has a thread that may block, so that one that nobody reads
holds up no other; bytes go by splice(2) inside the kernel where both sides allow that. Both directions end
as if nobody stood between: the end of input closes the process's standard input, and when either side's
reader goes, the other one's writer gets SIGPIPE.
"""

from __future__ import annotations

import _thread
import errno
import os
import select

_CHUNK = 1 << 16
_CLOSED = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Pipes:
    """Pipes between 0, 1, 2 of this process and those of another one, which gets `theirs`."""

    def __init__(self, *, stdin: bool = True) -> None:
        """Without `stdin` the process reads the end of its input at once."""
        self.theirs: list[int] = []
        self._stdin = stdin
        self._failed = False
        self._ours: list[int] = []
        self._ended, self._end = os.pipe2(os.O_CLOEXEC)
        self._running: list[_thread.LockType] = []
        for number in range(3):
            if number == 2 and _same_file(1, 2):  # one pipe keeps what goes to one place in order
                self.theirs.append(self.theirs[1])
                return
            reader, writer = os.pipe2(os.O_CLOEXEC)
            self.theirs.append(writer if number else reader)
            self._ours.append(reader if number else writer)
            os.fchmod(writer, 0o666)  # so that /dev/stdout can be reopened by a process that changed its user

    def __enter__(self) -> Pipes:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close_theirs()
        if not self._running:  # a thread may still use what is its own
            for number in (*self._ours, self._ended):
                os.close(number)
        if self._end >= 0:
            os.close(self._end)

    def _close_theirs(self) -> None:
        for number in set(self.theirs):
            os.close(number)
        self.theirs = []

    def begin(self) -> None:
        """The process has its ends: move bytes from now on."""
        self._close_theirs()
        stdin, *outputs = self._ours
        if self._stdin:
            _thread.start_new_thread(_feed, (0, stdin))
        else:
            os.close(stdin)
        for target, source in enumerate(outputs, 1):
            os.set_blocking(source, False)
            lock = _thread.allocate_lock()
            lock.acquire()
            self._running.append(lock)
            _thread.start_new_thread(self._drain, (source, target, lock))

    def finish(self) -> bool:
        """The process has ended: wait until everything that it has written is passed on, and say whether all
        of it was (a full disk has been complained of by then).

        What others write later, to whom it has left its streams, is theirs to lose.
        """
        os.close(self._end)
        self._end = -1
        for lock in self._running:
            lock.acquire()
        return not self._failed

    def _drain(self, source: int, target: int, done: _thread.LockType) -> None:
        """Pass on what comes from `source` until it is empty and the process has ended, or until its end."""
        try:
            _pass_on(source, target, self._ended)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EBADF):
                self._failed = True
                _complain(target, error)
        finally:
            os.close(source)  # whoever still writes gets SIGPIPE
            done.release()


def _same_file(first: int, second: int) -> bool:
    return os.path.samestat(os.fstat(first), os.fstat(second))


def _feed(source: int, target: int) -> None:
    """`feed`, and the end of one's input is that of the other's."""
    try:
        if not feed(source, target):
            _close_input(source)
    finally:
        os.close(target)


def feed(source: int, target: int) -> bool:
    """Pass on what comes from `source`; True at its end, False when nobody reads `target` any more."""
    move = Mover(source, target)
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(target, 0)
    try:
        while True:
            for descriptor, events in poll.poll():
                if descriptor == target and events & _CLOSED:
                    return False
                if descriptor == source and not move():
                    return True
    except OSError:  # the terminal has gone
        return False


def _close_input(number: int) -> None:
    """Let whoever writes to our standard input know that nobody reads it any more."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, number)
    os.close(null)


def _pass_on(source: int, target: int, ended: int) -> None:
    move = Mover(source, target)
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(target, 0)
    poll.register(ended, 0)
    while True:
        ready = dict(poll.poll())
        if ready.get(target, 0) & _CLOSED:
            return
        if source in ready:
            if ready[source] & select.POLLIN:
                move()
            else:
                return
        elif ended in ready:
            return


def _complain(target: int, error: OSError) -> None:
    from compose.ui.streams import say

    say(f"pycompose: write {'standard error' if target == 2 else 'standard output'}: {error.strerror}\n")


class Mover:
    """Moves bytes from a descriptor that is readable to one that may block."""

    __slots__ = ("_source", "_splice", "_target")

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._splice = True

    def __call__(self) -> int:
        """The number of bytes moved; 0 at the end. Raises `OSError` when they cannot be written."""
        while self._splice:
            try:
                return os.splice(self._source, self._target, _CHUNK)
            except BlockingIOError:  # one of two pipes does not block, so neither does the call
                _wait_for_room(self._target)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._splice = False  # a terminal, /dev/null, a file opened for appending
        data = os.read(self._source, _CHUNK)
        write_all(self._target, data)
        return len(data)


def write_all(target: int, data: bytes) -> None:
    """Write everything, also to a descriptor that somebody has set not to block."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BlockingIOError:
            _wait_for_room(target)


def _wait_for_room(target: int) -> None:
    poll = select.poll()
    poll.register(target, select.POLLOUT)
    poll.poll()
