"""``init: true``: signals, orphans, exit codes, terminals, and that it cannot be written to."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from compose.linux.process import pidfd_send_signal
from compose.runtime.container import init
from compose.runtime.container.hardening import INIT_NAME
from compose.runtime.supervision.monitor.stop import hears
from tests.support.launching import Box, Done, Running, in_monitor

if TYPE_CHECKING:
    from compose.runtime.spec import ContainerSpec


def with_init(box: Box, *args: str, **options: Any) -> ContainerSpec:
    spec = box.spec(*args, **options)
    spec["init"] = True
    return spec


def run(box: Box, script: str, **options: Any) -> Done:
    return box.run(with_init(box, "sh", "-c", script, **options))


@pytest.mark.parametrize("user", ["", "app"])
def test_it_ends_as_its_child_does(box: Box, user: str) -> None:
    assert run(box, "exit 7", user={"username": user}).code == 7
    assert run(box, "exit 0", user={"username": user}).code == 0
    assert run(box, "kill -9 $$", user={"username": user}).code == 128 + signal.SIGKILL


def test_what_the_container_sees_of_it(box: Box) -> None:
    script = "tr '\\0' ' ' < /proc/1/cmdline; echo; cat /proc/1/comm; ls -l /proc/1/exe; ls /proc/1/fd; "
    script += "echo $$ $PPID; grep -E 'Cap(Eff|Bnd)|Seccomp:' /proc/1/status /proc/$$/status | cut -d : -f 2-"
    lines = run(box, script).output.splitlines()
    assert lines[0] == f"{INIT_NAME.decode()} /bin/sh sh -c {script} "
    assert lines[1] == "init"
    assert "/memfd:init" in lines[2]
    assert lines[3:7] == ["0", "1", "2", "3"]  # 3 is its signalfd
    assert lines[7] == "2 1"
    assert lines[8:11] == lines[11:14]  # both have the capabilities and the filter of the container


def test_it_costs_next_to_nothing(box: Box) -> None:
    found = run(box, "grep -E '^(VmRSS|Threads)' /proc/1/status").output.split()
    assert (
        int(found[1]) <= 64 and found[4] == "1"
    )  # kB: a page of code, one of stack, and what the kernel adds


def test_it_cannot_be_overwritten(box: Box) -> None:
    script = "echo x > /proc/1/exe; echo x >> /proc/1/exe; "
    done = run(box, script + "dd if=/dev/zero of=/proc/1/mem seek=4194304 bs=1 count=1; :")
    assert done.output.count("Text file busy") + done.output.count("Operation not permitted") >= 2
    assert done.code == 0  # and it still knew how its child ended


def test_orphans_are_reaped(box: Box) -> None:
    script = "for n in 1 2 3 4 5; do (sleep 0.0$n & echo $! >> /pids); done; for p in $(cat /pids); do "
    script += (
        "tries=0; while [ -e /proc/$p ] && [ $tries -lt 5000 ]; do sleep 0.01; tries=$((tries+1)); done; "
    )
    script += "test -e /proc/$p && cat /proc/$p/stat; done; wc -l < /pids"
    assert run(box, script).output.split() == ["5"]


def test_nothing_outlives_its_child(box: Box) -> None:
    assert run(box, "sleep 1000 & exit 3").code == 3


SIGNALS = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH", "CONT", "RTMIN", "RTMAX"]


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_are_passed_on(box: Box, name: str) -> None:
    number = int(getattr(signal, f"SIG{name}"))

    def work() -> list[Any]:
        script = f"trap 'echo got it; exit 4' {number}; echo ready; while :; do sleep 0.01; done"
        with Running(with_init(box, "sh", "-c", script)) as running:
            assert running.line() == "ready"
            heard = hears(running.launched.pid, number)
            pidfd_send_signal(running.launched.pidfd, number)
            return [heard, running.line(), running.wait()]

    assert in_monitor(work) == [True, "got it", 4]


def test_a_program_that_handles_nothing_ends_at_once(box: Box) -> None:
    """As process 1 itself it would not get the signal at all."""

    def work() -> int:
        with Running(with_init(box, "sleep", "1000")) as running:
            pidfd_send_signal(running.launched.pidfd, signal.SIGTERM)
            return running.wait()

    assert in_monitor(work) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("args", "says", "reason"),
    [
        (["nosuch"], "exec nosuch: executable file not found in $PATH", "not found"),
        (["/nosuch"], "exec /nosuch: No such file or directory", "not found"),
        (["/etc"], "exec /etc: Permission denied", "permission"),
        (["/etc/passwd"], "exec /etc/passwd: Permission denied", "permission"),
        (["/broken"], "exec /broken: No such file or directory", "not found"),
        (["/text"], "exec /text: Exec format error", "permission"),
    ],
)
def test_a_program_that_cannot_be_executed_is_told_as_without_it(
    box: Box, args: list[str], says: str, reason: str
) -> None:
    for make in (box.spec, lambda *args: with_init(box, *args)):
        spec = make(*args)
        upper = spec["rootfs"]["upper"]
        for name, text in (("broken", "#!/nosuch\n"), ("text", "text")):
            with open(f"{upper}/{name}", "w") as file:
                file.write(text)
            os.chmod(f"{upper}/{name}", 0o755)
        refused = box.refused(spec)
        assert (str(refused), refused.reason) == (says, reason)


def test_the_terminal_is_the_childs(box: Box) -> None:
    script = "tty; trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.01; done"

    def work() -> list[Any]:
        with Running(with_init(box, "sh", "-c", script, terminal=True)) as running:
            master = running.launched.master
            assert master is not None
            seen = b""
            while b"ready" not in seen:
                seen += os.read(master, 4096)
            os.write(master, b"\x03")
            while b"interrupted" not in seen:
                seen += os.read(master, 4096)
            return [seen.decode(), running.wait()]

    seen, code = in_monitor(work)
    assert code == 5
    assert "/dev/pts/0" in seen and seen.count("interrupted") == 1


def test_where_it_is_not_process_1_it_gets_its_own_orphans(box: Box) -> None:
    script = "(sleep 1000 & echo $! > /pid); p=$(cat /pid); cut -d ' ' -f 4 /proc/$p/stat; echo $PPID; "
    script += "kill $p; while [ -e /proc/$p ]; do :; done"
    first, second = run(box, script, pid="host").output.split()
    assert first == second != "1"


def test_there_is_one_for_two_kinds_of_machines() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(init.program(machine)) < 700
    with pytest.raises(Exception, match="init: there is none for riscv64 machines"):
        init.program("riscv64")
