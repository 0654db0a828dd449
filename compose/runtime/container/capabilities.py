"""Capabilities: names, sets, and Docker's rules for adding and dropping them."""

from __future__ import annotations

from compose.errors import ContainerError
from compose.linux.process import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
    capget,
    prctl,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# In the order of their numbers, include/uapi/linux/capability.h
NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *(
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
    ),
    *(
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
    ),
    *(
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
    ),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
NUMBERS = {name: number for number, name in enumerate(NAMES)}

DEFAULT = (
    *(
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
    ),
    *("NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"),
)
"""What Docker gives a container that asks for nothing."""


class CapabilitySets:
    """The five sets of one process as bit masks."""

    __slots__ = ("ambient", "bounding", "effective", "inheritable", "permitted")

    def __init__(self, bounding: int, effective: int, permitted: int, inheritable: int, ambient: int) -> None:
        self.bounding = bounding
        self.effective = effective
        self.permitted = permitted
        self.inheritable = inheritable
        self.ambient = ambient


def normalise(name: str) -> str:
    """``cap_net_raw``, ``NET_RAW`` and ``CAP_NET_RAW`` as ``NET_RAW``; ContainerError for an unknown name."""
    short = name.upper().removeprefix("CAP_")
    if short != "ALL" and short not in NUMBERS:
        raise ContainerError(f"unknown capability {name}", hint="see capabilities(7) for the names")
    return short


def is_known(name: str) -> bool:
    """Whether an OCI name (``CAP_...``) is that of a capability."""
    return name.startswith("CAP_") and name[4:] in NUMBERS


def select(add: Iterable[str] = (), drop: Iterable[str] = (), *, privileged: bool = False) -> list[str]:
    """The OCI names (``CAP_...``) of a container's capabilities, by Docker's rules.

    ALL in `add` starts from everything, ALL in `drop` from nothing; otherwise from `DEFAULT`. What is named
    in `add` is there even when ALL is dropped; a name in both is not.
    """
    added = {normalise(name) for name in add}
    dropped = {normalise(name) for name in drop}
    if privileged:
        return [f"CAP_{name}" for name in NAMES]
    if "ALL" in added:
        chosen = set(NAMES) - dropped
    elif "ALL" in dropped:
        chosen = added
    else:
        chosen = (set(DEFAULT) - dropped) | (added - dropped)
    return [f"CAP_{name}" for name in NAMES if name in chosen]


def mask(names: Iterable[str]) -> int:
    """The bit mask of OCI capability names."""
    value = 0
    for name in names:
        value |= 1 << NUMBERS[normalise(name)]
    return value


def sets(oci: dict[str, list[str]]) -> CapabilitySets:
    """The sets of an OCI ``process.capabilities``; a set that is not there is empty."""
    wanted = {key: mask(oci.get(key, ())) for key in CapabilitySets.__slots__}
    return CapabilitySets(**wanted)


_available = -1


def available() -> int:
    """What this process can pass on: its permitted set, within its bounding set.

    Asked of the kernel once; whoever gives up capabilities executes something else right after.
    """
    global _available
    if _available < 0:
        _available = _ask_for_available()
    return _available


def _ask_for_available() -> int:
    permitted = capget()[1]
    last = len(NAMES)
    bounding = 0
    for number in range(last):
        try:
            bounding |= prctl(PR_CAPBSET_READ, number) << number
        except OSError as error:
            if error.errno != 22:  # EINVAL: the kernel is older than the capability
                raise
            break
    return permitted & bounding


def limit_bounding_set(value: int) -> None:
    """Take every capability that is not in `value` out of the bounding set; needs CAP_SETPCAP."""
    number = 0
    while number < len(NAMES) or _in_bounding_set(number):  # also those that are newer than this program
        if not value >> number & 1:
            prctl(PR_CAPBSET_DROP, number)
        number += 1


def members(value: int) -> list[int]:
    """The numbers of the capabilities in a bit mask that this program knows."""
    return [number for number in range(len(NAMES)) if value >> number & 1]


def outside_of(value: int) -> list[int]:
    """The capabilities of the bounding set that are not in `value`."""
    return [number for number in range(64) if _in_bounding_set(number) and not value >> number & 1]


def _in_bounding_set(number: int) -> bool:
    try:
        return bool(prctl(PR_CAPBSET_READ, number))
    except OSError:  # beyond the last one that the kernel knows
        return False


def set_ambient(value: int) -> None:
    """Replace the ambient set; each member must be permitted and inheritable already."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for number in members(value):
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)
