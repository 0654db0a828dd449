"""What enters a container without a fork of ours, and yet is the same process in every respect."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import compose.runtime.container.enter as enter_module
from compose.runtime import oom
from compose.runtime.container import seccomp
from compose.runtime.container.child import Stdio, fork_and_wait
from tests.support.launching import Box, Running, forking_always, in_monitor
from tests.support.nursing import Nursed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compose.runtime.spec import Process

LOOK = r"""
grep -E '^(Umask|Uid|Gid|Groups|NoNewPrivs|Seccomp|Sig[BCIP]|Shd|Cap)' /proc/self/status
pwd; env | sort; ls /proc/self/fd; cat /proc/self/limits /proc/self/cgroup /proc/self/oom_score_adj
for n in mnt uts ipc net pid cgroup user; do readlink /proc/self/ns/$n; done
stat -L -c %u /proc/self/fd/1; stat -L -c %u /dev/null
read pid name state parent group session rest < /proc/self/stat
test $session = $$ && test $group = $$ && echo session of its own
"""


@pytest.fixture
def box(nothing_left: None, tmp_path: Any, busybox_root: str) -> Iterator[Box]:
    made = Box(str(tmp_path), busybox_root)
    yield made
    made.close()


class Probe:
    """One process that is started in a container again and again; only inside `in_monitor`."""

    def __init__(self, running: Running, *args: str, **changes: Any) -> None:
        self.running = running
        self.process: Process = {**running.spec["oci"]["process"], "args": list(args), **changes}  # type: ignore[typeddict-item]
        self.process["diesWithMonitor"] = True

    def run(self) -> tuple[int, str]:
        """Exit code and output."""
        reader, writer = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        running = self.running
        try:
            entered = enter_module.enter(
                running.launched.pid,
                self.process,
                Stdio(null, writer, writer),
                pidfd=running.launched.pidfd,
                cgroup=running.cgroup,
                seccomp=running.spec["seccomp"],
            )
        finally:
            os.close(writer)
            os.close(null)
        with os.fdopen(reader, "rb") as file:
            output = file.read().decode()
        os.close(entered.pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(entered.pid, 0)[1]), output


def count_forks() -> Callable[[], int]:
    """How often `enter` has forked from now on."""
    forks = []
    original = fork_and_wait

    def counted(*arguments: Any, **options: Any) -> Any:
        forks.append(1)
        return original(*arguments, **options)

    vars(enter_module)["fork_and_wait"] = counted
    return lambda: len(forks)


NUMBERS = {"uid": 1234, "gid": 5678, "additionalGids": [77], "additionalGroups": ["app"]}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"user": {"username": "app"}},
        {"user": NUMBERS, "cwd": "/tmp", "no_new_privileges": True},
        {"privileged": True},
        {"cap_add": ["SYS_PTRACE"]},
        {"env": ["A=b c", "HOME=/x"]},
        {"cap_drop": ["ALL"], "cap_add": ["NET_RAW"], "user": {"username": "app", "umask": 0o027}},
    ],
)
def test_it_is_as_if_it_had_been_forked(box: Box, options: dict[str, Any]) -> None:
    def work() -> list[Any]:
        oom.protect(300)
        spec = box.spec("sleep", "1000", **options)
        spec["oci"]["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
        with Running(spec) as running:
            forks = count_forks()
            probe = Probe(running, "sh", "-c", LOOK)
            with forking_always():
                first = probe.run()
            with Nursed(running, probe.process) as nursed:
                return [first, [probe.run(), nursed.run(), nursed.run()], forks(), nursed.nurses]

    first, others, forks, nurses = in_monitor(work)
    assert first[0] == 0
    assert "session of its own" in first[1]
    assert others == [first] * 3
    assert (forks, nurses) == (1, 1)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_profile_without_forks_lets_programs_in_all_the_same(box: Box, terminal: bool) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["clone", "clone3", "fork", "vfork", "setsid"], "action": "SCMP_ACT_ERRNO"}],
    }

    def work() -> list[Any]:
        spec = box.spec("sleep", "1000")
        with open(f"{box.directory}/profile", "wb") as file:
            file.write(seccomp.of_profile(profile, []))
        spec["seccomp"] = file.name
        with Running(spec) as running:
            forks = count_forks()
            null = os.open("/dev/null", os.O_RDWR)
            entered = running.enter(Stdio(null, null, null), "sh", "-c", "(:) || exit 7", terminal=terminal)
            return [os.waitstatus_to_exitcode(os.waitpid(entered.pid, 0)[1]), forks()]

    code, forks = in_monitor(work)
    assert code != 0  # it cannot fork
    assert forks == 1


def test_a_change_of_the_user_database_is_seen(box: Box) -> None:
    def work() -> list[Any]:
        with Running(box.spec("sleep", "1000", user={"username": "app"})) as running:
            forks = count_forks()
            probe = Probe(running, "id", "-u")
            found = [probe.run(), probe.run()]
            path = f"/proc/{running.launched.pid}/root/etc/passwd"
            with open(path) as file:
                text = file.read()
            with open(path, "w") as file:
                file.write(text.replace("app:x:1000:", "app:x:1777:"))
            return [*found, probe.run(), forks()]

    *found, forks = in_monitor(work)
    assert found == [[0, "1000\n"], [0, "1000\n"], [0, "1777\n"]]
    assert forks == 0


def test_a_program_that_has_gone_is_named_as_ever(box: Box) -> None:
    def work() -> list[Any]:
        with Running(box.spec("sleep", "1000")) as running:
            root = f"/proc/{running.launched.pid}/root"
            shutil.copy(f"{root}/bin/busybox", f"{root}/tmp/id")
            probe = Probe(running, "/tmp/id", "-u")
            found: list[Any] = [probe.run(), probe.run()]
            os.rename(f"{root}/tmp/id", f"{root}/tmp/gone")
            for _ in range(2):
                try:
                    probe.run()
                except Exception as error:
                    found.append(str(error))
            os.rename(f"{root}/tmp/gone", f"{root}/tmp/id")
            return [*found, probe.run()]

    gone = "exec /tmp/id: No such file or directory"
    assert in_monitor(work) == [[0, "0\n"], [0, "0\n"], gone, gone, [0, "0\n"]]


def test_a_container_that_has_ended_meanwhile_is_not_entered(box: Box) -> None:
    def work() -> list[Any]:
        with Running(box.spec("sleep", "1000")) as running:
            probe = Probe(running, "true")
            codes = [probe.run()[0], probe.run()[0]]
            running.cgroup.kill()
            running.wait()
            try:
                probe.run()
            except Exception as error:
                return [*codes, str(error)]
            return ["entered"]

    assert in_monitor(work) == [0, 0, "enter the container: it does not run any more"]


@pytest.mark.parametrize("traces", [False, True])
def test_a_container_with_room_for_one_more_process(box: Box, traces: bool) -> None:
    """It is entered all the same, unless it could trace what is born before it has given up its rights."""

    def work() -> list[Any]:
        options: dict[str, Any] = {"cap_add": ["SYS_PTRACE"]} if traces else {}
        spec = box.spec("sleep", "1000", **options)
        spec["oci"]["linux"]["resources"] = {"pids": {"limit": 2}}
        with Running(spec) as running:
            probe = Probe(running, "true")
            found: list[Any] = []
            for _ in range(5):
                try:
                    found.append(probe.run()[0])
                except Exception as error:
                    found.append(str(error))
            return found

    refused = "fork: Resource temporarily unavailable"
    assert in_monitor(work) == [refused if traces else 0] * 5
