"""What a container has that asks for nothing: the whole configuration, as the newest Docker Engine makes it.

The tables are facts about that engine. Where ours differ, docs/isolation.md says so and why, and it has a
name here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.runtime.container import oci
from compose.runtime.container.oci import default_oci

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MASKED = """
    /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug
    /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware
""".split()
READ_ONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger".split()
CAPABILITIES = """
    CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT
    KILL AUDIT_WRITE
""".split()
MOUNTS = {
    "/proc": "proc nosuid noexec nodev",
    "/dev": "tmpfs nosuid strictatime mode=755 size=65536k",
    "/dev/pts": "devpts nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5",
    "/sys": "sysfs nosuid noexec nodev ro",
    "/sys/fs/cgroup": "cgroup ro nosuid noexec nodev relatime",
    "/dev/mqueue": "mqueue nosuid noexec nodev",
    "/dev/shm": "tmpfs nosuid noexec nodev mode=1777 size=67108864",
}
DEVICES = {
    *("c 1:3 rwm", "c 1:5 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm"),  # the engine's
    *("c *:* m", "b *:* m", "c 1:7 rwm", "c 5:2 rwm", "c 136:* rwm"),  # runc's
}
NAMESPACES = {"mount", "pid", "ipc", "uts", "cgroup"}
"""And a network namespace, which is made before (``network_namespace``); not "time"."""

SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_the_defaults_are_dockers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cpu0/thermal_throttle", "cpu1", "cpu13/thermal_throttle", "cpufreq/thermal_throttle"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(oci, "_PROCESSORS", str(tmp_path))
    found = default_oci(["true"], hostname="name", terminal=True)
    linux, process = found["linux"], found["process"]
    thermal = {f"{tmp_path}/{name}/thermal_throttle" for name in ("cpu0", "cpu13")}
    assert set(linux["maskedPaths"]) == {*MASKED, *thermal}
    assert linux["readonlyPaths"] == READ_ONLY
    names = {f"CAP_{name}" for name in CAPABILITIES}
    assert process["capabilities"].keys() == {"bounding", "effective", "permitted"}
    assert all(set(process["capabilities"][kind]) == names for kind in ("bounding", "effective", "permitted"))
    mounts = {mount["destination"]: {mount["type"], *mount["options"]} for mount in found["mounts"]}
    assert mounts == {place: set(words.split()) for place, words in MOUNTS.items()}
    denied, *rules = linux["resources"]["devices"]
    assert denied == {"allow": False, "access": "rwm"}
    assert all(rule["allow"] for rule in rules)
    assert {_words(rule) for rule in rules} == DEVICES
    assert {namespace["type"] for namespace in linux["namespaces"]} == NAMESPACES
    assert linux["sysctl"] == SYSCTLS
    assert process["env"] == [f"PATH={PATH}", "HOSTNAME=name", "TERM=xterm"]
    assert (process["noNewPrivileges"], linux["devices"]) == (False, [])


def _words(rule: dict[str, object]) -> str:
    major, minor = ("*" if rule[key] is None else rule[key] for key in ("major", "minor"))
    return f"{rule['type']} {major}:{minor} {rule['access']}"


def test_a_privileged_container_has_what_docker_gives_it() -> None:
    found = default_oci(["true"], privileged=True)
    assert (found["linux"]["maskedPaths"], found["linux"]["readonlyPaths"]) == ([], [])
    assert found["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    options = {mount["destination"]: mount["options"] for mount in found["mounts"]}
    assert "rw" in options["/sys"] and "rw" in options["/sys/fs/cgroup"]
