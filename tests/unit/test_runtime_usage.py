"""What containers use, read from files as the two versions of control groups write them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.runtime.cgroups import common, v1, v2, versions
from compose.runtime.processes import terminal_name
from compose.runtime.usage import Usage

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_bytes_from_and_to_disks_are_summed_over_devices(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("8:0 Read 4096\n8:0 Write 512\n8:0 Sync 1\n253:1 Read 1\nTotal 4609\n", encoding="ascii")
    new.write_text("8:0 rbytes=4096 wbytes=512 rios=1 wios=1\n253:1 rbytes=1 wbytes=0\n", encoding="ascii")
    assert v1.transferred(str(old)) == v2.transferred(str(new)) == {"read": 4097, "written": 512}
    assert v1.transferred(str(tmp_path / "none")) == v2.transferred(str(tmp_path / "none")) == {}


def test_statistics_of_version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "ROOT", str(tmp_path))
    group = tmp_path / "base/one"
    group.mkdir(parents=True)
    for name, text in {
        "memory.current": "1048576\n",
        "memory.stat": "anon 1\ninactive_file 48576\n",
        "memory.max": "max\n",
        "cpu.stat": "usage_usec 2500\nuser_usec 1\n",
        "pids.current": "3\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n",
    }.items():
        (group / name).write_text(text, encoding="ascii")
    found = v2.CgroupV2("base/one", make=False).statistics()
    assert found == {
        **{"memory": 1_000_000, "memory_limit": 0, "cpu": 2_500_000, "pids": 3},
        **{"read": 10, "written": 20},
    }


def test_the_group_of_a_process_is_found_in_either_version(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "4:cpu,cpuacct:/other\n3:freezer:/pycompose/p/ID\n0::/system.slice/pycompose-p.scope/ID\n"
    monkeypatch.setattr(common, "read", lambda path: text)
    for version, path in ((1, "pycompose/p/ID"), (2, "system.slice/pycompose-p.scope/ID")):
        monkeypatch.setattr(versions, "version", lambda version=version: version)
        monkeypatch.setattr(versions, "find", lambda base, name: common.Cgroup(f"{base}/{name}"))
        assert versions.of_process(1).path == path


def test_processor_time_is_relative_to_one_processor() -> None:
    before, now = Usage({"cpu": 1_000_000}, 0, 0), Usage({"cpu": 3_000_000}, 0, 0)
    now.taken = before.taken + 1_000_000
    assert now.cpu_percent(before) == 200.0
    assert now.cpu_percent(None) == now.cpu_percent(now) == 0.0


def test_terminals_have_the_names_that_ps_gives_them() -> None:
    devices = {os.makedev(136, 3): "pts/3", os.makedev(137, 1): "pts/257", os.makedev(4, 1): "tty1", 0: "?"}
    assert {device: terminal_name(device) for device in devices} == devices
