"""What a test left on the machine, each thing by name.

`Machine.watch()` looks before and after: processes, mounts, interfaces, control groups, firewall objects,
descriptors of the test run itself, listening sockets that nobody holds, kernel settings, and files below the
run-time and data directories. Only what can be ours counts, because other people work on the same machine:

* processes are found below the test run, which inherits every orphan (processes.py);
* mounts, sockets and files are those below the directories that the test run made;
* interfaces are those with our prefix, unless the namespace at their other end is someone else's, or their
  alias names a run-time directory that is;
* control groups, and systemd's scopes, are those of our name, unless the project's name has the checksum of
  a run-time directory that is not ours, or a process that is not ours was seen in it;
* firewall objects are those in a table of our name, and rules about an interface of ours.

The kernel takes down namespaces and links a little after their last user is gone. So a difference is given
some seconds to go away, waiting for the kernel's own notice of each kind, not for time to pass.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from compose.state.paths import Paths
from tests.support import netlink, processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Set

NAME = "pycompose"
UNITS = "/run/systemd/transient"
"""The units that programs have asked systemd for, where it runs."""
INTERFACE_PREFIX = "pc-"
PATIENCE = 60.0
"""Seconds that the kernel gets to finish what it does behind our back."""

MNT_DETACH = 2
IN_DELETE, IN_MOVED_FROM, IN_CLOEXEC = 0x200, 0x40, 0x80000
SETTINGS = ("forwarding", "rp_filter", "route_localnet", "proxy_arp", "accept_local", "src_valid_mark")


class Thing(NamedTuple):
    """Something that exists; two looks at it are equal."""

    kind: str
    key: str


Found = dict[Thing, str]
"""Things, each with the line that names it."""


def mounts() -> dict[str, str]:
    """Mount points of this namespace, by mount id; the whole line names the mount."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return {line.split(" ", 1)[0]: line.rstrip("\n") for line in file}


def cgroup_roots() -> list[str]:
    """The mount point of each control group hierarchy, of either version; those in others' root file systems
    come and go."""
    found = []
    for line in mounts().values():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4]
        if after.split(" ", 1)[0] in ("cgroup", "cgroup2") and point.startswith("/sys/fs/cgroup"):
            found.append(point)
    return found


def _is_made_for_a_container(group: str) -> bool:
    """Whether a control group bears our mark: it was made because a container wanted to lie below it."""
    with contextlib.suppress(OSError):
        return any(name.endswith(f".{NAME}") for name in os.listxattr(group))
    return False


class Machine:
    """The machine as far as a test run with these directories can change it."""

    def __init__(self, directories: Iterable[str]) -> None:
        self.directories = tuple(os.path.realpath(path) for path in directories)
        self.patience = PATIENCE
        self._own_descriptors: set[str] = set()
        self._foreign_groups: set[str] = set()
        self._checksums: set[str] = set()

    def look(self, *, also_foreign: bool = False) -> Found:
        """Everything of ours that exists now; `also_foreign`: and what would be ours without its users."""
        known = processes.everything()
        below = processes.descendants(known)
        found = {Thing("process", f"{one.pid} {one.start_time}"): text for one, text in below.items()}
        ours = {one.pid for one in below} | {os.getpid()}
        table = mounts()
        for identity, line in table.items():
            if any(directory in line for directory in self.directories):
                found[Thing("mount", identity)] = f"mount {line}"
        foreign = known.keys() - ours
        found |= self._network(() if also_foreign else foreign, table)
        found |= self._cgroups(foreign, also_foreign=also_foreign)
        found |= self._units(also_foreign=also_foreign)
        found |= self._descriptors()
        found |= self._files()
        found |= _unheld_listeners(known)
        return found | _settings()

    def _network(self, foreign: Iterable[int], table: dict[str, str]) -> Found:
        """Interfaces and firewall objects."""
        links = [one for one in netlink.links() if one.name.startswith(INTERFACE_PREFIX) or NAME in one.alias]
        numbers = self._foreign_namespaces(foreign, table) if links else set()
        theirs = {
            link.name for link in links if link.peer_namespace in numbers or self._elsewhere(link.alias)
        }
        found = {
            Thing("interface", f"{link.name} {link.number}"): f"interface {link.name} ({link.alias})"
            for link in links
            if link.name not in theirs
        }
        for one in netlink.firewall(INTERFACE_PREFIX.encode()):
            named = {name for name in (*one.interfaces, one.table) if name.startswith(INTERFACE_PREFIX)}
            if named - theirs - {INTERFACE_PREFIX} or NAME in one.table:
                text = f"firewall {one.kind} {one.table} {one.chain} handle {one.handle} {one.interfaces}"
                found[Thing("firewall", text)] = text
        return found

    def _elsewhere(self, alias: str) -> bool:
        """Whether an alias names a run-time directory, and not one of this test run."""
        return "/" in alias and not any(directory in alias for directory in self.directories)

    def _foreign_namespaces(self, foreign: Iterable[int], table: dict[str, str]) -> set[int]:
        """The numbers of network namespaces that are pinned or used by somebody else."""
        paths = [f"/proc/{pid}/ns/net" for pid in foreign]
        for line in table.values():
            if " - nsfs " in line and not any(directory in line for directory in self.directories):
                paths.append(line.split(" ")[4])
        by_inode = {}
        for path in paths:
            with contextlib.suppress(OSError):
                by_inode[os.stat(path).st_ino] = path
        found = set()
        for path in by_inode.values():
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    found.add(netlink.namespace_number(descriptor))
                finally:
                    os.close(descriptor)
        return found - {-1}

    def _cgroups(self, foreign: Set[int], *, also_foreign: bool) -> Found:
        found: dict[Thing, str] = {}
        projects: dict[Thing, str] = {}
        for home in itertools.chain(*map(_subdirectories, self.directories)):
            self._checksums.add(Paths("", home).host_name("x").rpartition(".")[2])
        for root in cgroup_roots():
            for directory, _, files in os.walk(root):
                parts = os.path.relpath(directory, root).split("/")
                below = [number for number, part in enumerate(parts) if part.startswith(NAME)]
                if not below and _is_made_for_a_container(directory):  # cgroup_parent
                    found[Thing("cgroup", directory)] = f"control group {directory}"
                    projects[Thing("cgroup", directory)] = directory
                if not below or "cgroup.procs" not in files:
                    continue
                top, project = parts[below[0]], "/".join(parts[below[0] :][:2])
                members = _members(directory)
                if members & foreign or not self._own(project):
                    self._foreign_groups |= {top, project}
                thing = Thing("cgroup", directory)
                found[thing] = f"control group {directory} {sorted(members)}"
                projects[thing] = project
        return {
            thing: text
            for thing, text in found.items()
            if also_foreign or projects[thing] not in self._foreign_groups
        }

    def _units(self, *, also_foreign: bool) -> Found:
        """Scopes that systemd still has."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(UNITS):
                own = also_foreign or self._own(name.removesuffix(".scope"))
                if own and name.startswith(NAME) and name.endswith(".scope"):
                    found[Thing("unit", f"{UNITS}/{name}")] = f"unit {name}"
        return found

    def _own(self, group: str) -> bool:
        """Whether the group of a project can be ours: its name ends with the checksum of a run directory."""
        found = re.fullmatch(r".*\.([0-9a-f]{8})", group)
        return found is None or found[1] in self._checksums

    def _descriptors(self) -> Found:
        """What the test run itself holds: sockets, namespaces, processes, files of ours."""
        found = {}
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink(f"/proc/self/fd/{name}")
                kinds = ("socket:", "net:", "mnt:", "pid:", "user:", "anon_inode:[pidfd]", *self.directories)
                if target.startswith(kinds) and name not in self._own_descriptors:
                    found[Thing("descriptor", f"{name} {target}")] = f"open descriptor {name}: {target}"
        return found

    def _files(self) -> Found:
        """What lies in our directories: not the directories themselves, locks, images and caches."""
        found = {}
        for directory in self.directories:
            for home in _subdirectories(directory):
                for part in ("containers", "volumes", "projects", "networks", "netns"):
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        for name in os.listdir(f"{home}/{part}"):
                            found[Thing("file", f"{home}/{part}/{name}")] = f"file {home}/{part}/{name}"
                if os.path.lexists(f"{home}/uplink.json"):
                    found[Thing("file", f"{home}/uplink.json")] = f"file {home}/uplink.json"
        return found

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Fail when anything is there at the end that was not there at the beginning; then remove it."""
        before = self.look(
            also_foreign=True
        )  # somebody else's may look like ours once its last process ended
        yield
        left = self.wait_for(before)
        if left:
            self.remove(left, before)
            raise AssertionError("left behind:\n  " + "\n  ".join(sorted(left.values())))

    def wait_for(self, before: Found) -> Found:
        """What is there beyond `before`, after the kernel has had its time to finish."""
        deadline = time.monotonic() + self.patience
        with Notices() as notices:
            try:
                return self._wait(before, notices, deadline)
            finally:
                self._own_descriptors = set()

    def _wait(self, before: Found, notices: Notices, deadline: float) -> Found:
        while True:
            self._own_descriptors = notices.descriptors()
            processes.reap()
            left = {thing: text for thing, text in self.look().items() if thing not in before}
            if not left:
                return {}
            if any(thing.kind == "descriptor" for thing in left):
                gc.collect()
            if notices.add(left):
                continue  # something may have gone before its notice was asked for
            if time.monotonic() >= deadline:
                return left
            notices.wait(deadline - time.monotonic())

    def remove(self, left: Found, before: Found) -> None:
        """Take away what can be taken away, so that the next test starts clean."""
        for thing in left:
            if thing.kind == "process":
                pid, start_time = map(int, thing.key.split())
                known = processes.stat(pid)
                if known is not None and known.start_time == start_time:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        self.patience = PATIENCE
        self.wait_for(before | {thing: text for thing, text in left.items() if thing.kind != "process"})
        for thing in sorted(left, key=lambda thing: len(thing.key), reverse=True):
            if thing.kind == "cgroup":
                with contextlib.suppress(OSError):
                    os.rmdir(thing.key)
            elif thing.kind == "unit" and shutil.which("systemctl"):
                subprocess.run(["systemctl", "stop", os.path.basename(thing.key)], check=False)
        for directory in self.directories:
            detach_below(directory)
        for thing in left:
            if thing.kind == "file":
                shutil.rmtree(thing.key, ignore_errors=True)


class Notices:
    """Everything that becomes ready when a thing that is left goes away."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._sockets = netlink.events()
        self._mounts = open("/proc/self/mountinfo", "rb")  # noqa: SIM115 (closed by __exit__)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(IN_CLOEXEC | os.O_NONBLOCK)
        self._pidfds: dict[str, int] = {}
        self._watched: set[str] = set()

    def __enter__(self) -> Notices:
        for one in self._sockets:
            self._poll.register(one.fileno(), select.POLLIN)
        self._poll.register(self._mounts.fileno(), select.POLLPRI)
        self._poll.register(self._inotify, select.POLLIN)
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            one.close()
        self._mounts.close()
        os.close(self._inotify)
        for descriptor in self._pidfds.values():
            os.close(descriptor)

    def descriptors(self) -> set[str]:
        """The descriptors of this object, as /proc/self/fd names them."""
        return {str(number) for number in (*(one.fileno() for one in self._sockets), *self._pidfds.values())}

    def add(self, left: Found) -> bool:
        """Ask for notice of the end of each thing; true when one is new."""
        new = False
        for thing in left:
            if thing.kind == "process" and thing.key not in self._pidfds:
                new = True
                with contextlib.suppress(ProcessLookupError):
                    self._pidfds[thing.key] = os.pidfd_open(int(thing.key.split()[0]))
                    self._poll.register(self._pidfds[thing.key], select.POLLIN)
            elif thing.kind in ("file", "cgroup", "unit") and os.path.dirname(thing.key) not in self._watched:
                new = True
                parent = os.path.dirname(thing.key)
                self._watched.add(parent)
                self._libc.inotify_add_watch(self._inotify, os.fsencode(parent), IN_DELETE | IN_MOVED_FROM)
        return new

    def wait(self, seconds: float) -> None:
        """Return at the next notice, or when the time is over."""
        for descriptor, _ in self._poll.poll(max(0.0, seconds) * 1000):
            if descriptor == self._inotify:
                os.read(descriptor, 1 << 16)
            for one in self._sockets:
                if descriptor == one.fileno():
                    with contextlib.suppress(OSError):  # ENOBUFS too says that something happened
                        one.recv(1 << 20)
            for key, pidfd in list(self._pidfds.items()):
                if descriptor == pidfd:
                    self._poll.unregister(pidfd)
                    os.close(self._pidfds.pop(key))


def detach_below(directory: str) -> None:
    """Unmount everything at or below a directory, the deepest first."""
    libc = ctypes.CDLL(None, use_errno=True)
    points = [line.split(" ")[4] for line in mounts().values()]
    for point in sorted(points, key=len, reverse=True):
        if point == directory or point.startswith(f"{directory}/"):
            libc.umount2(os.fsencode(point.encode().decode("unicode_escape")), MNT_DETACH)


def _subdirectories(directory: str) -> list[str]:
    """The directories directly below, and the directory itself."""
    with contextlib.suppress(FileNotFoundError):
        entries = [entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
        return [directory, *entries]
    return []


def _members(cgroup: str) -> set[int]:
    """Process ids in a control group; 0 stands for one of another namespace."""
    try:
        with open(f"{cgroup}/cgroup.procs", encoding="ascii") as file:
            return {int(line) for line in file}
    except OSError:
        return set()


def _unheld_listeners(known: Iterable[int]) -> Found:
    """Listening sockets that no process holds: descriptors lost on their way between processes."""
    listeners = {}
    for name, listening in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/self/net/{name}", encoding="ascii") as file:
            for fields in map(str.split, list(file)[1:]):
                if fields[3] == listening and fields[9] != "0":
                    port = struct.unpack(">H", bytes.fromhex(fields[1].rpartition(":")[2]))[0]
                    listeners[f"socket:[{fields[9]}]"] = f"{name} port {port}, held by no process"
    for pid in known:
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    listeners.pop(os.readlink(f"/proc/{pid}/fd/{descriptor}"), None)
    return {Thing("listener", inode): text for inode, text in listeners.items()}


def _settings() -> Found:
    """Kernel settings of the network that an uplink may have changed, each with its value."""
    found = {}
    paths = ["/proc/sys/net/ipv4/ip_forward"]
    for family in ("ipv4", "ipv6"):
        base = f"/proc/sys/net/{family}/conf"
        with contextlib.suppress(FileNotFoundError):
            names = [name for name in os.listdir(base) if _lasting(name)]
            paths += [f"{base}/{name}/{key}" for name in names for key in SETTINGS]
    for path in paths:
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            value = file.read().strip()
            found[Thing("setting", f"{path} {value}")] = f"setting {path} is {value}"
    return found


def _lasting(interface: str) -> bool:
    """Whether an interface belongs to the host rather than to some container."""
    return not interface.startswith((INTERFACE_PREFIX, "veth", "br-", "docker"))
