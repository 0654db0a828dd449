"""What lies where in a container, and its control group; all with real mounts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from compose.linux.mount import MS_BIND, MS_PRIVATE, MS_REC, mount
from compose.linux.namespaces import CLONE_NEWNS, unshare
from compose.runtime import cgroups
from compose.runtime.container import oci, rootfs
from compose.runtime.container.mounts.masks import open_null
from tests.support.launching import BASE, Box, Refused, Running, in_monitor

if TYPE_CHECKING:
    from pathlib import Path


def layer(box: Box, name: str, **files: str) -> str:
    path = f"{box.directory}/{name}"
    os.makedirs(path)
    for file, text in files.items():
        with open(f"{path}/{file}", "w") as out:
            out.write(text)
    return path


def test_the_standard_mounts(box: Box) -> None:
    spec = box.spec("cat", "/proc/self/mounts", shm_size=1 << 20)
    table = {line.split()[1]: line.split()[2:4] for line in box.run(spec).output.splitlines()}
    wanted = {
        "/": ("overlay", {"rw"}),
        "/proc": ("proc", {"rw", "nosuid", "nodev", "noexec"}),
        "/dev": ("tmpfs", {"rw", "nosuid", "size=65536k", "mode=755"}),
        "/dev/pts": ("devpts", {"rw", "nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"}),
        "/sys": ("sysfs", {"ro", "nosuid", "nodev", "noexec"}),
        "/dev/mqueue": ("mqueue", {"rw", "nosuid", "nodev", "noexec"}),
        "/dev/shm": ("tmpfs", {"rw", "nosuid", "nodev", "noexec", "size=1024k"}),
        "/proc/sys": ("proc", {"ro", "nosuid", "nodev", "noexec"}),
        "/proc/bus": ("proc", {"ro"}),
        "/proc/keys": (None, set()),
        "/sys/firmware": ("tmpfs", {"ro"}),
    }
    for place, (kind, options) in wanted.items():
        assert kind in (None, table[place][0]), place
        assert options <= set(table[place][1].split(",")), place
    assert "ro" in table["/sys/fs/cgroup"][1].split(",")
    assert box.directory not in box.run(box.spec("cat", "/proc/self/mountinfo")).output.replace(box.root, "")


def test_dev_is_dockers(box: Box) -> None:
    done = box.shell(
        "cd /dev; stat -c '%n %F %a %t:%T' * | sort; for l in fd ptmx stderr; do readlink $l; done"
    )
    assert done.output.splitlines() == [
        *("fd symbolic link 777 0:0", "full character special file 666 1:7", "mqueue directory 1777 0:0"),
        *("null character special file 666 1:3", "ptmx symbolic link 777 0:0", "pts directory 755 0:0"),
        *("random character special file 666 1:8", "shm directory 1777 0:0", "stderr symbolic link 777 0:0"),
        *(
            "stdin symbolic link 777 0:0",
            "stdout symbolic link 777 0:0",
            "tty character special file 666 5:0",
        ),
        *("urandom character special file 666 1:9", "zero character special file 666 1:5"),
        *("/proc/self/fd", "pts/ptmx", "/proc/self/fd/2"),
    ]


def test_binds_files_directories_and_missing_targets(box: Box) -> None:
    source = layer(box, "source", file="content\n")
    os.mkdir(f"{source}/below")
    spec = box.spec(
        "sh", "-c", "cat /new/file /etc/hosts; echo x > /data/written; ls /data; echo y > /ro/no; mount"
    )
    spec["oci"]["mounts"] += [
        oci.bind(f"{source}/file", "/new/file"),
        oci.bind(f"{source}/file", "/etc/hosts", readonly=True),
        oci.bind(source, "/data"),
        oci.bind(source, "/ro", readonly=True),
    ]
    output = box.run(spec).output
    assert output.splitlines()[:6] == [
        "content",
        "content",
        "below",
        "file",
        "written",
        "sh: can't create /ro/no: Read-only file system",
    ]
    with open(f"{source}/written") as file:
        assert file.read() == "x\n"


def test_read_only_binds_include_what_is_mounted_below(box: Box) -> None:
    def work() -> list[str]:
        from compose.linux import mount as m
        from compose.linux import namespaces

        source = layer(box, "source")
        os.mkdir(f"{source}/below")
        namespaces.unshare(namespaces.CLONE_NEWNS)
        m.mount(None, "/", None, m.MS_REC | m.MS_PRIVATE)
        m.mount("below", f"{source}/below", "tmpfs", 0)
        script = "for d in ro shallow one; do echo x > /$d/below/x && echo $d; done 2>/dev/null"
        spec = box.spec("sh", "-c", script)
        shallow = oci.bind(source, "/shallow")
        shallow["options"].append("ro")
        spec["oci"]["mounts"] += [
            oci.bind(source, "/ro", readonly=True),
            shallow,
            oci.bind(source, "/one", readonly=True, recursive=False),
        ]
        with Running(spec) as running:
            running.wait()
            return running.output().split()

    assert in_monitor(work) == ["shallow"]


def test_a_missing_bind_source_is_named(box: Box) -> None:
    spec = box.spec("true")
    spec["oci"]["mounts"].append(oci.bind("/nonesuch/x", "/data"))
    assert str(box.refused(spec)) == "open /nonesuch/x: No such file or directory"


def test_a_file_over_a_directory_is_refused(box: Box) -> None:
    source = layer(box, "source", file="x")
    spec = box.spec("true")
    spec["oci"]["mounts"].append(oci.bind(f"{source}/file", "/etc"))
    assert (
        str(box.refused(spec))
        == "mount /etc: a file cannot be mounted on a directory, nor a directory on a file"
    )


def test_tmpfs_looks_like_what_it_covers_or_is_for_everybody(box: Box) -> None:
    spec = box.spec("sh", "-c", "stat -c %a:%u /tmp /a /b; ls /etc | wc -l; df -k /a | tail -n 1")
    spec["oci"]["mounts"] += [
        oci.tmpfs("/tmp"),
        oci.tmpfs("/a", ["size=1m", "mode=700", "uid=9"]),
        oci.tmpfs("/b"),
        oci.tmpfs("/etc"),
    ]
    words = box.run(spec).output.split()
    assert words[:4] == ["1777:0", "700:9", "1777:0", "0"]
    assert "1024" in words


def test_mounts_below_mounts_in_any_order(box: Box) -> None:
    source = layer(box, "source", file="deep\n")
    spec = box.spec("cat", "/srv/a/b/file")
    spec["oci"]["mounts"] += [
        oci.bind(f"{source}/file", "/srv/a/b/file"),
        oci.tmpfs("/srv/a/b"),
        oci.tmpfs("/srv"),
    ]
    assert box.run(spec).output == "deep\n"


def test_a_read_only_root(box: Box) -> None:
    spec = box.spec("sh", "-c", "touch /x; touch /dev/shm/ok /tmp/ok && echo fine", readonly=True)
    spec["oci"]["mounts"].append(oci.tmpfs("/tmp"))
    assert box.run(spec).output.splitlines() == ["touch: /x: Read-only file system", "fine"]


def test_host_name_and_sysctls(box: Box) -> None:
    script = "hostname; cd /proc/sys; cat kernel/domainname kernel/shmmni; cd net/ipv4"
    script += "; cat ip_unprivileged_port_start ping_group_range"
    spec = box.spec(
        "sh", "-c", script, hostname="box", domainname="example.org", sysctls={"kernel.shmmni": "77"}
    )
    assert box.run(spec).output.split() == ["box", "example.org", "77", "0", "0", "2147483647"]


@pytest.mark.parametrize("key", ["kernel.nonesuch", "../../etc/passwd", "net/../../1/root/etc/passwd"])
def test_a_sysctl_that_is_none(box: Box, key: str) -> None:
    assert f"set sysctl {key}: " in str(box.refused(box.spec("true", sysctls={key: "1"})))


def test_nothing_is_written_to_what_only_looks_like_proc(box: Box) -> None:
    source = layer(box, "source")
    os.makedirs(f"{source}/sys/kernel")
    with open(f"{source}/sys/kernel/shmmni", "w") as file:
        file.write("mine")
    spec = box.spec("true", sysctls={"kernel.shmmni": "77"})
    spec["oci"]["mounts"].append(oci.bind(source, "/proc"))
    assert "no proc file system at /proc" in str(box.refused(spec))
    with open(f"{source}/sys/kernel/shmmni") as file:
        assert file.read() == "mine"


@pytest.mark.parametrize("count", [2, 130, 400])
@pytest.mark.parametrize("legacy", [False, True], ids=["fsconfig", "mount"])
def test_many_layers(box: Box, monkeypatch: pytest.MonkeyPatch, count: int, legacy: bool) -> None:
    if legacy:  # as on kernels before 6.7
        monkeypatch.setattr(rootfs, "_mount_overlay", rootfs._mount_overlay_by_path)
    layers = [
        layer(box, f"{'layer' * 20}/{number}", **{f"f{number}": "", "top": str(number)})
        for number in range(count)
    ]
    spec = box.spec("sh", "-c", "cat /top; echo; ls / | grep -c ^f; touch /new")
    spec["rootfs"]["lower"] = [*layers, box.root]
    assert box.run(spec).output.split() == ["0", str(count)]
    assert os.path.exists(f"{spec['rootfs']['upper']}/new")


def test_one_layer_without_an_upper_directory(box: Box) -> None:
    spec = box.spec("sh", "-c", "touch /x || echo refused")
    root = layer(box, "root")
    for name in ("bin", "proc", "sys", "dev", "etc"):
        os.mkdir(f"{root}/{name}")
    for name in ("busybox", "sh", "touch"):
        os.link(os.path.realpath(f"{box.root}/bin/busybox"), f"{root}/bin/{name}")
    spec["rootfs"] = {"lower": [root]}
    assert box.run(spec).output.splitlines() == ["touch: /x: Read-only file system", "refused"]
    del spec["rootfs"]
    spec["oci"]["root"]["path"] = root
    assert box.run(spec).output == ""
    assert os.path.exists(f"{root}/x")


def test_a_layer_that_is_gone_is_named(box: Box) -> None:
    spec = box.spec("true")
    spec["rootfs"]["lower"].append("/nonesuch/layer")
    assert str(box.refused(spec)) == "open layer /nonesuch/layer: No such file or directory"


def test_a_device_of_the_host(box: Box) -> None:
    spec = box.spec("sh", "-c", "stat -c %t:%T /dev/sound/mem; head -c 4 /dev/other | wc -c")
    nodes, rules = oci.device("/dev/zero", "/dev/other")
    more, others = oci.device("/dev/full", "/dev/sound/mem", "r")
    spec["oci"]["linux"]["devices"] += nodes + more
    spec["oci"]["linux"]["resources"]["devices"] += rules + others
    assert box.run(spec).output.split() == ["1:7", "4"]


def test_masks_use_the_real_null_device(box: Box, tmp_path: Path) -> None:
    """CVE-2025-31133: whatever else is called /dev/null covers nothing, and nothing is started."""
    os.close(open_null())
    false = tmp_path / "null"
    false.touch()

    def work() -> None:
        unshare(CLONE_NEWNS)
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        mount(str(false), "/dev/null", None, MS_BIND)
        with Running(box.spec("true")):
            return

    with pytest.raises(Refused, match="No such device"):
        in_monitor(work)


# control groups


def test_limits_are_seen_and_kept(box: Box) -> None:
    spec = box.spec(
        "sh",
        "-c",
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max || cat memory.max pids.max",
    )
    spec["oci"]["linux"]["resources"] |= {"memory": {"limit": 64 << 20}, "pids": {"limit": 30}}
    lines = [line for line in box.run(spec).output.splitlines() if line.isdigit()]
    assert lines == [str(64 << 20), "30"]


def test_memory_kill_is_counted(box: Box) -> None:
    # Nobody else asks for memory meanwhile, and the kernel is told whom to choose.
    hungry = "echo 1000 > /proc/self/oom_score_adj; exec tail /dev/zero"
    spec = box.spec("sh", "-c", f"sh -c '{hungry}'; echo survived")
    spec["oci"]["linux"]["resources"] |= {"memory": {"limit": 16 << 20, "swap": 16 << 20}}

    def work() -> list[Any]:
        with Running(spec) as running:
            code = running.wait()
            return [code, running.output(), running.cgroup.oom_kills()]

    code, output, kills = in_monitor(work)
    assert (code, output.splitlines()[-1:]) == (0, ["survived"]), (output, kills)
    assert kills == 1


def test_a_limit_of_processes(box: Box) -> None:
    spec = box.spec("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo done")
    spec["oci"]["linux"]["resources"] |= {"pids": {"limit": 5}}
    assert "can't fork" in box.run(spec).output


def test_freeze_and_kill(box: Box) -> None:
    def work() -> dict[str, Any]:
        with Running(box.spec("sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait")) as running:
            running.line()
            group = cgroups.find(BASE, running.spec["id"])
            count = len(group.pids())
            group.freeze(frozen=True)
            with open(f"/proc/{running.launched.pid}/wchan") as file:
                frozen = file.read()
            group.freeze(frozen=False)
            statistics = group.statistics()
            group.freeze(frozen=True)
            group.kill()
            code = running.wait()
            return {
                "count": count,
                "frozen": frozen,
                "code": code,
                "left": group.pids(),
                "statistics": statistics,
            }

    found = in_monitor(work)
    assert (found["count"], found["code"], found["left"]) == (3, -9, [])
    assert found["frozen"] in ("__refrigerator", "do_freezer_trap", "get_signal")  # version 1, version 2
    assert found["statistics"]["pids"] == 3
    assert found["statistics"]["memory"] > 0


def test_what_a_host_cannot_limit_is_told(box: Box) -> None:
    group = cgroups.create(
        BASE, "unavailable", {"unified": {}, "hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}
    )
    assert len(group.unavailable) == 1
    group.remove()
    group.remove()
    cgroups.remove_base(BASE)


def test_namespaces_of_the_host(box: Box) -> None:
    script = "for n in ipc uts pid; do readlink /proc/self/ns/$n; done"
    spec = box.spec("sh", "-c", script, ipc="host", uts="host", pid="host")
    mine = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("ipc", "uts", "pid")]
    assert box.run(spec).output.split() == mine
