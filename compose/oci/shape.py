"""The types of config.json (OCI runtime specification, config and config-linux), as far as we read it.

A shape is ``str``, ``int`` or ``bool``; a list with the shape of its items; a mapping with ``*`` for the
shape of any value; or an object of named members, of which those that end in ``!`` must be there. ``ID`` is a
user or group.
"""

from __future__ import annotations

from compose.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ID = "a user or group (0 to 4294967294)"
_LARGEST_ID = 2**32 - 2
_WORDS = {str: "a string", int: "a whole number", bool: "true or false"}
_TEXTS = [str]
_MAPPINGS = [{"containerID": int, "hostID": int, "size": int}]

PROCESS = {
    "terminal": bool,
    "consoleSize": {"height!": int, "width!": int},
    "user": {"uid": ID, "gid": ID, "umask": int, "additionalGids": [ID], "username": str},
    "args": _TEXTS,
    "env": _TEXTS,
    "cwd": str,
    "capabilities": {
        name: _TEXTS for name in ("bounding", "effective", "inheritable", "permitted", "ambient")
    },
    "rlimits": [{"type!": str, "soft!": int, "hard!": int}],
    "noNewPrivileges": bool,
    "apparmorProfile": str,
    "selinuxLabel": str,
    "oomScoreAdj": int,
}
_HOOKS = [{"path!": str, "args": _TEXTS, "env": _TEXTS, "timeout": int}]
_RATES = [{"major!": int, "minor!": int, "rate!": int}]
RESOURCES = {
    "devices": [{"allow": bool, "type": str, "major": int, "minor": int, "access": str}],
    "memory": {
        **dict.fromkeys(("limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness"), int),
        **dict.fromkeys(("disableOOMKiller", "useHierarchy", "checkBeforeUpdate"), bool),
    },
    "cpu": {
        **dict.fromkeys(("shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod"), int),
        **{"cpus": str, "mems": str, "idle": int},
    },
    "pids": {"limit": int},
    "blockIO": {
        "weight": int,
        "leafWeight": int,
        "weightDevice": [{"major!": int, "minor!": int, "weight": int, "leafWeight": int}],
        **dict.fromkeys(("throttleReadBpsDevice", "throttleWriteBpsDevice"), _RATES),
        **dict.fromkeys(("throttleReadIOPSDevice", "throttleWriteIOPSDevice"), _RATES),
    },
    "hugepageLimits": [{"pageSize!": str, "limit!": int}],
    "network": {"classID": int, "priorities": [{"name": str, "priority": int}]},
    "rdma": {"*": {"hcaHandles": int, "hcaObjects": int}},
    "unified": {"*": str},
}
_SECCOMP = {
    "defaultAction!": str,
    "defaultErrnoRet": int,
    "architectures": _TEXTS,
    "flags": _TEXTS,
    "listenerPath": str,
    "listenerMetadata": str,
    "syscalls": [
        {
            "names!": _TEXTS,
            "action!": str,
            "errnoRet": int,
            "args": [{"index!": int, "value!": int, "valueTwo": int, "op!": str}],
        }
    ],
}
CONFIG = {
    "ociVersion!": str,
    "process!": PROCESS,
    "root!": {"path!": str, "readonly": bool},
    "hostname": str,
    "domainname": str,
    "mounts": [
        {
            "destination!": str,
            "type": str,
            "source": str,
            "options": _TEXTS,
            "uidMappings": _MAPPINGS,
            "gidMappings": _MAPPINGS,
        }
    ],
    "annotations": {"*": str},
    "hooks": {
        kind: _HOOKS
        for kind in (
            *("prestart", "createRuntime", "createContainer"),
            *("startContainer", "poststart", "poststop"),
        )
    },
    "linux": {
        "uidMappings": _MAPPINGS,
        "gidMappings": _MAPPINGS,
        "namespaces": [{"type!": str, "path": str}],
        "devices": [
            {
                "type!": str,
                "path!": str,
                "major": int,
                "minor": int,
                "fileMode": int,
                "uid": ID,
                "gid": ID,
            }
        ],
        "cgroupsPath": str,
        "rootfsPropagation": str,
        "sysctl": {"*": str},
        "maskedPaths": _TEXTS,
        "readonlyPaths": _TEXTS,
        "mountLabel": str,
        "resources": RESOURCES,
        "seccomp": _SECCOMP,
    },
}


def checked(value: Any, shape: Any, where: str) -> Any:
    """The value without members that are null, which counts as absent.

    Raises `ContainerError` that names the place of what has another type.
    """
    if isinstance(shape, dict):
        return _object(value, shape, where)
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise ContainerError(f"{where}: must be a list")
        return [checked(item, shape[0], f"{where}[{index}]") for index, item in enumerate(value)]
    if shape is ID:
        if type(value) is not int or not 0 <= value <= _LARGEST_ID:
            raise ContainerError(f"{where}: must be {ID}")
    elif type(value) is not shape:
        raise ContainerError(f"{where}: must be {_WORDS[shape]}")
    elif shape is str and "\0" in value:
        raise ContainerError(f"{where}: must not contain a zero byte")
    return value


def _object(value: Any, shape: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ContainerError(f"{where or 'config.json'}: must be an object")
    present = {key: item for key, item in value.items() if item is not None}
    known = {key.removesuffix("!"): kind for key, kind in shape.items()}
    prefix = f"{where}." if where else ""
    for key in shape:
        if key.endswith("!") and key[:-1] not in present:
            raise ContainerError(f"{prefix}{key[:-1]}: is missing")
    for key, item in present.items():
        kind = known.get(key, known.get("*"))
        if kind is not None:
            present[key] = checked(item, kind, f"{prefix}{key}")
    return present
