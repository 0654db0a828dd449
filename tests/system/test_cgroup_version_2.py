"""What the kernel itself does for version 2 groups, on whatever tree of that version the machine has."""

from __future__ import annotations

import os
import signal
import stat
from typing import TYPE_CHECKING

import pytest

from compose.engine.embedded.devices import cgroup_rules
from compose.linux.bpf import programs_of_cgroup
from compose.linux.numbers import SYS_dup3, SYS_execve
from compose.linux.vfork import Calls
from compose.runtime.cgroups import common, devices, v2
from compose.runtime.container.oci import device_rules
from compose.runtime.loop import Loop
from tests.support.leftovers import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any

KMSG = os.makedev(1, 11)


@pytest.fixture
def group(nothing_left: None) -> Iterator[str]:
    """A new group."""
    for line in mounts().values():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            directory = f"{before.split(' ')[4]}/pycompose-test-{os.getpid()}"
            os.mkdir(directory)
            yield directory
            os.rmdir(directory)
            return
    raise AssertionError("there is no version 2 tree: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")


def can_write(group: str, path: Path) -> bool:
    """Whether a process in the group can open the device for writing."""
    pid = os.fork()
    if pid == 0:
        try:
            with open(f"{group}/cgroup.procs", "w") as file:
                file.write("0")
            os.close(os.open(path, os.O_WRONLY))
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(
    ("extra", "allowed"), [([], False), (["c 1:11 w"], True), (["c 1:11 r"], False), (["b *:* rwm"], False)]
)
def test_the_kernel_follows_the_rules(
    group: str, tmp_path: Path, extra: Sequence[str], *, allowed: bool
) -> None:
    kmsg, null = tmp_path / "kmsg", tmp_path / "null"
    os.mknod(kmsg, stat.S_IFCHR | 0o600, KMSG)
    os.mknod(null, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert can_write(group, kmsg)
    rules: list[dict[str, Any]] = device_rules()
    for text in extra:
        rules += cgroup_rules(text)
    devices.attach(group, rules)
    assert can_write(group, null)
    assert can_write(group, kmsg) == allowed


def test_a_group_that_is_used_again_has_one_program(group: str) -> None:
    for _ in range(70):  # the kernel takes 64
        devices.attach(group, device_rules())
    descriptor = os.open(group, os.O_RDONLY)
    try:
        assert programs_of_cgroup(descriptor) == 1
    finally:
        os.close(descriptor)


def test_every_change_of_a_control_file_is_told(group: str) -> None:
    """As of memory.events, which only a machine without version 1 has: the kernel tells of both alike."""
    told: list[str] = []
    loop = Loop()
    descriptor = os.open(f"{group}/cgroup.events", os.O_RDONLY)
    cgroup = v2.CgroupV2("p", make=False)

    def changed() -> None:
        told.append(os.pread(descriptor, 4096, 0).decode().splitlines()[0])
        cgroup.clear_oom_events(descriptor)
        if len(told) == 4:
            loop.stop()
        else:
            populate()

    def populate() -> None:
        """Put a process in, or end it."""
        if len(told) % 2 == 0:
            pids.append(os.fork())
            if pids[-1] == 0:
                signal.pause()
            with open(f"{group}/cgroup.procs", "w") as file:
                file.write(str(pids[-1]))
        else:
            os.kill(pids[-1], signal.SIGKILL)
            os.waitpid(pids[-1], 0)

    pids: list[int] = []
    cgroup.clear_oom_events(descriptor)
    loop.reader(descriptor, changed, urgent=True)
    populate()
    loop.run()
    loop.close()
    os.close(descriptor)
    assert told == ["populated 1", "populated 0"] * 2


def test_a_child_without_a_fork_is_born_in_the_group(group: str) -> None:
    calls = Calls()
    calls.leave_memory()
    reader, writer = os.pipe()
    descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    calls.add(SYS_dup3, writer, 1, 0)
    calls.add(SYS_execve, b"/bin/cat", calls.pointers([b"cat", b"/proc/self/cgroup"]), calls.pointers([]))
    os.waitpid(calls.begin(descriptor), 0)
    for number in (descriptor, writer):
        os.close(number)
    with os.fdopen(reader) as file:
        unified = next(line for line in file if line.startswith("0::"))
    assert unified.rpartition("/")[2].strip() == os.path.basename(group)


def test_it_is_told_where_that_is(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _, name = group.rpartition("/")
    monkeypatch.setattr(common, "ROOT", root)
    found = v2.CgroupV2(name, make=False)
    assert (found.entrances(), found.birthplace()) == ([], group)
