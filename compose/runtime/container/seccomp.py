"""From a seccomp profile in Docker's format to a program for the kernel's classic BPF machine.

    evaluate()   profile x capabilities x machine -> for each architecture a table: number -> rules
    compile()    tables -> instructions: a branch an architecture, then a binary search over ranges of system
                 calls with the same answer; 9 comparisons decide about 400 calls

Rules of a profile, as libseccomp and runc apply them: the arguments of one rule must all match, except that
several conditions on the same argument are alternatives; of several rules for one call any may match, and one
without arguments settles it; a rule with the default action says nothing. A call that is newer than all calls
in the profile gets ENOSYS instead of the default's errno, so that programs fall back to an older one.
"""

from __future__ import annotations

import json
import struct

from compose.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

VERSION = 2
"""Part of the name under which programs are cached: raise it when the same profile compiles differently."""

ALLOW = 0x7FFF0000
_ACTIONS = {
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
}
_KILL_PROCESS = 0x80000000
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_EPERM, _ENOSYS = 1, 38

_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", 0xC000003E),
    "x86": ("SCMP_ARCH_X86", 0x40000003),
    "x32": ("SCMP_ARCH_X32", 0xC000003E),
    "aarch64": ("SCMP_ARCH_AARCH64", 0xC00000B7),
    "arm": ("SCMP_ARCH_ARM", 0x40000028),
}
"""Our name, as in schemas/syscalls.json: the profile's name, and AUDIT_ARCH_* as the kernel has it."""

_KNOWN_ARCHITECTURES = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        *("X86", "X86_64", "X32", "ARM", "AARCH64", "LOONGARCH64", "M68K", "RISCV64", "SH", "SHEB"),
        *("MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PARISC", "PARISC64"),
        *("PPC", "PPC64", "PPC64LE", "S390", "S390X"),
    )
)
"""What a profile may name (libseccomp), whether or not programs of it run here."""

_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_SUB_ARCHITECTURES = {"x86_64": ("x86", "x32"), "aarch64": ("arm",)}
_X32_BIT = 0x40000000
_NARROW = ("x86", "x32", "arm")
"""Architectures of which only the lower half of an argument is compared, as libseccomp does it."""

_INTEGERS = ("socket",)
"""Calls whose arguments the kernel takes as int: with 64 bits compared, 1 << 32 | AF_ALG would pass for a
family that no rule refuses."""

_LARGEST_PROGRAM = 4096  # instructions, BPF_MAXINSNS

# Instruction codes, include/uapi/linux/bpf_common.h
_LOAD, _JUMP, _JEQ, _JGT, _JGE, _AND, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

if TYPE_CHECKING:
    Instruction = tuple[int, int, int, int]
    Condition = tuple[int, str, int, int, bool]
    Rule = tuple[tuple[Condition, ...], int]


class Table:
    """What one architecture answers: rules by system call number, and the largest number that is known."""

    __slots__ = ("default", "last", "rules")

    def __init__(self, default: int) -> None:
        self.default = default
        self.rules: dict[int, list[Rule]] = {}
        self.last = -1


def compile(
    profile: Mapping[str, Any],
    capabilities: Iterable[str],
    *,
    machine: str,
    numbers: Mapping[str, Mapping[str, int]],
    kernel: tuple[int, int],
) -> bytes:
    """The program (struct sock_filter, 8 bytes each) for a process with these OCI capability names.

    `machine` is as in uname, `numbers` is the content of schemas/syscalls.json, `kernel` its version. Raises
    ContainerError for a profile that cannot be applied.
    """
    tables = evaluate(profile, capabilities, machine=machine, numbers=numbers, kernel=kernel)
    code: list[Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for name in tables:
        if name == "x32":  # shares the architecture of x86_64
            continue
        body: list[Instruction] = [(_LOAD, 0, 0, _NUMBER)]
        if name == "x86_64":
            beyond = _search(tables["x32"], _X32_BIT) if "x32" in tables else [_return(_KILL_PROCESS)]
            body += _branch(_JGE, _X32_BIT, no=_search(tables[name], 0), yes=beyond)
        else:
            body += _search(tables[name], 0)
        code += _branch(_JEQ, _ARCHITECTURES[name][1], yes=body, no=None)
    code.append(_return(_KILL_PROCESS))
    if len(code) > _LARGEST_PROGRAM:
        raise ContainerError(
            f"seccomp profile: {len(code)} instructions, the kernel takes {_LARGEST_PROGRAM}"
        )
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def evaluate(
    profile: Mapping[str, Any],
    capabilities: Iterable[str],
    *,
    machine: str,
    numbers: Mapping[str, Mapping[str, int]],
    kernel: tuple[int, int],
) -> dict[str, Table]:
    """The tables that the profile means on this machine for these capabilities; the native one is first."""
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    names = _architectures(profile, machine)
    tables = {name: Table(default) for name in names}
    have = frozenset(capabilities)
    for entry in profile.get("syscalls") or ():
        if not _applies(entry, have, _GO_NAMES[machine], kernel):
            continue
        action = _action(entry["action"], entry.get("errnoRet"))
        alternatives = _alternatives(entry.get("args") or ())
        for name, table in tables.items():
            for call in entry["names"] if "names" in entry else (entry["name"],):
                number = numbers[name].get(call)
                if number is not None:
                    table.last = max(table.last, number)
                    if action != default:
                        narrow = name in _NARROW or call in _INTEGERS
                        _add(table, number, alternatives, action, narrow=narrow)
    return tables


def _add(
    table: Table, number: int, alternatives: Sequence[tuple[Condition, ...]], action: int, *, narrow: bool
) -> None:
    rules = table.rules.setdefault(number, [])
    if rules and not rules[0][0]:
        return  # settled already
    for conditions in alternatives:
        if not conditions:
            rules.clear()
        rules.append((tuple((*condition[:4], narrow) for condition in conditions), action))


def _applies(entry: Mapping[str, Any], have: frozenset[str], machine: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    wanted = includes.get("caps")
    if wanted and not have.issuperset(wanted):
        return False
    if includes.get("arches") and machine not in includes["arches"]:
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    if have.intersection(excludes.get("caps") or ()):
        return False
    if machine in (excludes.get("arches") or ()):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def _architectures(profile: Mapping[str, Any], machine: str) -> list[str]:
    """The native architecture, and those whose programs run here as well if the profile says so."""
    native = _ARCHITECTURES[machine][0]
    allowed = {native, *(profile.get("architectures") or ())}
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            allowed.update(entry.get("subArchitectures") or ())
    return [machine, *(name for name in _SUB_ARCHITECTURES[machine] if _ARCHITECTURES[name][0] in allowed)]


def check_architectures(names: Iterable[str]) -> None:
    """Raise ContainerError for the name of no architecture; those that cannot run here are fine."""
    for name in names:
        if name not in _KNOWN_ARCHITECTURES:
            raise ContainerError(f"seccomp profile: architecture {name} is not known")


def _action(name: str, number: int | None) -> int:
    value = _ACTIONS.get(name)
    if value is None:
        raise ContainerError(f"seccomp profile: action {name} is not supported")
    if name in _WITH_NUMBER:
        value |= (_EPERM if number is None else number) & 0xFFFF
    return value


def _alternatives(arguments: Sequence[Mapping[str, Any]]) -> list[tuple[Condition, ...]]:
    """The conditions of one rule: all must hold, but several on one argument are alternatives (runc)."""
    conditions: list[Condition] = [
        (entry["index"], entry["op"], int(entry["value"]), int(entry.get("valueTwo") or 0), False)
        for entry in arguments
    ]
    for index, operator, *_ in conditions:
        if not 0 <= index <= 5 or operator not in _OPERATORS:
            raise ContainerError(f"seccomp profile: condition {operator} on argument {index}")
    if len({condition[0] for condition in conditions}) < len(conditions):
        return [(condition,) for condition in conditions]
    return [tuple(conditions)]


# Code


def _search(table: Table, base: int) -> list[Instruction]:
    """Answer for the number in the accumulator, from which `base` is not taken off."""
    unknown = table.default
    if table.default not in (ALLOW, _ACTIONS["SCMP_ACT_LOG"]) and table.last >= 0:
        unknown = _ACTIONS["SCMP_ACT_ERRNO"] | _ENOSYS
    pieces: list[tuple[int, list[Instruction]]] = []
    following = 0
    for number in sorted(table.rules):
        if number > following:
            pieces.append((following, [_return(table.default)]))
        pieces.append((number, _rules(table.rules[number], table.default)))
        following = number + 1
    if following <= table.last:
        pieces.append((following, [_return(table.default)]))
    pieces.append((table.last + 1, [_return(unknown)]))
    merged: list[tuple[int, list[Instruction]]] = []
    for start, body in pieces:
        if not merged or merged[-1][1] != body:
            merged.append((start + base, body))
    return _tree(merged)


def _tree(pieces: Sequence[tuple[int, list[Instruction]]]) -> list[Instruction]:
    if len(pieces) == 1:
        return pieces[0][1]
    middle = len(pieces) // 2
    return _branch(_JGE, pieces[middle][0], no=_tree(pieces[:middle]), yes=_tree(pieces[middle:]))


def _branch(
    test: int, value: int, *, yes: list[Instruction], no: list[Instruction] | None
) -> list[Instruction]:
    """``if accumulator TEST value: yes else: no``; without `no`, what follows is executed.

    `no` must not run on into `yes`. A conditional jump reaches 255 instructions, the other kind any number.
    """
    first, second = (no, yes) if no is not None else (yes, [])
    near = len(first) <= 255
    if no is not None:
        jump = [(test, len(first), 0, value)] if near else [(test, 0, 1, value), (_JUMP, 0, 0, len(first))]
    else:
        jump = [(test, 0, len(first), value)] if near else [(test, 1, 0, value), (_JUMP, 0, 0, len(first))]
    return [*jump, *first, *second]


def _rules(rules: Sequence[Rule], default: int) -> list[Instruction]:
    """Each rule in turn, then the default."""
    code: list[Instruction] = []
    for conditions, action in rules:
        if not conditions:
            return [*code, _return(action)]
        code += _all(conditions, action)
    return [*code, _return(default)]


def _all(conditions: Sequence[Condition], action: int) -> list[Instruction]:
    """Return `action` if every condition holds, else run on."""
    code = [_return(action)]
    for condition in reversed(conditions):
        code = _condition(condition, code)
    return code


def _condition(condition: Condition, then: list[Instruction]) -> list[Instruction]:
    """Run `then` (which ends in a return or runs on behind its end) if the condition holds, else skip it."""
    index, operator, value, datum, narrow = condition
    low = (_LOAD, 0, 0, _ARGUMENTS + 8 * index)
    high = (_LOAD, 0, 0, _ARGUMENTS + 8 * index + 4)
    length = len(then)
    value_high, value_low = value >> 32 & 0xFFFFFFFF, value & 0xFFFFFFFF
    kind, negated = _OPERATORS[operator]
    if kind == "masked":
        datum_high, datum_low = datum >> 32 & 0xFFFFFFFF, datum & 0xFFFFFFFF
        if narrow:
            return [low, (_AND, 0, 0, value_low), (_JEQ, 0, length, datum_low), *then]
        return [
            high,
            (_AND, 0, 0, value_high),
            (_JEQ, 0, length + 3, datum_high),
            low,
            (_AND, 0, 0, value_low),
            (_JEQ, 0, length, datum_low),
            *then,
        ]
    last = (kind, length, 0, value_low) if negated else (kind, 0, length, value_low)
    if narrow:
        return [low, last, *then]
    if kind == _JEQ:
        miss = 2 if negated else length + 2
        return [high, (_JEQ, 0, miss, value_high), low, last, *then]
    # greater (or equal): a larger upper half decides, a smaller one as well, equal ones leave it to the lower
    larger, smaller = (length + 3, length + 2) if negated else (3, length + 2)
    if negated:
        smaller = 2
    return [high, (_JGT, larger, 0, value_high), (_JEQ, 0, smaller, value_high), low, last, *then]


_OPERATORS: dict[str, tuple[Any, bool]] = {
    "SCMP_CMP_EQ": (_JEQ, False),
    "SCMP_CMP_NE": (_JEQ, True),
    "SCMP_CMP_GT": (_JGT, False),
    "SCMP_CMP_GE": (_JGE, False),
    "SCMP_CMP_LE": (_JGT, True),
    "SCMP_CMP_LT": (_JGE, True),
    "SCMP_CMP_MASKED_EQ": ("masked", False),
}


def _return(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def of_profile(profile: Mapping[str, Any], capabilities: Iterable[str]) -> bytes:
    """`compile` for this machine; raises ContainerError for a profile that cannot be applied."""
    import os

    from compose.state.paths import schema_file

    system = os.uname()
    with open(schema_file("syscalls.json"), "rb") as file:
        numbers = json.load(file)
    major, minor = system.release.split(".")[:2]
    version = int(major), int("".join(c for c in minor if c.isdigit()) or 0)
    return compile(profile, capabilities, machine=system.machine, numbers=numbers, kernel=version)


def known_names() -> dict[str, list[str]]:
    """What a profile may say on this machine: actions, operators, archs."""
    import os

    machine = os.uname().machine
    names = [machine, *_SUB_ARCHITECTURES[machine]]
    return {
        "actions": sorted(_ACTIONS),
        "operators": sorted(_OPERATORS),
        "archs": [_ARCHITECTURES[name][0] for name in names],
    }


# Programs on disk


def program(capabilities: Sequence[str], cache: str, profile: str = "") -> str:
    """The path of the compiled program for these capabilities, made in the directory `cache` unless it is
    there.

    `profile` is the path of a profile in Docker's format; empty: our default, schemas/seccomp-default.json.
    Raises ContainerError for a profile that cannot be read.
    """
    import hashlib
    import os

    from compose.state.files import replace
    from compose.state.paths import schema_file

    source = profile or schema_file("seccomp-default.json")
    try:
        with open(source, "rb") as file:
            text = file.read()
    except OSError as error:
        raise ContainerError(f"read seccomp profile {source}: {os.strerror(error.errno or 0)}") from None
    system = os.uname()
    key = "\0".join([str(VERSION), system.machine, system.release, *sorted(capabilities)]).encode()
    path = os.path.join(cache, f"seccomp-{hashlib.sha256(text + key).hexdigest()[:32]}.bpf")
    try:
        if os.path.getsize(path):
            return path
    except FileNotFoundError:
        pass
    try:
        code = of_profile(json.loads(text), capabilities)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContainerError(f"seccomp profile {source}: {type(error).__name__}: {error}") from None
    os.makedirs(cache, mode=0o700, exist_ok=True)
    replace(path, code)  # synced: no container could be started with an empty one after a power cut
    return path
