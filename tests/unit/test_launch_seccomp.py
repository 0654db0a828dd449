"""Seccomp programs, run in a small BPF machine and compared with what the profile says."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import ContainerError
from compose.linux.numbers import MACHINE
from compose.linux.seccomp import Filter
from compose.runtime.container import capabilities, seccomp
from compose.state.paths import schema_file

with open(schema_file("seccomp-default.json"), encoding="utf-8") as _file:
    PROFILE: dict[str, Any] = json.load(_file)
with open(schema_file("syscalls.json"), encoding="utf-8") as _file:
    NUMBERS: dict[str, dict[str, int]] = json.load(_file)

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
AUDIT = {"x86_64": 0xC000003E, "x86": 0x40000003, "x32": 0xC000003E, "aarch64": 0xC00000B7, "arm": 0x40000028}
X32 = 0x40000000

# The calls of Linux 6.1 on x86_64 that Docker's default profile of 2026 refuses to a default container.
REFUSED = """
    _sysctl acct add_key afs_syscall bpf clock_settime create_module delete_module fanotify_init finit_module
    fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy getpmsg init_module io_uring_enter
    io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mbind
    migrate_pages mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at open_tree
    perf_event_open pidfd_getfd pivot_root process_madvise putpmsg query_module quotactl quotactl_fd reboot
    request_key security set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday
    swapoff swapon sysfs syslog tuxcall umount2 unshare uselib userfaultfd ustat vhangup vserver
""".split()


def compiled(
    profile: dict[str, Any] = PROFILE, names: list[str] | None = None, machine: str = "x86_64"
) -> bytes:
    names = capabilities.select() if names is None else names
    return seccomp.compile(profile, names, machine=machine, numbers=NUMBERS, kernel=(6, 1))


def run(program: bytes, machine: str, number: int, *arguments: int) -> int:
    """What the kernel's BPF machine returns for a system call."""
    values = [value & (1 << 64) - 1 for value in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, AUDIT[machine], 0, *values)
    place, accumulator = 0, 0
    for _ in range(5000):
        code, yes, no, value = struct.unpack_from("=HBBI", program, 8 * place)
        place += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            place += value
        else:
            true = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[code]
            place += yes if true else no
    raise AssertionError("it does not end")


def test_what_the_default_profile_refuses() -> None:
    program = compiled()
    old = {name for name, number in NUMBERS["x86_64"].items() if number <= 450 and name != "uretprobe"}
    answers = {name: run(program, "x86_64", NUMBERS["x86_64"][name]) for name in old}
    refused = {name for name, answer in answers.items() if answer == EPERM}
    assert answers["clone3"] == ENOSYS
    assert sorted(refused) == sorted(REFUSED)
    assert len(refused) + 1 == 67
    assert len(old) == 362


@pytest.mark.parametrize(
    ("call", "arguments", "answer"),
    [
        ("socket", (1,), ALLOW),
        ("socket", (16,), ALLOW),
        ("socket", (38,), EPERM),
        ("socket", (39,), ALLOW),
        ("socket", (40,), EPERM),
        ("socket", (41,), ALLOW),
        ("socket", (1 << 32,), ALLOW),
        ("socket", (1 << 32 | 38,), EPERM),  # the kernel takes an int and would see AF_ALG
        ("clone", (0x1200011,), ALLOW),
        ("clone", (0x10000000,), EPERM),
        ("clone", (0x00020000 | 0x11,), EPERM),
        ("personality", (0,), ALLOW),
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x0040000,), EPERM),
    ],
)
def test_arguments_decide(call: str, arguments: tuple[int, ...], answer: int) -> None:
    for name in ("x86_64", "x32"):
        number = NUMBERS[name][call] | (X32 if name == "x32" else 0)
        assert run(compiled(), name, number, *arguments) == answer
    assert run(compiled(machine="aarch64"), "aarch64", NUMBERS["aarch64"][call], *arguments) == answer


def test_what_a_process_may_do_is_known_beforehand() -> None:
    """`Filter.allows` is as the kernel's machine."""
    own = MACHINE
    found = Filter(compiled(machine=own))
    for number in sorted(set(NUMBERS[own].values())):
        for arguments in ((0,), (17,), (0x10000000,)):
            answer = run(compiled(machine=own), own, number, *arguments)
            assert found.allows(number, *arguments) == (answer == ALLOW), number
    refusing = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ERRNO"}],
    }
    assert not Filter(compiled(refusing, machine=own)).allows(NUMBERS[own]["clone"], 17)
    assert not Filter(b"").allows(0)


def test_capabilities_open_calls() -> None:
    program = compiled(names=capabilities.select(["SYS_ADMIN", "SYS_TIME"]))
    for call in ("mount", "unshare", "clone3", "settimeofday", "bpf"):
        assert run(program, "x86_64", NUMBERS["x86_64"][call], 0x10000000) == ALLOW
    assert run(program, "x86_64", NUMBERS["x86_64"]["clone"], 0x10000000) == ALLOW
    assert run(program, "x86_64", NUMBERS["x86_64"]["reboot"]) == EPERM


def test_other_architectures_of_the_same_machine() -> None:
    program = compiled()
    assert run(program, "x86", NUMBERS["x86"]["read"]) == ALLOW
    assert run(program, "x86", NUMBERS["x86"]["mount"]) == EPERM
    assert run(program, "x86", NUMBERS["x86"]["socketcall"]) == ALLOW
    assert run(program, "x32", X32 | NUMBERS["x32"]["execve"]) == ALLOW
    assert run(program, "x32", X32 | NUMBERS["x32"]["ptrace"]) == ALLOW
    assert run(program, "x32", X32 | NUMBERS["x32"]["mount"]) == EPERM
    assert run(program, "aarch64", 63) == KILL
    alone = {**PROFILE, "archMap": []}
    assert run(compiled(alone), "x86", NUMBERS["x86"]["read"]) == KILL
    assert run(compiled(alone), "x32", X32 | NUMBERS["x32"]["read"]) == KILL


def test_a_call_from_the_future_does_not_exist() -> None:
    for machine in ("x86_64", "aarch64"):
        for number in (600, 5000, X32 - 1):
            assert run(compiled(machine=machine), machine, number) == ENOSYS
    assert run(compiled(), "x86", 600) == ENOSYS


def test_programs_are_small_and_quick() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(compiled(machine=machine)) // 8 < 1200


OPERATORS: dict[str, Any] = {
    "SCMP_CMP_EQ": lambda a, v, w: a == v,
    "SCMP_CMP_NE": lambda a, v, w: a != v,
    "SCMP_CMP_LT": lambda a, v, w: a < v,
    "SCMP_CMP_LE": lambda a, v, w: a <= v,
    "SCMP_CMP_GT": lambda a, v, w: a > v,
    "SCMP_CMP_GE": lambda a, v, w: a >= v,
    "SCMP_CMP_MASKED_EQ": lambda a, v, w: a & v == w,
}


def index_of(condition: dict[str, Any]) -> Any:
    return condition["index"]


words = st.sampled_from([0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, (1 << 64) - 1])
conditions: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"index": st.integers(0, 5), "op": st.sampled_from(sorted(OPERATORS)), "value": words, "valueTwo": words}
)
rules: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "names": st.lists(st.sampled_from(["read", "write", "open", "close", "stat", "mseal"]), min_size=1),
        "action": st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG"]),
        "args": st.lists(conditions, max_size=3, unique_by=index_of),
    }
)


@given(profile=st.lists(rules, max_size=6), arguments=st.lists(words, min_size=6, max_size=6))
def test_the_program_says_what_the_profile_says(profile: list[dict[str, Any]], arguments: list[int]) -> None:
    content = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13, "syscalls": profile}
    program = compiled(content)
    for call in ("read", "write", "open", "close", "stat", "mseal"):
        found = [entry for entry in profile if call in entry["names"]]
        settled = [entry for entry in found if not entry["args"]]
        matching = settled or [
            entry
            for entry in found
            if all(
                OPERATORS[c["op"]](arguments[c["index"]], c["value"], c["valueTwo"]) for c in entry["args"]
            )
        ]
        answer = seccomp._ACTIONS[matching[0]["action"]] if matching else 0x0005000D
        last = max([NUMBERS["x86_64"][name] for entry in profile for name in entry["names"]], default=-1)
        if last >= 0 and NUMBERS["x86_64"][call] > last:
            answer = ENOSYS
        assert run(program, "x86_64", NUMBERS["x86_64"][call], *arguments) == answer


@pytest.mark.parametrize(
    "profile",
    [
        {"defaultAction": "SCMP_ACT_NOTIFY"},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "nonsense"}]},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {
                    "names": ["read"],
                    "action": "SCMP_ACT_KILL",
                    "args": [{"index": 6, "op": "SCMP_CMP_EQ", "value": 1}],
                }
            ],
        },
    ],
)
def test_what_cannot_be_applied_is_an_error(profile: dict[str, Any]) -> None:
    with pytest.raises(ContainerError):
        compiled(profile)


def test_programs_are_made_once(tmp_path: Any) -> None:
    first = seccomp.program(capabilities.select(), str(tmp_path))
    assert seccomp.program(capabilities.select(), str(tmp_path)) == first
    assert seccomp.program(capabilities.select(["SYS_ADMIN"]), str(tmp_path)) != first
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    with pytest.raises(ContainerError, match="seccomp profile"):
        seccomp.program([], str(tmp_path), str(bad))
    with pytest.raises(ContainerError, match="No such file"):
        seccomp.program([], str(tmp_path), str(tmp_path / "none"))
