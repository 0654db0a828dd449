"""Users, capabilities, mount options, control group settings: the pure parts of a launch."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

from compose.errors import ContainerError
from compose.linux import mount as m
from compose.runtime.cgroups import devices, v1, v2
from compose.runtime.container import capabilities, oci, steps, users
from compose.runtime.container.hardening import _candidates, _environment
from compose.runtime.container.mounts.attach import in_order
from compose.runtime.container.mounts.options import Options

if TYPE_CHECKING:
    from pathlib import Path

    from compose.runtime.spec import User

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# app:x:1:1::/:
broken:x:1000
app:x:1000:1001:App:/home/app:/bin/sh
1234:x:77:78:numeric name:/n:/bin/sh
big:x:4294967295:0::/:/bin/sh
nohome:x:5:5:::/bin/sh
"""
GROUP = "root:x:0:root\nwheel:x:10:root,app\napp:x:1001:\nstaff:x:50:app,other\nbad:x:-1:app\n"


@pytest.fixture
def root(tmp_path: Path) -> int:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "passwd").write_text(PASSWD)
    (etc / "group").write_text(GROUP)
    descriptor = os.open(tmp_path, os.O_PATH)
    return descriptor


@pytest.mark.parametrize(
    ("user", "identity"),
    [
        ({}, (0, 0, [0, 10], "/root")),
        ({"username": ""}, (0, 0, [0, 10], "/root")),
        ({"username": "root"}, (0, 0, [0, 10], "/root")),
        ({"username": "app"}, (1000, 1001, [1001, 10, 50], "/home/app")),
        ({"username": "1000"}, (1000, 1001, [1001, 10, 50], "/home/app")),
        ({"username": "app:staff"}, (1000, 50, [50], "/home/app")),
        ({"username": "app:0"}, (1000, 0, [0], "/home/app")),
        ({"username": "4000"}, (4000, 0, [0], "/")),
        ({"username": "4000:4001"}, (4000, 4001, [4001], "/")),
        ({"username": "1234"}, (77, 78, [78], "/n")),
        ({"username": "nohome"}, (5, 5, [5], "/")),
        ({"uid": 1000, "gid": 7}, (1000, 7, [7], "/home/app")),
        ({"uid": 0, "gid": 0, "additionalGids": [3, 3, 4]}, (0, 0, [0, 3, 4], "/root")),
        (
            {"username": "app", "additionalGroups": ["root", "99"]},
            (1000, 1001, [1001, 10, 50, 0, 99], "/home/app"),
        ),
        ({"username": "4294967294"}, (4294967294, 0, [0], "/")),
        ({"username": "app:"}, (1000, 1001, [1001, 10, 50], "/home/app")),
    ],
)
def test_users(root: int, user: User, identity: tuple[int, int, list[int], str]) -> None:
    found = users.resolve(user, root)
    os.close(root)
    assert (found.uid, found.gid, found.groups, found.home) == identity


@pytest.mark.parametrize(
    ("user", "number"),
    [
        ({"username": "nobody"}, steps.NO_SUCH_USER),
        ({"username": "# app"}, steps.NO_SUCH_USER),
        ({"username": "broken"}, steps.NO_SUCH_USER),
        ({"username": "big"}, steps.NO_SUCH_USER),
        ({"username": "app:none"}, steps.NO_SUCH_GROUP),
        ({"username": ":"}, steps.INVALID_ID),
        ({"username": "-1"}, steps.INVALID_ID),
        ({"username": "+1"}, steps.INVALID_ID),
        ({"username": "1.5"}, steps.INVALID_ID),
        ({"username": "0x10"}, steps.INVALID_ID),
        ({"username": " 1"}, steps.NO_SUCH_USER),
        ({"username": "\u0661"}, steps.NO_SUCH_USER),
        ({"username": "4294967295"}, steps.INVALID_ID),
        ({"username": "99999999999999999999"}, steps.INVALID_ID),
        ({"username": "0:4294967295"}, steps.INVALID_ID),
        ({"uid": -1}, steps.INVALID_ID),
        ({"uid": 2**32}, steps.INVALID_ID),
        ({"uid": 1, "gid": 2**32 - 1}, steps.INVALID_ID),
        ({"uid": 1, "additionalGids": [-5]}, steps.INVALID_ID),
        ({"username": "app", "additionalGroups": ["none"]}, steps.NO_SUCH_GROUP),
    ],
)
def test_users_that_are_refused(root: int, user: User, number: int) -> None:
    with pytest.raises(steps.Failure) as caught:
        users.resolve(user, root)
    os.close(root)
    step = steps.GROUP_ADD if "additionalGroups" in user else steps.USER
    assert (caught.value.step, caught.value.number) == (step, number)


def test_names_of_capabilities() -> None:
    assert capabilities.mask(capabilities.select()) == 0xA80425FB
    assert capabilities.select(["cap_net_admin"], ["NET_RAW", "mknod"]) == [
        name for name in capabilities.select(["NET_ADMIN"]) if name not in ("CAP_NET_RAW", "CAP_MKNOD")
    ]
    assert capabilities.select(["ALL"], ["SYS_ADMIN"]) == [
        f"CAP_{name}" for name in capabilities.NAMES if name != "SYS_ADMIN"
    ]
    assert capabilities.select(["CHOWN"], ["ALL"]) == ["CAP_CHOWN"]
    assert capabilities.select(drop=["all"]) == []
    assert len(capabilities.select(privileged=True)) == 41
    with pytest.raises(ContainerError, match="unknown capability NET_ADMINISTRATOR"):
        capabilities.select(["NET_ADMINISTRATOR"])


def test_options_of_mounts() -> None:
    found = Options(["rbind", "rro", "nosuid", "rslave", "noatime"])
    assert (found.bind, found.recursive, found.propagation) == (True, True, m.MS_SLAVE)
    assert found.attr_set == m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NOATIME
    assert (found.tree_set, found.data) == (m.MOUNT_ATTR_RDONLY, {})
    assert Options(["strictatime", "noatime"]).attr_set == m.MOUNT_ATTR_NOATIME
    assert Options(["noatime", "strictatime"]).attr_set == m.MOUNT_ATTR_STRICTATIME
    found = Options(["bind", "ro", "rw", "size=64m", "mode=1777", "noswap"])
    assert (found.attr_set, found.attr_clr) == (m.MOUNT_ATTR_RDONLY, m.MOUNT_ATTR_RDONLY)
    assert found.data == {"size": "64m", "mode": "1777", "noswap": ""}


def test_parents_are_mounted_before_their_children() -> None:
    mounts = [{"destination": name} for name in ("/a/b/c", "/", "/a/b/", "/z", "/a", "/a/b")]
    assert [entry["destination"] for _, entry in in_order(mounts)] == [
        "/",
        "/z",
        "/a",
        "/a/b/",
        "/a/b",
        "/a/b/c",
    ]


def test_where_a_program_is_looked_for() -> None:
    assert _candidates([b"sh"], {b"PATH": b"/a:.::b:/c"}) == [b"/a/sh", b"/c/sh"]
    assert _candidates([b"./sh"], {}) == [b"./sh"]
    assert _candidates([], {}) == _candidates([b""], {}) == []
    assert len(_candidates([b"sh"], {})) == 6
    assert _environment(["A=1", "A=2", "=x", "B", "C="]) == {b"A": b"2", b"C": b""}
    assert oci.environment(["A=1", "PATH", "TERM=x"], terminal=True) == ["TERM=x", "A=1"]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"allow": False, "access": "rwm"}, "a"),
        ({"type": "c", "major": 1, "minor": 3, "access": "rw"}, "c 1:3 rw"),
        ({"type": "b", "major": None, "minor": None, "access": "m"}, "b *:* m"),
        ({"type": "c", "major": 136, "minor": -1}, "c 136:* rwm"),
    ],
)
def test_device_rules_of_version_1(rule: dict[str, Any], text: str) -> None:
    assert v1.device_rule(rule) == text


def device_answer(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """Run a device program as the kernel would."""
    registers = [0] * 10
    memory = {0: access << 16 | kind, 4: major, 8: minor}
    place = 0
    while True:
        code, operands, offset, value = struct.unpack_from("=BBhi", program, 8 * place)
        target, source = operands & 15, operands >> 4
        place += 1
        if code == 0x95:
            return registers[0]
        if code == 0x61:
            registers[target] = memory[offset]
        elif code in (0xBC, 0xB4):
            registers[target] = registers[source] if code == 0xBC else value
        elif code == 0x54:
            registers[target] &= value
        elif code == 0x74:
            registers[target] >>= value
        else:
            other = registers[source] if code == 0x5D else value
            equal = registers[target] == other
            place += offset if equal == (code == 0x15) else 0


@pytest.mark.parametrize(
    ("kind", "access", "major", "minor", "allowed"),
    [
        (2, 2, 1, 3, 1),  # read /dev/null
        (2, 6, 1, 3, 1),
        (2, 1, 10, 200, 1),  # mknod of anything
        (2, 3, 10, 200, 0),
        (1, 1, 254, 0, 1),
        (1, 2, 254, 0, 0),  # read a disk
        (1, 2, 1, 3, 0),
        (2, 2, 1, 1, 0),  # /dev/mem
        (2, 6, 136, 5, 1),  # a terminal
        (2, 6, 10, 229, 0),  # fuse
    ],
)
def test_device_program_of_version_2(kind: int, access: int, major: int, minor: int, allowed: int) -> None:
    program = devices.compile(oci.device_rules())
    assert device_answer(program, kind, access, major, minor) == allowed
    assert device_answer(devices.compile(oci.device_rules(privileged=True)), kind, access, major, minor) == 1
    added = [*oci.device_rules(), {"allow": True, "type": "b", "major": 254, "minor": 0, "access": "r"}]
    assert device_answer(devices.compile(added), 1, 2, 254, 0) == 1
    denied = [*added, {"allow": False, "type": "c", "major": 1, "minor": 3, "access": "w"}]
    assert device_answer(devices.compile(denied), 2, 6, 1, 3) == 0
    assert device_answer(devices.compile(denied), 2, 2, 1, 3) == 1


def test_settings_of_version_2() -> None:
    resources = {
        "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20},
        "cpu": {"shares": 1024, "quota": 50000, "cpus": "0-1"},
        "pids": {"limit": 100},
        "blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}]},
    }
    assert v2.settings(resources) == [
        ("memory", "memory.max", str(64 << 20)),
        ("memory", "memory.low", str(32 << 20)),
        ("memory", "memory.swap.max", str(32 << 20)),
        ("cpu", "cpu.weight", "39"),
        ("cpu", "cpu.max", "50000 100000"),
        ("cpuset", "cpuset.cpus", "0-1"),
        ("pids", "pids.max", "100"),
        ("io", "io.max", "8:0 rbps=1000"),
    ]
    assert v2.settings({"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}}) == [
        ("memory", "memory.max", "max"),
        ("memory", "memory.swap.max", "max"),
        ("pids", "pids.max", "max"),
    ]
    assert (v2.weight_of_shares(2), v2.weight_of_shares(262144), v2.weight_of_shares(0)) == (1, 10000, 1)


def test_messages() -> None:
    assert steps.words(steps.MOUNT, 13, 0, "/proc") == "mount /proc: Permission denied"
    assert (
        steps.words(steps.EXEC, steps.NO_EXECUTABLE, 0, "x") == "exec x: executable file not found in $PATH"
    )
    assert steps.words(steps.MOUNT, steps.INTERNAL, 7, "/a") == "mount /a: internal error (line 7)"
    assert steps.LaunchError(steps.EXEC, 2, "").reason == "not found"
    assert steps.LaunchError(steps.EXEC, 13, "").reason == "permission"
    assert steps.LaunchError(steps.USER, steps.NO_SUCH_USER, "").reason == "other"
