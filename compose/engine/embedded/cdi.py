"""Devices described by their vendors: the Container Device Interface (CDI), versions 0.3 to 1.0.

    /etc/cdi/*.json *.yaml          what an administrator or a vendor's installer wrote
    /var/run/cdi/*.json *.yaml      what was made for this boot; wins over /etc/cdi

    kind: vendor.com/class          a device's full name is kind=name: vendor.com/class=name
    devices: [{name, containerEdits}]
    containerEdits                  for every device of the file: nodes, mounts, variables, hooks, groups

A file that cannot be read spoils only its own devices. Two files of one directory that describe the same
device make that device unusable (CDI specification, Error Handling). The files are the host's and trusted.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ContainerError
from compose.runtime.container.oci import bind, device_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")
DIRECTORIES_VARIABLE = "PYCOMPOSE_CDI_DIRS"
"""Other directories, separated by colons, the weakest first."""
_SUFFIXES = (".json", ".yaml")
_KINDS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
"""The hooks that there are (OCI runtime specification, config, Hooks)."""


class Edits(NamedTuple):
    """What devices add to a container, in the words of the OCI runtime specification."""

    env: list[str]
    nodes: list[dict[str, Any]]
    rules: list[dict[str, Any]]
    mounts: list[dict[str, Any]]
    hooks: dict[str, list[dict[str, Any]]]
    groups: list[int]


def no_edits() -> Edits:
    """Nothing is added."""
    return Edits([], [], [], [], {}, [])


class Registry:
    """All devices that are described on this host."""

    def __init__(self, directories: Iterable[str] | None = None) -> None:
        if directories is None:
            named = os.environ.get(DIRECTORIES_VARIABLE)
            directories = named.split(":") if named else DIRECTORIES
        self.directories = tuple(directories)
        self.problems: list[str] = []
        """Files that could not be read, each with the reason."""
        self._devices: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        """Full name -> its file's content, its own entry."""
        self._conflicts: dict[str, str] = {}
        for directory in self.directories:
            self._read_directory(directory)

    def names(self, kind: str) -> list[str]:
        """The names of the devices of one kind, numbers in their order first."""
        found = [name.partition("=")[2] for name in self._devices if name.partition("=")[0] == kind]
        return sorted(found, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))

    def kinds(self) -> list[str]:
        """Every ``vendor/class`` that has devices."""
        return sorted({name.partition("=")[0] for name in self._devices})

    def check(self, name: str) -> None:
        """Raise ContainerError for a device that cannot be had."""
        self._device(name)

    def edits(self, names: Iterable[str]) -> Edits:
        """What the devices called `names` add; raises ContainerError for one that cannot be had."""
        found = no_edits()
        files: list[int] = []
        for name in dict.fromkeys(names):
            content, entry = self._device(name)
            if id(content) not in files:
                files.append(id(content))
                _add(found, content.get("containerEdits") or {}, name)
            _add(found, entry.get("containerEdits") or {}, name)
        return found

    def _device(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        if name in self._conflicts:
            raise ContainerError(f"device {name}: {self._conflicts[name]}", hint="remove one of the files")
        found = self._devices.get(name)
        if found is None:
            where = " or ".join(self.directories)
            also = f"; not read: {'; '.join(self.problems)}" if self.problems else ""
            raise ContainerError(
                f"device {name}: no file in {where} describes it{also}", hint=self._hint(name)
            )
        return found

    def _hint(self, name: str) -> str:
        kind = name.partition("=")[0]
        if there := self.names(kind):
            return f"there are {', '.join(f'{kind}={one}' for one in there)}"
        if kind.startswith("nvidia.com/"):
            return "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
        return "install the vendor's CDI files; see what there is: grep kind /etc/cdi/* /var/run/cdi/*"

    def _read_directory(self, directory: str) -> None:
        try:
            names = sorted(os.listdir(directory))
        except OSError:  # most hosts have none
            return
        here: dict[str, str] = {}
        for name in names:
            if not name.endswith(_SUFFIXES):
                continue
            path = f"{directory}/{name}"
            try:
                content = _read(path)
            except (OSError, ValueError) as error:
                self.problems.append(f"{path}: {error}".replace("\n", " "))
                continue
            for entry in content["devices"]:
                self._take(f"{content['kind']}={entry['name']}", path, content, entry, here)

    def _take(
        self, full: str, path: str, content: dict[str, Any], entry: dict[str, Any], here: dict[str, str]
    ) -> None:
        if full in here:
            self._conflicts[full] = f"both {here[full]} and {path} describe it"
        else:
            self._conflicts.pop(full, None)
        here[full] = path
        self._devices[full] = (content, entry)


def _read(path: str) -> dict[str, Any]:
    """The content of one file; ValueError says what is wrong with it."""
    with open(path, "rb") as file:
        text = file.read()
    if path.endswith(".json"):
        content = json.loads(text)
    else:
        import yaml

        try:
            content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from None
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    version = str(content.get("cdiVersion") or "")
    if version.split(".")[0] not in ("0", "1"):
        raise ValueError(f"cdiVersion {version!r} is not known")
    kind, devices = content.get("kind"), content.get("devices")
    if not isinstance(kind, str) or "/" not in kind:
        raise ValueError("kind is not vendor/class")
    if not isinstance(devices, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in devices
    ):
        raise ValueError("devices is not a list of devices with names")
    return content


def _add(found: Edits, edits: Mapping[str, Any], name: str) -> None:
    """Add one set of containerEdits."""
    try:
        for node in edits.get("deviceNodes") or ():
            _add_node(found, node)
        for mount in edits.get("mounts") or ():
            found.mounts.append(_mount(mount))
        for hook in edits.get("hooks") or ():
            _add_hook(found, hook)
        found.env.extend(str(entry) for entry in edits.get("env") or ())
        found.groups.extend(int(group) for group in edits.get("additionalGids") or () if int(group) > 0)
        for key in ("intelRdt", "netDevices"):
            if edits.get(key):
                raise ValueError(f"{key} cannot be given")
    except OSError as error:
        raise ContainerError(f"device {name}: {error.filename}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ContainerError(f"device {name}: its description is wrong: {problem}") from None


def _add_node(found: Edits, node: Mapping[str, Any]) -> None:
    """A device node; what the file does not say is taken from the host's node."""
    path = str(node["path"])
    kind, major, minor = str(node.get("type") or ""), node.get("major"), node.get("minor")
    source = ""
    if not kind or (kind != "p" and not major):
        source = str(node.get("hostPath") or path)
        host = os.stat(source)
        real = _KINDS.get(stat.S_IFMT(host.st_mode))
        if real is None or (kind and {"u": "c"}.get(kind, kind) != real):
            raise ValueError(f"{source} is not such a device")
        kind, major, minor = real, os.major(host.st_rdev), os.minor(host.st_rdev)
    entry: dict[str, Any] = {"path": path, "type": kind, "major": int(major or 0), "minor": int(minor or 0)}
    if source and kind != "p":
        entry["source"] = source
    for key in ("fileMode", "uid", "gid"):
        if node.get(key) is not None:  # YAML 1.1 takes 0o640 for text
            entry[key] = int(str(node[key]), 0)
    found.nodes.append(entry)
    if kind != "p":
        found.rules.append(device_rule(entry, str(node.get("permissions") or "rwm")))


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    """A mount; those without a type and "bind" are bind mounts all the same."""
    source, target = str(mount["hostPath"]), str(mount["containerPath"])
    options = [str(option) for option in mount.get("options") or ()]
    kind = str(mount.get("type") or "")
    if kind in ("", "none", "bind"):
        os.stat(source)
        if not {"bind", "rbind"} & set(options):
            options = [*bind(source, target)["options"], *options]
        kind = "bind"
    return {"destination": target, "type": kind, "source": source, "options": options}


def _add_hook(found: Edits, hook: Mapping[str, Any]) -> None:
    name, path = str(hook["hookName"]), str(hook["path"])
    if name not in HOOKS:
        raise ValueError(f"there is no hook {name}, only {', '.join(HOOKS)}")
    if name != "startContainer":  # which is in the container
        os.stat(path)
    entry: dict[str, Any] = {"path": path, "args": [str(word) for word in hook.get("args") or (path,)]}
    entry["env"] = [str(word) for word in hook.get("env") or ()]
    if hook.get("timeout"):
        entry["timeout"] = int(hook["timeout"])
    found.hooks.setdefault(name, []).append(entry)
