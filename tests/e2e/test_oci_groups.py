"""Control groups and limits on the command line of an OCI runtime."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from compose.runtime import cgroups
from compose.runtime.cgroups import systemd
from tests.support.bundles import Bundle, Caller, Runtime

if TYPE_CHECKING:
    from pathlib import Path


def test_no_limit_of_processes_may_be_asked_for(runtime: Runtime, bundle: Bundle) -> None:
    config = bundle.configure("true")
    config["linux"].setdefault("resources", {})["pids"] = {"limit": -1}
    bundle.write(config)
    assert runtime.good("run", "-b", str(bundle.directory), "one") == ""


def test_limits_change_while_it_runs(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    bundle.configure("sleep", "1000")
    caller = Caller(runtime, bundle, "one")
    runtime.good("start", "one")
    wanted = tmp_path / "resources"
    wanted.write_text(json.dumps({"pids": {"limit": 7}, "memory": None}))
    runtime.good("update", "--resources", str(wanted), "one")
    group = json.loads((runtime.root / "one" / "state.json").read_text())["cgroup"]
    below = "pids/" if cgroups.version() == 1 else ""
    with open(f"/sys/fs/cgroup/{below}{group}/pids.max", encoding="ascii") as file:
        assert file.read() == "7\n"
    wanted.write_text(json.dumps({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}))
    done = runtime.run("update", "--resources", str(wanted), "one")
    assert done.code == 0
    no_pages, no_controller = "3MB.", "huge pages are not limited: "
    assert f"warning: hugetlb.{no_pages}" in done.err or f"warning: {no_controller}" in done.err
    for value, message in (({"pids": 7}, "resources.pids: must be an object"), ([], "not an object")):
        wanted.write_text(json.dumps(value))
        assert message in runtime.fails("update", "-r", str(wanted), "one")
    runtime.good("kill", "one", "KILL")
    caller.wait()
    wanted.write_text("{}")
    assert "cannot be updated: it is stopped" in runtime.fails("update", "-r", str(wanted), "one")
    os.close(caller.output)


def test_files_of_version_2_by_their_names(runtime: Runtime, bundle: Bundle) -> None:
    config = bundle.shell("cd /sys/fs/cgroup && cat memory.high memory.low pids.max cgroup.max.depth")
    config["linux"]["resources"]["unified"] = {
        "memory.high": "33554432",
        "memory.low": "4194304",
        "cgroup.max.depth": "3",
        "pids.max": "9",
    }
    bundle.write(config)
    arguments = ("run", "-b", str(bundle.directory), "one")
    if cgroups.version() == 1:
        assert "linux.resources.unified: this host has version 1" in runtime.fails(*arguments)
        return
    assert runtime.good(*arguments).split() == ["33554432", "4194304", "9", "3"]
    for file, message in (
        ("no.such", "unified: no.such: the controller no is not available"),
        ("memory.such", "unified: memory.such: there is no such file in /sys/fs/cgroup/"),
        ("../memory.max", "unified: ../memory.max: not the name of a control file"),
    ):
        config["linux"]["resources"]["unified"] = {file: "1"}
        bundle.write(config)
        assert message in runtime.fails(*arguments)
    assert runtime.good("list", "--quiet") == ""


def test_control_groups_by_path(runtime: Runtime, bundle: Bundle) -> None:
    config = bundle.configure("sleep", "1000")
    name = f"pycompose-test-{os.getpid()}"
    config["linux"]["cgroupsPath"] = f"/{name}/one"
    bundle.write(config)
    caller = Caller(runtime, bundle, "one")
    assert cgroups.find(name, "one").pids() == [caller.pid]
    runtime.good("delete", "--force", "one")
    assert caller.wait() == -signal.SIGKILL
    os.close(caller.output)
    cgroups.remove_base(name)
    config["linux"]["cgroupsPath"] = f"a-b.slice:{name}:one"
    bundle.write(config)
    silence = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    runtime.good("--systemd-cgroup", "run", "-d", "-b", str(bundle.directory), "one", **silence)
    assert cgroups.find("a.slice/a-b.slice", f"{name}-one.scope").pids() == [runtime.state("one")["pid"]]
    by_systemd = cgroups.version() == 2 and systemd.is_running()
    assert os.path.exists(f"/run/systemd/transient/{name}-one.scope") == by_systemd
    runtime.good("delete", "--force", "one")
    for base in ("a.slice/a-b.slice", "a.slice"):
        cgroups.remove_base(base)
