"""What limits do inside a container, on either version of control groups.

Most rows read the file in which the kernel keeps a limit, as the container sees it: another one in version 1
than in version 2. What only version 1 has is warned of on version 2.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from compose.runtime import cgroups, records
from compose.runtime.cgroups import common, systemd
from compose.state.index import Index
from tests.support.command import Lines
from tests.support.leftovers import cgroup_roots
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from compose.runtime.spec import ContainerState
    from compose.state.index import ContainerRow
    from tests.support.command import Stack

VERSION = cgroups.version()


class Row(NamedTuple):
    key: str
    yaml: str
    """The rest of the service, in flow style; DISK is a block device of this machine, NUMBER its numbers."""
    one: str
    """Shell that prints the limit in version 1; empty: there is no such thing."""
    two: str
    expected_one: str
    expected_two: str


def same(key: str, yaml: str, one: str, two: str, expected: str) -> Row:
    return Row(key, yaml, f"cat {one}", f"cat {two}", expected, expected)


DEPLOYED = "deploy: {resources: {limits: {memory: 48m, cpus: '0.25', pids: 44}, reservations: {memory: 24m}}}"
THROTTLES = (
    "blkio_config: {device_read_bps: [{path: DISK, rate: 1m}], device_write_bps: [{path: DISK, rate: 2m}],"
    " device_read_iops: [{path: DISK, rate: 30}], device_write_iops: [{path: DISK, rate: 40}]}"
)

ROWS = [
    same("mem_limit", "mem_limit: 32m", "memory/memory.limit_in_bytes", "memory.max", "33554432"),
    same(
        "mem_reservation",
        "mem_reservation: 16m",
        "memory/memory.soft_limit_in_bytes",
        "memory.low",
        "16777216",
    ),
    Row(
        "memswap_limit",
        "mem_limit: 32m, memswap_limit: 48m",
        "cat memory/memory.memsw.limit_in_bytes",
        "cat memory.swap.max",
        "50331648",
        "16777216",  # swap alone
    ),
    Row(
        "swap by default",
        "mem_limit: 32m",
        "cat memory/memory.memsw.limit_in_bytes",
        "cat memory.swap.max",
        "67108864",
        "33554432",
    ),
    Row("mem_swappiness", "mem_swappiness: 17", "cat memory/memory.swappiness", "", "17", ""),
    Row(
        "oom_kill_disable",
        "mem_limit: 32m, oom_kill_disable: true",
        "head -1 memory/memory.oom_control",
        "",
        "oom_kill_disable 1",
        "",
    ),
    Row("cpus", "cpus: 0.5", "cat cpu/cpu.cfs_quota_us", "cat cpu.max", "50000", "50000 100000"),
    Row(
        "cpu_quota and cpu_period",
        "cpu_quota: 25000, cpu_period: 50000",
        "cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us",
        "cat cpu.max",
        "25000\n50000",
        "25000 50000",
    ),
    Row(
        "cpu_period alone",
        "cpu_period: 50000",
        "cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us",
        "cat cpu.max",
        "-1\n50000",
        "max 50000",
    ),
    Row("cpu_shares", "cpu_shares: 512", "cat cpu/cpu.shares", "cat cpu.weight", "512", "20"),
    Row(
        "cpu_rt_runtime and cpu_rt_period",
        "cpu_rt_runtime: 5ms, cpu_rt_period: 100ms",
        "cat cpu/cpu.rt_runtime_us cpu/cpu.rt_period_us",
        "",
        "5000\n100000",
        "",
    ),
    same("cpuset", "cpuset: '0'", "cpuset/cpuset.cpus", "cpuset.cpus", "0"),
    same("pids_limit", "pids_limit: 33", "pids/pids.max", "pids.max", "33"),
    same("deploy.limits.memory", DEPLOYED, "memory/memory.limit_in_bytes", "memory.max", "50331648"),
    same("deploy.reservations", DEPLOYED, "memory/memory.soft_limit_in_bytes", "memory.low", "25165824"),
    same("deploy.limits.pids", DEPLOYED, "pids/pids.max", "pids.max", "44"),
    Row("deploy.limits.cpus", DEPLOYED, "cat cpu/cpu.cfs_quota_us", "cat cpu.max", "25000", "25000 100000"),
    Row(
        "blkio_config rates",
        THROTTLES,
        "cd blkio; for i in read_bps write_bps read_iops write_iops; do cat blkio.throttle.${i}_device; done",
        "cat io.max",
        "NUMBER 1048576\nNUMBER 2097152\nNUMBER 30\nNUMBER 40",
        "NUMBER rbps=1048576 wbps=2097152 riops=30 wiops=40",
    ),
]


def block_device() -> tuple[str, str]:
    """Path and numbers of some block device, real or not; the limits are only read."""
    for name in sorted(os.listdir("/sys/block")):
        path = f"/dev/{name}"
        if os.path.exists(path):
            number = os.stat(path).st_rdev
            return path, f"{os.major(number)}:{os.minor(number)}"
    raise AssertionError("there is no block device: modprobe loop")


def test_every_limit_is_kept_by_the_kernel(stack: Stack) -> None:
    disk, number = block_device()
    text = "services:\n"
    for place, row in enumerate(ROWS):
        script = (row.one if VERSION == 1 else row.two) or "true"
        command = json.dumps(f"cd /sys/fs/cgroup; {script}".replace("$", "$$"))
        text += f"  s{place}: {{image: IMAGE, command: [sh, -c, {command}], {row.yaml}}}\n"
    stack.write(text.replace("DISK", disk))
    said = stack.up()
    stack.run("logs", "-f")
    printed: dict[str, list[str]] = {}
    for line in stack.run("logs").splitlines():
        before, _, shown = line.partition("| ")
        printed.setdefault(before.strip().removesuffix("-1"), []).append(shown)
    wrong = {}
    for place, row in enumerate(ROWS):
        expected = (row.expected_one if VERSION == 1 else row.expected_two).replace("NUMBER", number)
        found = "\n".join(printed.get(f"s{place}", []))
        if found != expected:
            wrong[row.key] = (expected, found)
    assert wrong == {}, said
    unknown = [row.key.split(" ")[0] for row in ROWS if not (row.one if VERSION == 1 else row.two)]
    assert all(f"{key}: not kept: " in said for key in unknown)
    assert bool(unknown) == ("not kept" in said)


def test_block_devices_are_shared_by_weight_or_the_reason_is_said(stack: Stack) -> None:
    show = "cd /sys/fs/cgroup; grep . blkio/blkio.bfq.weight blkio/blkio.weight io.bfq.weight io.weight"
    stack.write(f"""
services:
  a:
    image: IMAGE
    command: [sh, -c, "{show}"]
    blkio_config: {{weight: 300}}
""")
    said = stack.up()
    values = {line.rpartition(":")[2].split(" ")[-1] for line in stack.run("logs", "-f").splitlines()}
    scale = {"300", "2930"}  # 10 to 1000, and 1 to 10000
    assert bool(values & scale) != ("blkio_config.weight: not kept: this kernel shares no" in said)


def test_one_block_device_has_a_weight_of_its_own_or_the_reason_is_said(stack: Stack) -> None:
    disk, number = block_device()
    files = "blkio/blkio.bfq.weight_device blkio/blkio.weight_device io.bfq.weight io.weight"
    stack.write(f"""
services:
  a:
    image: IMAGE
    command: [sh, -c, "cd /sys/fs/cgroup; cat {files} 2>/dev/null; echo read"]
    blkio_config: {{weight_device: [{{path: {disk}, weight: 300}}]}}
""")
    said = stack.up()
    lines = [line.partition("| ")[2] for line in stack.run("logs", "-f").splitlines()]
    assert lines[-1] == "read"
    kept = {f"{number} 300", f"{number} 2930"} & set(lines)
    assert bool(kept) != ("blkio_config.weight_device: not kept: the device is not shared" in said)


def state(stack: Stack, name: str) -> ContainerState:
    """What is recorded of a container, once it is true."""
    (row,) = [row for row in rows(stack) if row.name == f"{stack.name}-{name}-1"]
    return records.read_state(stack.paths, row.id)


def rows(stack: Stack) -> list[ContainerRow]:
    with contextlib.closing(Index(stack.paths)) as index:
        return index.containers(stack.name)


def kill_monitor(stack: Stack, identity: str) -> None:
    """Kill the container's monitor; another one takes over."""
    os.kill(records.recorded_state(stack.paths, identity)["monitor_pid"], signal.SIGKILL)


HOG = "sh -c 'echo 1000 > /proc/self/oom_score_adj; exec tail /dev/zero'"
"""Nobody else asks for memory meanwhile, and the kernel is told whom to choose."""


def test_who_takes_too_much_memory_is_killed_and_that_is_said(stack: Stack) -> None:
    stack.write(f"""
services:
  first: {{image: IMAGE, command: [sh, -c, "exec tail /dev/zero"], mem_limit: 16m, memswap_limit: 16m}}
  child: {{image: IMAGE, command: [sh, -c, "{HOG}; exit 3"], mem_limit: 16m, memswap_limit: 16m}}
  other: {{image: IMAGE, command: [sleep, infinity], mem_limit: 16m, memswap_limit: 16m}}
""")
    stack.up()
    stack.run("logs", "-f", "first", "child")
    first, child, other = (state(stack, name) for name in ("first", "child", "other"))
    assert (first["exit_code"], first["oom_killed"]) == (137, True)
    assert (child["exit_code"], child["oom_killed"]) == (3, True)
    assert (other["status"], other["oom_killed"]) == ("running", False)
    assert "out of memory" in stack.run("ps", "--all", "first")


def test_the_number_of_processes_is_bounded(stack: Stack) -> None:
    bomb = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo all"
    stack.write(f"""
services:
  bomb: {{image: IMAGE, command: [sh, -c, "{bomb}"], pids_limit: 5}}
  tame: {{image: IMAGE, command: [sh, -c, "ulimit -u"], ulimits: {{nproc: 41}}}}
""")
    stack.up()
    said = stack.run("logs", "-f")
    assert "can't fork" in said
    assert "| 41" in said


def test_a_container_full_of_processes_can_be_entered_and_stopped(stack: Stack) -> None:
    fill = "(while :; do sleep 1000 & done) 2>/dev/null; echo full; exec sleep 1000"
    stack.write(f"services: {{a: {{image: IMAGE, command: [sh, -c, '{fill}'], pids_limit: 8}}}}\n")
    stack.up()
    with stack.start("logs", "-f") as following:
        Lines(following.stdout).expect("full")
        following.kill()
    assert stack.shell("a", "echo inside") == "inside"
    assert "can't fork" in stack.fails("exec", "-T", "a", "sh", "-c", "true | true | true", code=2)
    stack.run("stop", "-t", "0")
    assert state(stack, "a")["exit_code"] == 137


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("mem_limit: 1m", "service a: mem_limit: 1048576 bytes are too few"),
        (
            "deploy: {resources: {limits: {memory: 8m}, reservations: {memory: 9m}}}",
            "compose.yaml:1:105: service a: deploy.resources.reservations.memory: 9437184 is more than",
        ),
        ("cpus: 0.001", "compose.yaml:1:47: service a: cpus: 0.001 is less than 0.01"),
        (
            "deploy: {resources: {limits: {cpus: '0.005'}}}",
            "compose.yaml:1:77: service a: deploy.resources.limits.cpus: 0.005 is less than 0.01",
        ),
        ("cpus: 1, cpu_quota: 5000", "service a: cpus: says the same as cpu_quota"),
        ("cpuset: 0-4999", "service a: cpuset: there is no CPU "),
        ("devices: [/dev/no-such]", "service a: devices[0]: /dev/no-such: No such file"),
        (
            "deploy: {restart_policy: {condition: bogus}}",
            "compose.yaml:1:73: service a: deploy.restart_policy.condition: bogus is none",
        ),
        ("healthcheck: {test: x, interval: 1us}", "yaml:1:70: service a: healthcheck.interval: 1µs is less"),
        (
            "blkio_config: {device_read_bps: [{path: /dev/null, rate: 1}]}",
            "service a: blkio_config.device_read_bps: /dev/null: not a block device",
        ),
    ],
)
def test_what_cannot_be_given_is_refused_before_anything_is_made(
    stack: Stack, line: str, problem: str
) -> None:
    stack.write(f"services: {{a: {{image: IMAGE, {line}}}}}\n")
    assert problem in stack.fails("up", "-d")
    assert stack.ps("--all") == {}


def test_no_limit_of_memory_and_nobody_killed_for_it_is_warned_of(stack: Stack) -> None:
    stack.write("services: {a: {image: IMAGE, command: ['true'], oom_kill_disable: true}}\n")
    said = stack.up()
    assert "compose.yaml:1:66: service a: oom_kill_disable: without a memory limit the whole machine" in said


def groups_called(name: str) -> list[str]:
    """Every control group of a name, in all hierarchies."""
    roots = cgroup_roots()
    return [f"{place}/{name}" for root in roots for place, names, _ in os.walk(root) if name in names]


def test_the_size_of_a_containers_files_is_limited_or_the_reason_is_said(stack: Stack) -> None:
    stack.write("""
services:
  a:
    image: IMAGE
    command: [sh, -c, "dd if=/dev/zero of=/large bs=1M count=4 2>/dev/null && echo all || echo less"]
    storage_opt: {size: 2m}
""")
    said = stack.up()
    limited = "storage_opt.size: not kept: the file system of pycompose's data has no project" not in said
    assert ("less" if limited else "all") in stack.run("logs", "-f")


def parent_of(stack: Stack) -> tuple[str, str]:
    """A parent that is not there, as the file names it, and the group that then has the container's."""
    if VERSION == 2 and systemd.is_running():
        words = f"pctest{os.getpid()}", stack.name
        return f"{'-'.join(words)}.slice", f"{words[0]}.slice/{'-'.join(words)}.slice/pycompose-ID.scope"
    return f"/{stack.name}-parent/inner", f"{stack.name}-parent/inner/pycompose/{stack.host_name}"


def test_a_container_lies_below_the_group_that_was_named(stack: Stack) -> None:
    named, base = parent_of(stack)
    stack.write(f"""
services:
  a: {{image: IMAGE, command: [sleep, infinity], cgroup_parent: {named}, mem_limit: 32m}}
""")
    stack.up()
    (row,) = rows(stack)
    place = base.replace("ID", row.id[:12])
    root = common.ROOT if VERSION == 2 else f"{common.ROOT}/memory"
    limit = "memory.max" if VERSION == 2 else "memory.limit_in_bytes"
    with open(f"{root}/{place}/{row.id}/{limit}") as file:
        assert file.read() == "33554432\n"
    with open(f"{root.replace('/memory', '/pids')}/{place}/pids.max") as file:
        assert file.read() == "max\n"  # systemd sets one unless it is told otherwise
    with open(f"/proc/{state(stack, 'a')['pid']}/cgroup") as file:
        assert f"/{place}/{row.id}\n" in file.read()
    kill_monitor(stack, row.id)
    stack.run("restart", "-t", "0")
    assert stack.shell("a", "echo runs") == "runs"
    stack.run("down", "-t", "0")
    assert not os.path.exists(f"{root}/{place}")
    if named.endswith(".slice"):  # systemd's, which may take a moment
        deadline = time.monotonic() + MOMENT
        while groups_called(place.partition("/")[0]):
            assert time.monotonic() < deadline, "the slice is still there"
            time.sleep(0.05)
    else:
        assert groups_called(f"{stack.name}-parent") == []


def test_a_parent_that_was_there_stays(stack: Stack) -> None:
    if VERSION == 2 and systemd.is_running():
        stack.write("services: {a: {image: IMAGE, cgroup_parent: mine}}\n")
        assert "cgroup_parent: mine is no slice" in stack.fails("up", "-d")
        return
    name = f"{stack.name}-mine"
    mine = [f"{root}/{name}" for root in cgroup_roots()]
    for directory in mine:
        os.mkdir(directory)
    try:
        stack.write(f"services: {{a: {{image: IMAGE, command: ['true'], cgroup_parent: {name}}}}}\n")
        stack.up()
        stack.run("logs", "-f")
        stack.run("down")
        assert groups_called(name) == mine
    finally:
        for directory in mine:
            os.rmdir(directory)
