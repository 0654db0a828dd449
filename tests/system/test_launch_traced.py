"""A container that may trace processes gets nothing from those that enter it that it has not itself.

Each test lets many processes enter, of which a tracer catches as many as it can. It goes with each from its
first system call to its program and notes what it could have had.
"""

from __future__ import annotations

import os
import secrets
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from compose.linux.process import PR_SET_DUMPABLE, prctl
from compose.runtime.container import capabilities, hardening
from compose.runtime.container.child import Stdio
from compose.runtime.container.enter import enter
from tests.support.launching import Box, Running, forking_always, in_monitor
from tests.support.nursing import Nursed
from tests.support.tracing import Catch, Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compose.runtime.spec import Process

PR_GET_DUMPABLE = 3
ENTRIES, MANY = 40, 200
OWN = ("pipe:", "socket:", "/dev/null", "/dev/pts/", "/pts/")
"""What the descriptors 0 to 2 and that of the report are."""
MEMORY = "the monitor's memory"
SHARED = {"pid": "pid", "proc": "mnt"}


@pytest.fixture
def box(nothing_left: None, tmp_path: Any, busybox_root: str) -> Iterator[Box]:
    made = Box(str(tmp_path), busybox_root)
    yield made
    made.close()


def run(running: Running, process: Process) -> None:
    """Have a process in the container, to its end."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    entered = enter(
        running.launched.pid,
        process,
        Stdio(null, null, null),
        pidfd=running.launched.pidfd,
        cgroup=running.cgroup,
        seccomp=running.spec["seccomp"],
    )
    os.close(null)
    os.waitpid(entered.pid, 0)
    os.close(entered.pidfd)
    if entered.master is not None:
        os.close(entered.master)


def traced(
    box: Box, *, again: bool, forked: bool = False, entries: int = ENTRIES, **options: Any
) -> list[str]:
    """What a tracer has got in a container with these options that is not the container's.

    `again`: it is always the same process, as a health probe is, and has a nurse. `forked`: as what cannot be
    written down.
    """
    changes = {"terminal": options.pop("terminal", False)}

    def monitor() -> list[str]:
        secret = secrets.token_hex(32).encode()
        with Running(box.spec("sleep", "1000", **options)) as running:
            process: Process = {**running.spec["oci"]["process"], "args": ["true"], **changes}  # type: ignore[typeddict-item]
            own = process["capabilities"]["bounding"]
            root = os.stat(f"/proc/{running.launched.pid}/root")
            with (
                Nursed(running, process) as nursed,
                Tracer(running.launched.pidfd, {*own, "CAP_SYS_PTRACE"}, secret) as tracer,
                forking_always() if forked else nullcontext(),
            ):
                one: Callable[[], object] = nursed.run if again else lambda: run(running, process)
                for _ in range(entries):
                    one()
                tracer.wait_for_a_catch(one)
                assert nursed.nurses == again
            return [
                problem
                for catch in tracer.catches
                for problem in problems(catch, capabilities.mask(own), root)
            ]

    return in_monitor(monitor)


def problems(catch: Catch, own: int, root: os.stat_result | None) -> list[str]:
    """What the process had that its container has not; with `root` other roots as well."""
    found: list[str] = []
    more = catch.permitted & ~own
    found += [f"CAP_{name}" for place, name in enumerate(capabilities.NAMES) if more >> place & 1]
    if root is not None and (strange := catch.roots - {(root.st_dev, root.st_ino)}):
        found.append(f"roots {strange}")
    for number, name in catch.descriptors.items():
        if int(number) > 3 or not name.startswith(OWN):
            found.append(f"descriptor {number} of {name}")
    if catch.has_secret:
        found.append(MEMORY)
    return found


def launched(box: Box, *args: str) -> list[str]:
    """What a tracer in the pid namespace of one container gets of process 1 of others that share it, and what
    the last one of those has written."""

    def monitor() -> list[str]:
        secret = secrets.token_hex(32).encode()
        first = box.spec("sleep", "1000")
        with Running(first) as owner:
            pid, own = owner.launched.pid, first["oci"]["process"]["capabilities"]["bounding"]
            joined = {name: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for name, kind in SHARED.items()}
            written = ""

            def one() -> None:
                nonlocal written
                spec = box.spec(*args)
                spec["oci"]["linux"]["namespaces"] = [
                    entry for entry in spec["oci"]["linux"]["namespaces"] if entry["type"] != "pid"
                ]
                spec["shared"] = {"pid": first["id"]}
                with Running(spec, joined=joined) as running:
                    running.wait()
                    written = running.output()

            with Tracer(owner.launched.pidfd, {*own, "CAP_SYS_PTRACE"}, secret) as tracer:
                for _ in range(ENTRIES):
                    one()
                tracer.wait_for_a_catch(one)
            mask = capabilities.mask(own)
            roots = {root for catch in tracer.catches for root in catch.roots}
            assert (os.stat("/").st_dev, os.stat("/").st_ino) not in roots
            return [*{text for catch in tracer.catches for text in problems(catch, mask, None)}, written]

    return in_monitor(monitor)


@pytest.mark.parametrize(
    ("again", "terminal"), [(False, False), (False, True), (True, False)], ids=["exec", "terminal", "probe"]
)
def test_nothing_can_be_got_from_what_enters(box: Box, again: bool, terminal: bool) -> None:
    entries = ENTRIES if terminal else MANY
    assert traced(box, again=again, terminal=terminal, entries=entries, cap_add=["SYS_PTRACE"]) == []


def test_nor_by_another_container_in_its_pid_namespace(box: Box) -> None:
    """One that may trace processes, of a container that may not."""
    assert traced(box, again=True) == []


def test_with_a_user_and_few_rights(box: Box) -> None:
    options: dict[str, Any] = {"user": {"username": "app"}, "no_new_privileges": True, "cap_drop": ["ALL"]}
    assert traced(box, again=True, **options) == []


def test_what_cannot_be_written_down_has_no_more_than_its_memory(box: Box) -> None:
    found = traced(box, again=False, forked=True, cap_add=["SYS_PTRACE"])
    assert set(found) <= {MEMORY}


def test_nor_from_process_1_of_a_container_that_shares_it(box: Box) -> None:
    *found, written = launched(box, "sh", "-c", "test -d /proc/$$/ns && ls /proc/self/fd && cat /proc/1/comm")
    assert written.split()[-2:] == ["3", "sleep"]
    assert set(found) <= {MEMORY}


@pytest.mark.parametrize("forked", [False, True])
def test_who_may_not_trace_gets_near_nobody_who_enters(
    box: Box, forked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Process 1 and what enters are not dumpable until they execute; what is not forked has our memory."""

    def work() -> list[int]:
        reader, writer = os.pipe()
        monkeypatch.setattr(hardening, "ON_JOINED", lambda: os.write(writer, b"%d" % prctl(PR_GET_DUMPABLE)))
        prctl(PR_SET_DUMPABLE, 1)
        with Running(box.spec("sleep", "1000")) as running:
            with forking_always() if forked else nullcontext():
                assert running.exec("true").code == 0
            own = prctl(PR_GET_DUMPABLE)
            os.close(writer)
            with os.fdopen(reader, "rb") as file:
                return [*map(int, file.read().decode()), own]

    assert in_monitor(work) == ([0, 0, 1] if forked else [0, 0])
