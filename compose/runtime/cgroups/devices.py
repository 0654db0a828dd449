"""Which devices a version 2 group may use: a small program for the kernel's BPF machine.

The kernel runs it at every open and mknod of a device, with the kind of access, major and minor in a
struct bpf_cgroup_dev_ctx; 1 allows, 0 refuses. Rules are looked at from the last to the first, and the first
that matches decides, which is what writing them in order to the version 1 controller means.
"""

from __future__ import annotations

import os
import struct

from compose.linux.bpf import attach_to_cgroup, load_device_program, programs_of_cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_ACCESS = {"m": 1, "r": 2, "w": 4}
_KINDS = {"b": 1, "c": 2}
_CONTEXT, _ACCESS_REGISTER, _KIND_REGISTER, _MAJOR, _MINOR, _SCRATCH, _RESULT = 1, 3, 2, 4, 5, 6, 0
_LOAD_WORD, _MOVE, _MOVE_VALUE, _AND_VALUE, _SHIFT_RIGHT, _JUMP_UNEQUAL, _EXIT = (
    *(0x61, 0xBC, 0xB4, 0x54, 0x74, 0x55, 0x95),
)
_JUMP_UNEQUAL_REGISTER = 0x5D


def attach(directory: str, rules: Sequence[dict[str, Any]]) -> None:
    """Attach the OCI rules to the group `directory`; OSError where kernel or privileges do not allow it.

    A group that is used again by the same container has its program already: each start would add one more,
    and the kernel takes 64.
    """
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if programs_of_cgroup(group):
            return
        program = load_device_program(compile(rules))
        try:
            attach_to_cgroup(program, group)
        finally:
            os.close(program)
    finally:
        os.close(group)


def compile(rules: Sequence[dict[str, Any]]) -> bytes:
    """The program for OCI ``linux.resources.devices``; what no rule speaks of is refused."""
    code = [
        _instruction(_LOAD_WORD, _KIND_REGISTER, _CONTEXT, 0),  # access << 16 | kind
        _instruction(_MOVE, _ACCESS_REGISTER, _KIND_REGISTER),
        _instruction(_AND_VALUE, _KIND_REGISTER, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _ACCESS_REGISTER, value=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, 4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(rules):
        block, final = _rule(rule)
        code += block
        if final:
            return b"".join(code)
    code += _answer(False)
    return b"".join(code)


def _rule(rule: dict[str, Any]) -> tuple[list[bytes], bool]:
    """The instructions of one rule, and whether it matches everything (so that none after it counts)."""
    allow = bool(rule.get("allow"))
    tests: list[list[bytes]] = []
    kind = _KINDS.get(rule.get("type") or "a")
    if kind:
        tests.append([_instruction(_JUMP_UNEQUAL, _KIND_REGISTER, value=kind)])
    access = 0
    for letter in rule.get("access") or "rwm":
        access |= _ACCESS[letter]
    if access != 7:
        tests.append(_access_test(access, allow=allow))
    for register, key in ((_MAJOR, "major"), (_MINOR, "minor")):
        number = rule.get(key)
        if number is not None and number >= 0:
            tests.append([_instruction(_JUMP_UNEQUAL, register, value=number)])
    body = _answer(allow)
    for test in reversed(tests):
        *before, jump = test
        body = [*before, jump[:2] + struct.pack("=h", len(body)) + jump[4:], *body]
    return body, not tests


def _access_test(access: int, *, allow: bool) -> list[bytes]:
    """Allowing matches if all that is wanted is in `access`; refusing, if any of it is."""
    if allow:
        return [
            _instruction(_MOVE, _SCRATCH, _ACCESS_REGISTER),
            _instruction(_AND_VALUE, _SCRATCH, value=access),
            _instruction(_JUMP_UNEQUAL_REGISTER, _SCRATCH, _ACCESS_REGISTER),
        ]
    return [
        _instruction(_MOVE, _SCRATCH, _ACCESS_REGISTER),
        _instruction(_AND_VALUE, _SCRATCH, value=access),
        # "jump if equal to 0": the access asked for has nothing in common with the rule
        _instruction(0x15, _SCRATCH, value=0),
    ]


def _answer(allow: bool) -> list[bytes]:
    return [_instruction(_MOVE_VALUE, _RESULT, value=int(allow)), _instruction(_EXIT)]


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)
