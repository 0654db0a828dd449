"""The whole matrix of the default seccomp profile: every call x capabilities x arguments x architecture.

The tables are facts about the newest Docker Engine (its profile of June 2026), found apart from our compiler:
from the profile's rules, and for x86_64, i386 and x32 from the very programs that runc installs for it under
each capability, read back from the kernel. Where ours answers otherwise, `STRICTER` says so.
"""

from __future__ import annotations

import os
from itertools import chain

import pytest

from compose.linux.numbers import MACHINE
from compose.linux.seccomp import Filter
from compose.runtime.container import capabilities
from tests.unit.test_launch_seccomp import ALLOW, ENOSYS, EPERM, KILL, NUMBERS, X32, compiled, run

ALLOWED = {
    "x86_64": """
        0-40 42-55 57-102 104-133 137-138 140-152 154 157-162 186-211 213-226 228-235 240-245 247
        251-255 257-271 273-278 280-297 299 301-303 305-307 309-311 314-319 322 324-335 424 434 436-437
        439 441 444-449 451-458 462-466
    """,
    "x86": """
        0-16 19-20 23-24 26-27 29-30 33 36-43 45-47 49-50 54-55 57 60-61 63-66 70-71 75-78 80-83 85
        90-97 99-100 102 104-108 114 116-119 122-126 132-133 138-148 150-165 168 170-187 190-216 218-221
        224-250 252 254-263 265-272 277-282 284 289-293 295-309 311-316 318-335 337 339-341 343-345
        347-348 351-356 358 360-373 375-386 393-403 405-414 416-424 434 436-437 439 441 444-449 451-458
        462-466
    """,
    "x32": """
        0-12 14 17-18 21-40 42-44 48-53 57-58 60-100 102 104-126 130 132-133 137-138 140-152 154 157-162
        186-204 207-208 210 213 216-221 223-226 228-235 240-243 245 251-255 257-271 275-277 280-294
        301-303 305-306 309 314-319 324-326 329-335 424 434 436-437 439 441 444-449 451-458 462-466
        512-527 529-532 534-547
    """,
    "aarch64": """
        0-17 19-38 43-57 59 61-88 90-91 93-96 98-103 107-111 113-115 117-141 143-160 163-169 171-197
        199-216 221-223 226-234 240 242-243 260-261 263-264 266-267 269-271 274-279 281 283-293 424 434
        436-437 439 441 444-449 451-458 462-466
    """,
    "arm": """
        0-6 8-12 14-16 19-20 23-24 26 29 33 36-43 45-47 49-50 54-55 57 60-61 63-66 70-71 75 77-78 80-81
        83 85 91-97 99-100 104-108 114 116 118-119 122 124-126 132-133 138-148 150-165 168 170-187
        190-217 219-221 224-248 250-253 256-261 263-270 274-280 282-308 312 314-318 322-336 338-343
        345-346 348-363 365-366 368-370 372-374 376-377 380-385 387 389-399 403 405-414 416-424 434
        436-437 439 441 444-446 448-449 451-458 462-466 983041-983042 983045
    """,
}
"""What a container with the default capabilities may call, whatever the arguments."""

LAST = {"x86_64": 466, "x86": 466, "x32": 547, "aarch64": 466, "arm": 983045}
"""The last call that the profile speaks of: what comes later does not exist (ENOSYS)."""

OPENED = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
        quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}
"""What each capability opens in addition; no other one opens any call."""

NAMESPACES = 0x7E020000
"""The flags of clone that need SYS_ADMIN: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""

PERSONALITIES = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
HIGH = 1 << 32
WORDS = sorted(
    {*range(64), *(1 << bit for bit in range(64)), *PERSONALITIES, 0x01200011, NAMESPACES, ~NAMESPACES, -1}
    | {HIGH | 8, HIGH | 38, HIGH | 40}
)

STRICTER = {("socket", HIGH | 38), ("socket", HIGH | 40)}
"""Docker compares all 64 bits of a number of which the kernel takes 32: this is AF_ALG, and AF_VSOCK."""


def numbers(ranges: str) -> set[int]:
    ends = (piece.partition("-") for piece in ranges.split())
    return set(chain.from_iterable(range(int(a), int(b or a) + 1) for a, _, b in ends))


def by_arguments(call: str, first: int, *, narrow: bool, have: frozenset[str]) -> int | None:
    """Docker's answer where the first argument decides, or the answer is not a plain one."""
    word = first & (0xFFFFFFFF if narrow else (1 << 64) - 1)
    if call == "clone3":
        return ALLOW if "CAP_SYS_ADMIN" in have else ENOSYS
    if call == "clone" and "CAP_SYS_ADMIN" not in have:
        return EPERM if word & NAMESPACES else ALLOW
    if call == "socket":
        return EPERM if word in (38, 40) else ALLOW
    if call == "personality":
        return ALLOW if word in PERSONALITIES else EPERM
    return None


def expected(name: str, call: str, number: int, first: int, have: frozenset[str]) -> int:
    narrow = name in ("x86", "x32", "arm")
    found = by_arguments(call, first, narrow=narrow, have=have)
    if found is not None:
        return EPERM if (call, first) in STRICTER else found
    if number > LAST[name]:
        return ENOSYS
    if any(call in OPENED[capability].split() for capability in have & OPENED.keys()):
        return ALLOW
    chroot = call == "chroot"  # of the default capabilities the one that opens a call
    return ALLOW if number in numbers_of[name] and not chroot else EPERM


numbers_of = {name: numbers(ranges) for name, ranges in ALLOWED.items()}
SETS = {
    "default": capabilities.select(),
    "none": [],
    "all": capabilities.select(["ALL"]),
    **{name: capabilities.select([name]) for name in OPENED},
}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("names", SETS.values(), ids=list(SETS))
def test_the_matrix_is_dockers(machine: str, names: list[str]) -> None:
    program = compiled(names=names, machine=machine)
    have = frozenset(names)
    for name in ("x86_64", "x86", "x32") if machine == "x86_64" else ("aarch64", "arm"):
        calls = {number: call for call, number in NUMBERS[name].items()}
        bit = X32 if name == "x32" else 0
        for number in {*range(700), *calls}:
            call = calls.get(number, "")
            decided = call in ("clone", "clone3", "socket", "personality")
            for first in WORDS if decided else (0, -1):
                answer = run(program, name, bit | number, first, *[first if not decided else 0] * 5)
                wanted = expected(name, call, number, first, have)
                assert answer == wanted, (name, number, call, hex(first), hex(answer), hex(wanted))


def test_no_other_architecture_has_a_door() -> None:
    assert run(compiled(machine="x86_64"), "aarch64", NUMBERS["aarch64"]["read"]) == KILL
    assert run(compiled(machine="aarch64"), "x86_64", NUMBERS["x86_64"]["read"]) == KILL


def test_the_machine_has_the_numbers_of_the_table() -> None:
    """The tables are of numbers, so that a wrong number of a name cannot hide; the kernel has the same."""
    import ctypes

    assert ctypes.CDLL(None).syscall(NUMBERS[MACHINE]["getpid"]) == os.getpid()
    assert Filter(compiled(machine=MACHINE)).allows(NUMBERS[MACHINE]["getpid"])
