"""``security_opt``: seccomp, no_new_privs, AppArmor, SELinux, and the paths that are hidden.

Words and separators are Docker's: ``KEY=VALUE``, ``KEY:VALUE``, ``no-new-privileges`` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ContainerError
from compose.runtime.container.modules import has_apparmor, has_selinux

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_LABEL = ("user", "role", "type", "level")
_DEFAULT_LABEL = ("system_u", "system_r", "container_t", "s0")
_HINT = (
    "there are seccomp=FILE or unconfined, no-new-privileges, apparmor=PROFILE, label=disable or type:TYPE,"
    " systempaths=unconfined, writable-cgroups=true"
)


class Security(NamedTuple):
    seccomp: str = ""
    """``unconfined``, the path of a profile in Docker's format, or empty for ours."""
    no_new_privileges: bool = False
    apparmor: str = ""
    """The name of a profile; empty: none was asked for."""
    selinux: str = ""
    """A whole context; empty: none was asked for."""
    unconfined_paths: bool = False
    """Whether nothing of /proc and /sys is hidden or read-only."""
    writable_cgroups: bool = False


def security(service: Mapping[str, Any]) -> Security:
    """What the options ask for. Raises `ContainerError` for one that there is not."""
    found = Security()
    label: dict[str, str] = {}
    for option in service.get("security_opt") or ():
        key, value = _split(str(option))
        match key, value:
            case "seccomp", profile if profile:
                found = found._replace(seccomp="" if profile == "builtin" else profile)
            case "no-new-privileges", ("" | "true" | "false"):
                found = found._replace(no_new_privileges=value != "false")
            case "apparmor", profile if profile:
                found = found._replace(apparmor=profile)
            case "label", "disable":
                label.clear()
            case "label", part if part.partition(":")[0] in _LABEL and part.partition(":")[2]:
                label[part.partition(":")[0]] = part.partition(":")[2]
            case "systempaths", "unconfined":
                found = found._replace(unconfined_paths=True)
            case "writable-cgroups", ("true" | "false"):
                found = found._replace(writable_cgroups=value == "true")
            case _:
                raise ContainerError(f"security_opt: there is no option {option}", hint=_HINT)
    if label:
        words = [label.get(name, default) for name, default in zip(_LABEL, _DEFAULT_LABEL, strict=True)]
        found = found._replace(selinux=":".join(words))
    return found


def missing(options: Security) -> list[str]:
    """What cannot be done on this host, in words."""
    found = []
    if options.apparmor not in ("", "unconfined") and not has_apparmor():
        found.append(f"security_opt: this host has no AppArmor: apparmor={options.apparmor} has no effect")
    if options.selinux and not has_selinux():
        found.append(f"security_opt: this host has no SELinux: label {options.selinux} has no effect")
    return found


def _split(option: str) -> tuple[str, str]:
    """Key and value; what comes first of ``=`` and ``:`` separates them."""
    for place, character in enumerate(option):
        if character in "=:":
            return option[:place], option[place + 1 :]
    return option, ""
