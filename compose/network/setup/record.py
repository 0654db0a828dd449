"""What we have changed on the host for uplinks, in DATA/uplink.json:

    {"boot_id": ..., "host": identity of the host's network namespace,
     "projects": {NAME: {"interface", "host", "inside", "prefix", "chains"}},
     "former": {"net/ipv4/conf/eth0/forwarding": "0"}}

A record of another boot or namespace says nothing about this one. The caller holds the lock of network
set-up, so that nobody else reads or writes the record meanwhile.

Somebody with another run directory has a record and a lock of his own, but the same host. So each shows his
own in RUN/former.json too (which is also what is read where DATA/uplink.json is damaged), and is found by the
aliases of his uplinks. Who finds a setting changed that another has changed takes the former value over, and
who goes leaves it as it is as long as another needs it.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from compose.errors import NetworkError
from compose.linux.beneath import remove_path
from compose.network import labels
from compose.network.kernel import links
from compose.network.kernel.netlink import ROUTE, Netlink
from compose.network.setup.namespaces import Namespaces, get_sysctl, set_sysctl
from compose.state.files import read_json, readable, replace_or_overwrite

_SHOWN = "former.json"


class Record:
    """DATA/uplink.json and its copy, RUN/former.json; `save` before the change that it describes."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._path = f"{namespaces.paths.data}/uplink.json"
        self._run = namespaces.paths.run
        with open("/proc/sys/kernel/random/boot_id") as file:
            self._valid = {"boot_id": file.read().strip(), "host": namespaces.host_identity}
        self.content: dict[str, Any] = {**self._valid, "projects": {}, "former": {}}
        for path in (self._path, f"{self._run}/{_SHOWN}"):
            try:
                found = read_json(path)
                if self._is_valid(found):
                    projects, former = dict(found["projects"]), dict(found["former"])
                    self.content |= {"projects": projects, "former": former}
                return
            except FileNotFoundError:
                return
            except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue  # damaged: the other one says the same

    def _is_valid(self, found: dict[str, Any]) -> bool:
        return all(found[key] == value for key, value in self._valid.items())

    @property
    def projects(self) -> dict[str, dict[str, Any]]:
        return self.content["projects"]  # type: ignore[no-any-return]

    @property
    def former(self) -> dict[str, str]:
        return self.content["former"]  # type: ignore[no-any-return]

    def remove_remains(self) -> None:
        """Remove what was being written when a process was killed; under the lock nobody else writes."""
        directory, name = os.path.split(self._path)
        for entry in os.listdir(directory):
            if entry.startswith(f"{name}.") and entry.endswith(".tmp"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{directory}/{entry}")

    def change(self, setting: str) -> None:
        """Set one of the host's settings to 1, its former value being written down before."""
        former = get_sysctl(setting)
        if former == "1" and setting not in self.former:
            former = self._former_of_others().get(setting, "1")
        if former is None or former == "1":
            return
        self.former.setdefault(setting, former)
        self.save()
        set_sysctl(setting, "1")

    def save(self) -> None:
        """Write it, or remove it when it says nothing."""
        self.remove_remains()
        if self.projects or self.former:
            # not synced: a power cut takes away all that it tells about
            for path in (self._path, f"{self._run}/{_SHOWN}"):
                _make_way(path)
                replace_or_overwrite(path, readable(self.content))
        else:
            remove_path(self._path)
            remove_path(f"{self._run}/{_SHOWN}")

    def restore(self) -> list[str]:
        """Put former values back but what somebody else needs or has changed after us; returns failures."""
        problems = []
        needed = self._former_of_others() if self.former else {}
        for setting, value in list(self.former.items()):
            try:
                if setting not in needed and get_sysctl(setting) == "1":
                    set_sysctl(setting, value)
            except NetworkError as error:
                problems.append(str(error))
            else:
                del self.former[setting]
        return problems

    def _former_of_others(self) -> dict[str, str]:
        """What those with other run directories, whose uplinks are up, have found before they changed it."""
        own = {entry.get("interface") for entry in self.projects.values()}
        if not any(name.startswith(labels.UPLINK_PREFIX) and name not in own for name in links.names()):
            return {}
        with Netlink(ROUTE) as netlink:
            found = [
                link.alias for link in links.links(netlink) if link.name.startswith(labels.UPLINK_PREFIX)
            ]
        runs = {alias.split(" ", 3)[3] for alias in found if alias.count(" ") >= 3} - {self._run}
        former: dict[str, str] = {}
        for run in sorted(runs):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
                shown = read_json(f"{run}/{_SHOWN}")
                if self._is_valid(shown):
                    former |= shown["former"]
        return former


def _make_way(path: str) -> None:
    """Remove a directory that lies in a record's place."""
    if os.path.isdir(path):
        remove_path(path)
