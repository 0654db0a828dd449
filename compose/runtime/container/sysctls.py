"""Which kernel settings a container can have of its own; every other one belongs to the whole machine."""

from __future__ import annotations

# What the kernel keeps for each ipc and uts namespace (ipc_namespaces(7), uts_namespaces(7)); runc's list.
_OWN = {
    "kernel.domainname": "uts",
    **dict.fromkeys(
        (
            *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shm_rmid_forced"),
            *("kernel.shmall", "kernel.shmmax", "kernel.shmmni"),
        ),
        "ipc",
    ),
}
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def dotted(key: str) -> str:
    """A name as sysctl(8) takes it as well, with slashes and dots the other way round."""
    slash = key.find("/")
    swapped = slash >= 0 and "." not in key[:slash]
    return key.translate({ord("/"): ".", ord("."): "/"}) if swapped else key


def namespace_of(key: str) -> str:
    """The namespace that has a value of its own of a dotted setting: network, ipc or uts; "" for none."""
    if key.startswith("net."):
        return "network"
    return "ipc" if key.startswith("fs.mqueue.") else _OWN.get(key, "")


def is_plain(key: str) -> bool:
    """Whether a dotted name consists of the characters that names of settings have."""
    return _CHARACTERS.issuperset(key)
