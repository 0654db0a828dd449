"""What this runtime can do, for those who ask before they use it (OCI runtime specification, features)."""

from __future__ import annotations

from compose.oci.bundle import VERSION
from compose.runtime.container import capabilities, seccomp
from compose.runtime.container.mounts.options import option_names
from compose.runtime.container.setup import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def features(cgroup_version: int) -> dict[str, Any]:
    """The structure of the specification."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": [
            *("prestart", "createRuntime", "createContainer"),
            *("startContainer", "poststart", "poststop"),
        ],
        "mountOptions": option_names(),
        "linux": {
            "namespaces": sorted(set(NAMESPACES) - {"user", "time"}),
            "capabilities": [f"CAP_{name}" for name in capabilities.NAMES],
            "cgroup": {
                "v1": cgroup_version == 1,
                "v2": cgroup_version == 2,
                "systemd": cgroup_version == 2,
                "systemdUser": False,
                "rdma": False,
            },
            "seccomp": {"enabled": True, **seccomp.known_names()},
            "apparmor": {"enabled": True},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": False}},
        },
        "potentiallyUnsafeConfigAnnotations": [],
    }
