"""Limits of both versions of control groups, on directories that stand for the kernel's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from compose.engine.embedded import devices
from compose.engine.embedded.spec.resources import resources
from compose.errors import ContainerError
from compose.runtime.cgroups import common, missing, realtime, v1, v2, versions

if TYPE_CHECKING:
    from pathlib import Path

DISK = {"major": 8, "minor": 0}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root of control groups."""
    monkeypatch.setattr(common, "ROOT", str(tmp_path))
    return tmp_path


def control_files(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_text(content)


def group_of_version_2(tree: Path, controllers: str, *files: str) -> v2.CgroupV2:
    control_files(tree / "p/c", {"cgroup.controllers": controllers, **dict.fromkeys(files, "")})
    return v2.CgroupV2("p/c", make=False)


def group_of_version_1(tree: Path, monkeypatch: pytest.MonkeyPatch, **files: list[str]) -> v1.CgroupV1:
    monkeypatch.setattr(v1, "hierarchies", lambda: {name: f"{tree}/{name}" for name in files})
    for name, names in files.items():
        control_files(tree / name / "p/c", dict.fromkeys(names, ""))
    return v1.CgroupV1("p/c", make=False)


def test_version_2_shares_block_devices_by_whoever_can(tree: Path) -> None:
    blocks: dict[str, Any] = {"weight": 500, "weightDevice": [{**DISK, "weight": 10}]}
    group = group_of_version_2(tree, "io", "io.bfq.weight", "io.weight")
    group.update({"blockIO": {"weightDevice": blocks["weightDevice"]}})
    assert (tree / "p/c/io.bfq.weight").read_text() == "8:0 10"
    assert (tree / "p/c/io.weight").read_text() == "8:0 1"
    group.update({"blockIO": {"weight": blocks["weight"]}})
    assert (tree / "p/c/io.bfq.weight").read_text() == "default 500"
    assert group.unavailable == []
    (tree / "p/c/io.bfq.weight").unlink()
    group.update({"blockIO": {"weight": 500}})
    assert (tree / "p/c/io.weight").read_text() == "default 4950"
    assert group.unavailable == []


def test_version_2_says_what_only_version_1_has(tree: Path) -> None:
    group = group_of_version_2(tree, "cpu memory", "memory.max", "memory.swap.max")
    memory = {"limit": 1 << 20, "swap": 2 << 20, "swappiness": 10, "disableOOMKiller": True}
    group.update({"memory": memory, "cpu": {"realtimeRuntime": 5}, "blockIO": {"weight": 10}})
    assert group.unavailable == ["memory.swappiness", "memory.oom_control", "cpu.rt_runtime_us", "io"]
    lines = missing.explain(group.unavailable, group.path)
    assert [line.partition(":")[0] for line in lines] == [
        "mem_swappiness",
        "oom_kill_disable",
        "cpu_rt_runtime",
        "block devices are not limited",
    ]
    assert all(";" in line for line in lines)  # what to do


def test_version_2_keeps_files_by_their_names_or_refuses(tree: Path) -> None:
    group = group_of_version_2(tree, "memory", "memory.high", "cgroup.max.depth")
    group.update({"unified": {"memory.high": "1000", "cgroup.max.depth": "3"}})
    assert (tree / "p/c/memory.high").read_text() == "1000"
    assert (tree / "p/c/cgroup.max.depth").read_text() == "3"
    with pytest.raises(ContainerError, match=r"unified: pids.max: the controller pids is not available"):
        group.update({"unified": {"pids.max": "3"}})
    with pytest.raises(ContainerError, match=r"unified: memory.highest: there is no such file in "):
        group.update({"unified": {"memory.highest": "3"}})
    assert group.unavailable == []


CGROUPS = "#subsys_name hierarchy num_cgroups enabled\nmemory 0 1 {}\npids {} 1 1\n"


@pytest.mark.parametrize(
    ("version", "name", "switched_on", "hierarchy", "words"),
    [
        (
            1,
            "memory",
            0,
            0,
            "memory is not limited: the controller memory is switched off; boot with cgroup_ena",
        ),
        (1, "pids", 1, 0, "is not mounted; mkdir -p ROOT/pids && mount -t cgroup -o pids pids ROOT/pids"),
        (
            1,
            "blkio",
            1,
            0,
            "block devices are not limited: this kernel has no controller blkio; use one that",
        ),
        (2, "pids", 1, 8, "the controller pids is mounted as version 1; boot with cgroup_no_v1=all"),
        (
            2,
            "cpu",
            1,
            0,
            "CPU time is not limited: systemd does not pass the controller cpu on to users; syst",
        ),
    ],
)
def test_why_a_controller_is_missing(
    tree: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: int,
    name: str,
    switched_on: int,
    hierarchy: int,
    words: str,
) -> None:
    monkeypatch.setattr(versions, "version", lambda: version)
    (tree / "cgroup.controllers").write_text("cpu io\n")
    real = common.read
    table = CGROUPS.format(switched_on, hierarchy)
    monkeypatch.setattr(common, "read", lambda path: table if path == "/proc/cgroups" else real(path))
    (line,) = missing.explain([name, name], "user.slice/user-1000.slice/x")
    assert words in line.replace(str(tree), "ROOT")


def test_which_group_keeps_a_controller_to_itself(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version", lambda: 2)
    files = {"cgroup.controllers": "io memory", "cgroup.subtree_control": "io", "cgroup.procs": "1\n7\n"}
    control_files(tree, files)
    (line,) = missing.explain(["memory"], "pycompose/shop/ID")
    assert line == (
        f"memory is not limited: {tree} does not pass the controller memory on, for it has processes itself; "
        f"mkdir {tree}/init; for p in $(cat {tree}/cgroup.procs); do echo $p > {tree}/init/cgroup.procs; done"
    )
    control_files(tree / "pycompose", {"cgroup.subtree_control": "", "cgroup.procs": ""})
    (line,) = missing.explain(["io"], "pycompose/shop/ID")
    assert line == (
        f"block devices are not limited: {tree}/pycompose does not pass the controller io on; "
        f"echo +io > {tree}/pycompose/cgroup.subtree_control"
    )


def test_rates_of_a_device_in_both_versions(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = {
        "throttleReadBpsDevice": [{**DISK, "rate": 5}],
        "throttleWriteIOPSDevice": [{**DISK, "rate": 6}],
    }
    group_of_version_2(tree, "io", "io.max").update({"blockIO": blocks})
    assert (tree / "p/c/io.max").read_text() == "8:0 wiops=6"  # the kernel merges the lines
    throttles = ["blkio.throttle.read_bps_device", "blkio.throttle.write_iops_device"]
    group_of_version_1(tree, monkeypatch, blkio=throttles).update({"blockIO": blocks})
    assert [(tree / "blkio/p/c" / name).read_text() for name in throttles] == ["8:0 5", "8:0 6"]


def test_version_1_takes_the_file_of_either_scheduler(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = group_of_version_1(tree, monkeypatch, blkio=["blkio.bfq.weight"])
    group.update({"blockIO": {"weight": 300, "weightDevice": [{**DISK, "weight": 20}]}})
    assert (tree / "blkio/p/c/blkio.bfq.weight").read_text() == "300"
    assert group.unavailable == ["blkio.weight_device"]


def test_zero_is_a_value(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = group_of_version_1(tree, monkeypatch, memory=["memory.swappiness", "memory.oom_control"])
    group.update({"memory": {"swappiness": 0, "disableOOMKiller": False}})
    assert (tree / "memory/p/c/memory.swappiness").read_text() == "0"
    assert (tree / "memory/p/c/memory.oom_control").read_text() == ""


@pytest.mark.parametrize("limit", [0, -1])
def test_no_limit_of_processes(tree: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """0 is none, as with runc."""
    group_of_version_1(tree, monkeypatch, pids=["pids.max"]).update({"pids": {"limit": limit}})
    assert (tree / "pids/p/c/pids.max").read_text() == "max"


def test_without_control_of_devices_nothing_starts(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = group_of_version_1(tree, monkeypatch, memory=[])
    with pytest.raises(ContainerError, match="limit access to devices: there is no devices controller"):
        group.update({"devices": [{"allow": False, "access": "rwm"}]})


def budgets(root: Path) -> dict[str, str]:
    return {str(path.parent.relative_to(root)): path.read_text() for path in root.rglob("cpu.rt_runtime_us")}


def test_a_budget_of_real_time_is_given_on_every_level(tmp_path: Path) -> None:
    for group in (".", "ours", "ours/p", "ours/p/a", "ours/p/b", "ours/q"):
        files = {"cpu.rt_period_us": "1000000\n", "cpu.rt_runtime_us": "0\n"}
        control_files(tmp_path / group, files)
    (tmp_path / "cpu.rt_runtime_us").write_text("950000\n")
    assert realtime.grant(str(tmp_path), "ours/p/a", 1000, None)
    (tmp_path / "ours/q/cpu.rt_runtime_us").write_text("7000\n")
    (tmp_path / "ours/p/b/cpu.rt_period_us").write_text("10000\n")
    assert realtime.grant(str(tmp_path), "ours/p/b", 1000, 10000)  # a tenth
    found = {group: int(text) for group, text in budgets(tmp_path).items()}
    assert found["ours/p/a"] == found["ours/p/b"] == 1000
    assert found["ours/p"] >= 101_000
    assert found["ours"] >= 108_000
    assert found["."] == 950_000


def test_a_kernel_without_budgets_of_real_time(tmp_path: Path) -> None:
    assert not realtime.grant(str(tmp_path), "ours/p/a", 1000, None)


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        ({"mem_limit": "1048576"}, "mem_limit: 1048576 bytes are too few"),
        ({"memswap_limit": "33554432"}, "memswap_limit: memory and swap together"),
        ({"mem_limit": "33554432", "memswap_limit": "16777216"}, "less than the memory limit"),
        ({"mem_limit": "33554432", "mem_reservation": "67108864"}, "more than the memory limit"),
        ({"cpus": 1, "cpu_quota": 5000}, "cpus: says the same"),
        ({"cpus": 1, "cpu_period": 5000}, "cpus: says the same"),
        ({"cpu_rt_runtime": 2_000_000}, "more than the period, 1000000"),
    ],
)
def test_limits_that_contradict_each_other(service: dict[str, Any], problem: str) -> None:
    with pytest.raises(ContainerError, match=problem):
        resources(service)


def test_every_limit_of_a_service() -> None:
    service = {
        "cpu_period": 20000,
        "cpu_rt_runtime": 400,
        "cpu_rt_period": 1400,
        "mem_limit": "33554432",
        "memswap_limit": "-1",
        "mem_swappiness": "60",
        "oom_kill_disable": True,
        "deploy": {"resources": {"reservations": {"memory": "16777216"}}},
    }
    assert resources(service) == {
        "memory": {
            "limit": 32 << 20,
            "swap": -1,
            "reservation": 16 << 20,
            "swappiness": 60,
            "disableOOMKiller": True,
        },
        "cpu": {"period": 20000, "realtimeRuntime": 400, "realtimePeriod": 1400},
    }


def test_rules_of_devices() -> None:
    assert devices.cgroup_rules("c 1:* mr") == [
        {"allow": True, "type": "c", "major": 1, "minor": None, "access": "mr"}
    ]
    assert [v1.device_rule(rule) for rule in devices.cgroup_rules("a 7:0 r")] == ["c 7:0 r", "b 7:0 r"]


@pytest.mark.parametrize(
    "service",
    [
        {"devices": [{"source": "/dev/no-such", "target": "/dev/x"}]},
        {"blkio_config": {"device_read_bps": [{"path": "/dev/no-such", "rate": "1"}]}},
        {"blkio_config": {"weight_device": [{"path": "/dev/null", "weight": 10}]}},
    ],
)
def test_devices_that_are_not_there(service: dict[str, Any]) -> None:
    with pytest.raises(ContainerError, match="/dev/") as caught:
        devices.find(service)
    assert caught.value.hint


def test_a_group_of_version_2_gets_every_controller_on_the_way(tree: Path) -> None:
    controllers = "cpu cpuset io memory pids"
    for group in (".", "p", "p/q"):
        control_files(tree / group, {"cgroup.controllers": controllers, "cgroup.subtree_control": ""})
    assert v2.CgroupV2("p/q/c", make=True).fresh
    assert not v2.CgroupV2("p/q/c", make=True).fresh
    assert (tree / "p/q/c").is_dir()
    for group in (".", "p", "p/q"):
        assert (tree / group / "cgroup.subtree_control").read_text().startswith("+")
    for group in (".", "p", "p/q"):
        (tree / group / "cgroup.subtree_control").write_text(controllers if group == "p/q" else "")
    v2.CgroupV2("p/q/d", make=True)  # whose parent passes all on already
    assert (tree / "p/cgroup.subtree_control").read_text() == ""


def test_a_new_cpuset_has_what_the_one_above_has(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v1, "hierarchies", lambda: {"cpuset": f"{tree}/cpuset"})
    for group, cpus in (("cpuset", "0-3\n"), ("cpuset/p", "\n"), ("cpuset/p/q", "\n")):
        control_files(tree / group, {"cpuset.cpus": cpus, "cpuset.mems": cpus})
    new = tree / "cpuset/p/q/c"
    made = os.mkdir

    def mkdir(path: str, mode: int = 0o777) -> None:
        made(path, mode)
        control_files(new, {"cpuset.cpus": "", "cpuset.mems": ""})  # as the kernel does

    monkeypatch.setattr(os, "mkdir", mkdir)
    assert v1.CgroupV1("p/q/c", make=True).fresh
    assert [(new.parent.parent / f"{way}cpuset.cpus").read_text() for way in ("", "q/", "q/c/")] == [
        "0-3"
    ] * 3
    (new / "cpuset.cpus").write_text("1")
    assert not v1.CgroupV1("p/q/c", make=True).fresh  # it is there, and keeps what it has
    assert (new / "cpuset.cpus").read_text() == "1"


def test_hierarchies_are_looked_up_when_there_may_be_new_ones(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [{"memory": "/x"}]
    monkeypatch.setattr(v1, "_find_hierarchies", lambda: found[-1])
    assert v1.hierarchies() == v1.hierarchies() == {"memory": "/x"}
    found.append({"memory": "/x", "pids": "/y"})
    assert v1.hierarchies() == {"memory": "/x"}
    (tree / "pids").mkdir()
    os.utime(tree, ns=(0, 0))
    assert v1.hierarchies() == found[-1]


def test_kills_are_counted_in_both_versions(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = group_of_version_2(tree, "memory", "memory.events")
    (tree / "p/c/memory.events").write_text("low 0\nhigh 3\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n")
    assert group.oom_kills() == 2
    descriptor, urgent = group.open_oom_events()
    assert urgent
    group.clear_oom_events(descriptor)
    assert os.read(descriptor, 4) == b"low "
    os.close(descriptor)
    old = group_of_version_1(tree, monkeypatch, memory=["memory.oom_control"])
    (tree / "memory/p/c/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")
    assert old.oom_kills() == 4
    assert old.open_oom_events() == (-1, False)  # there is no kernel behind these files
    assert v2.CgroupV2("p/gone", make=False).open_oom_events() == (-1, True)
