"""A child that makes system calls and shares our memory: what it does, and that it leaves us as we were."""

from __future__ import annotations

import ctypes
import os
import signal

import pytest

from compose.linux import files, signals, vfork_code
from compose.linux import numbers as n
from compose.linux.vfork import ANY_ERROR, REPORT, Calls, forking, tolerate
from tests.support.listings import check_jumps, parsed

ENOENT, ENOTDIR, EXDEV, EBADF = 2, 20, 18, 9
LISTINGS = {"x86_64": vfork_code.X86_64, "aarch64": vfork_code.AARCH64}


def spawn(calls: Calls) -> int:
    """The exit code of the child."""
    mask = signals.block_all()
    try:
        pid = calls.spawn()
    finally:
        signals.set_mask(mask)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def execute(calls: Calls, *arguments: str, **options: int) -> Calls:
    """Add the execution of a program with the environment A=B."""
    words = [os.fsencode(argument) for argument in arguments]
    calls.add(n.SYS_execve, words[0], calls.pointers(words), calls.pointers([b"A=B"]), **options)  # type: ignore[arg-type]
    return calls


@pytest.mark.parametrize("machine", LISTINGS)
def test_jumps_lead_where_the_text_says(machine: str) -> None:
    check_jumps(machine, LISTINGS[machine])
    assert machine != "aarch64" or {len(one[1]) for one in parsed(LISTINGS[machine])[1]} == {4}


def test_the_program_gets_its_arguments_and_environment() -> None:
    assert spawn(execute(Calls(), "/bin/sh", "-c", 'test "$A$1" = Bx && exit 7', "name", "x")) == 7


def test_it_can_be_started_again_with_another_argument() -> None:
    calls = Calls()
    reader, writer = os.pipe()
    place = calls.add(n.SYS_dup3, -1, 1, 0)
    execute(calls, "/bin/echo", "hello")
    for _ in range(3):
        calls.change(place, 0, writer)
        assert spawn(calls) == 0
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "hello\n" * 3


def test_the_error_that_ends_it_is_raised_and_no_child_is_left() -> None:
    calls = execute(Calls(), "/nowhere/program")
    before = os.listdir("/proc/self/fd"), children()
    with pytest.raises(OSError, match="call 0: No such file") as raised:
        spawn(calls)
    assert raised.value.errno == ENOENT
    assert (os.listdir("/proc/self/fd"), children()) == before


def children() -> str:
    """The children of this thread, those that have ended too."""
    with open("/proc/thread-self/children", encoding="ascii") as file:
        return file.read()


def test_only_the_tolerated_errors_are_passed_over() -> None:
    calls = execute(Calls(), "/nowhere/program", tolerated=tolerate(ENOENT))
    calls.add(n.SYS_close, 1 << 20, tolerated=ANY_ERROR)
    assert spawn(execute(calls, "/bin/true")) == 0
    calls = execute(Calls(), "/nowhere/program", tolerated=tolerate(ENOTDIR))
    with pytest.raises(OSError, match="call 0: No such file"):
        spawn(execute(calls, "/bin/true"))


def test_a_list_without_a_program_that_there_is_ends_in_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        spawn(execute(Calls(), "/nowhere/program", tolerated=tolerate(ENOENT)))


def test_a_result_is_kept_for_later_calls() -> None:
    calls = Calls()
    calls.add(n.SYS_openat, -100, b"/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, save=True)
    calls.add(n.SYS_close, 1 << 20, tolerated=tolerate(EBADF))
    calls.add(n.SYS_fchdir, 0, use=True)
    calls.add(n.SYS_close, 0, use=True)
    assert spawn(execute(calls, "/bin/sh", "-c", "test $(pwd) = / && exit 3")) == 3
    assert os.getcwd() != "/"  # nobody else's


def test_what_must_be_an_absolute_path_is_looked_at() -> None:
    calls = Calls()
    calls.add(n.SYS_getcwd, bytes(4096), 4096, absolute=True)
    assert spawn(execute(calls, "/bin/true")) == 0
    calls = Calls()
    calls.add(n.SYS_fchdir, b"relative", tolerated=ANY_ERROR, absolute=True)  # what fails is not looked at
    calls.add(n.SYS_openat, b"relative", b"/", os.O_RDONLY | os.O_CLOEXEC, absolute=True)
    with pytest.raises(OSError, match="call 1: ") as raised:
        spawn(execute(calls, "/bin/true"))
    assert raised.value.errno == EXDEV


def go_on(calls: Calls, report_place: int) -> tuple[int, bytes]:
    """The exit code of the process that is born last, and its report."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    high = files.dup_above(writer, REPORT + 1)
    os.close(writer)
    calls.change(report_place, 0, high)
    mask = signals.block_all()
    try:
        first = calls.begin()
    finally:
        signals.set_mask(mask)
        os.close(high)
    assert os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) in (0, 127)
    last = calls.born()
    with os.fdopen(reader, "rb") as file:
        report = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(last, 0)[1]), report


def born(*arguments: str) -> tuple[Calls, int]:
    """A list that goes on twice, and the place of the call that puts its report where it belongs."""
    calls = Calls()
    calls.leave_memory()
    place = calls.add(n.SYS_dup3, -1, REPORT, os.O_CLOEXEC)
    calls.be_born()
    return execute(calls, *arguments), place


def test_it_goes_on_as_another_child_of_ours() -> None:
    calls, place = born("/bin/sh", "-c", f"test $PPID = {os.getpid()} && exit 9")
    for _ in range(3):
        assert go_on(calls, place) == (9, b"")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_one_after_the_other_is_born_of_the_same() -> None:
    """Each after a byte has been read."""
    calls = Calls()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    told, tell = os.pipe2(os.O_CLOEXEC)
    calls.leave_memory()
    calls.add(n.SYS_close, writer)
    calls.share()
    again = calls.add(n.SYS_write, tell, calls.born_at, 8)
    calls.add(n.SYS_read, reader, byte := calls.pointer(b"-"), 1)
    calls.add(n.SYS_write, tell, byte, 1)
    calls.be_born(back_to=again)
    execute(calls, "/bin/sh", "-c", f"test $PPID = {os.getpid()} && exit 9")
    mask = signals.block_all()
    with forking:
        first = calls.begin()
    signals.set_mask(mask)
    os.close(reader)
    os.close(tell)
    assert os.read(told, 8) == bytes(8)
    for _ in range(3):
        calls.forget_born()
        os.write(writer, b"/")
        assert os.read(told, 1) == b"/"
        last = int.from_bytes(os.read(told, 8), "little")
        assert last == ctypes.c_int.from_address(calls.born_at).value
        assert os.waitstatus_to_exitcode(os.waitpid(last, 0)[1]) == 9
    calls.forget_born()
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    assert (os.read(told, 8), calls.born()) == (b"", 0)
    os.close(told)
    os.close(writer)


def test_the_last_one_reports_what_it_could_not_execute() -> None:
    calls, place = born("/nowhere/program")
    code, report = go_on(calls, place)
    assert code == 127
    error = calls.read_report(report)
    assert (error.errno, "No such file" in str(error)) == (ENOENT, True)


def test_what_fails_before_it_is_born_is_raised() -> None:
    calls = Calls()
    calls.leave_memory()
    place = calls.add(n.SYS_dup3, -1, REPORT, os.O_CLOEXEC)
    calls.add(n.SYS_close, 1 << 20)
    calls.be_born()
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        go_on(execute(calls, "/bin/true"), place)
    assert raised.value.errno == EBADF
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_nothing_of_our_memory_goes_with_it() -> None:
    """Of a process that waits between its birth and its program."""
    calls = Calls()
    calls.leave_memory()
    calls.be_born()
    waiting, go = os.pipe()
    buffer = calls.pointer(bytes(1))
    calls.add(n.SYS_read, waiting, buffer, 1)
    execute(calls, "/bin/true")
    mask = signals.block_all()
    first = calls.begin()
    signals.set_mask(mask)
    os.waitpid(first, 0)
    last = calls.born()
    with open(f"/proc/{last}/maps") as file:
        names = [line.split(None, 5)[5].strip() for line in file if len(line.split(None, 5)) > 5]
    os.write(go, b"g")
    assert os.waitstatus_to_exitcode(os.waitpid(last, 0)[1]) == 0
    os.close(go)
    os.close(waiting)
    assert [name for name in names if not name.startswith("[v")] == []
