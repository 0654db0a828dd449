"""What a child does on its way to being process 1 of a container, from its fork to its program.

    on the host        control group, sources of mounts, then the namespaces
    before the pivot   layers, overlay, mounts, devices, masks; all relative to descriptors
    pivot_root
    `hardening.become` descriptors, working directory, user, capabilities, seccomp, execve

It says where it is by numbers over a socket that execve closes (steps.py). From the first mount on the files
are the container's, so that nothing is imported, looked up by the C library or printed: whatever needs that
is found out by its parent, before the fork.
"""

from __future__ import annotations

import os

from compose.linux import mount as m
from compose.linux.beneath import openat2
from compose.linux.files import PROC_SUPER_MAGIC, file_system_type
from compose.linux.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    setns,
    unshare,
)
from compose.linux.network import bring_loopback_up
from compose.linux.process import (
    PR_SET_DUMPABLE,
    prctl,
    setdomainname,
    sethostname,
)
from compose.linux.terminal import open_peer
from compose.runtime import oom
from compose.runtime.container import modules, rootfs, steps, users
from compose.runtime.container.hardening import Program, become, join_keyring
from compose.runtime.container.mounts import attach, devices, images, masks, sources
from compose.runtime.container.steps import Failure, LaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

    from compose.linux.cradle import Cradle
    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.container.child import Stdio
    from compose.runtime.container.gate import Gate
    from compose.runtime.container.hooks import Hooks
    from compose.runtime.container.steps import Progress
    from compose.runtime.spec import ContainerSpec

NAMESPACES = {
    "mount": CLONE_NEWNS,
    "uts": CLONE_NEWUTS,
    "ipc": CLONE_NEWIPC,
    "network": CLONE_NEWNET,
    "pid": CLONE_NEWPID,
    "cgroup": CLONE_NEWCGROUP,
    "user": CLONE_NEWUSER,
    "time": CLONE_NEWTIME,
}

_BENEATH = 0x01 | 0x02 | 0x04 | 0x08  # NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS | BENEATH


class Setup:
    """Everything that one launch needs, computed in the parent; `run` is the child's part."""

    def __init__(
        self,
        spec: ContainerSpec,
        stdio: Stdio,
        cgroup: Cgroup,
        shared: Mapping[str, int],
        files: Mapping[int, Sequence[int]],
    ) -> None:
        oci = spec["oci"]
        linux = oci.get("linux") or {}
        self.spec = spec
        self.oci = oci
        self.stdio = stdio
        self.cgroup = cgroup
        self.files = files
        self.floors = {index: chain[0] for index, chain in files.items() if len(chain) > 1}
        self.mounts: list[dict[str, Any]] = oci.get("mounts") or []
        self.sysctls: dict[str, str] = linux.get("sysctl") or {}
        self.devices: list[dict[str, Any]] = linux.get("devices") or []
        self.masked: list[str] = linux.get("maskedPaths") or []
        self.read_only: list[str] = linux.get("readonlyPaths") or []
        self.namespaces = _namespaces(spec)
        self.flags = _own(self.namespaces)
        self.shared_shm = shared.get("shm", -1)
        self.shared_proc = shared.get("proc", -1)
        self.cradle: Cradle | None = None
        """With it the child is born last of all into the pid namespace of another container."""
        self.joined: list[tuple[str, int]] = []
        self.process = oci["process"]
        self.program = Program(self.process, spec.get("seccomp") or "")
        self.gate: Gate | None = None
        self.hooks: Hooks | None = None
        if oci.get("hooks"):
            from compose.runtime.container.hooks import Hooks

            self.hooks = Hooks(spec, stdio.stderr)
        self.items = self._items()
        if spec.get("init"):
            from compose.runtime.container import init

            self.program.init = init.open_program()
        self._open_namespaces(shared)

    def _items(self) -> dict[int, Sequence[str]]:
        destinations = [mount["destination"] for mount in self.mounts]
        root = self.spec.get("rootfs")
        return {
            **self.program.items(),
            steps.LAYER: rootfs.layer_paths(root) if root else (),
            steps.MOUNT_SOURCE: [sources.source_path(mount) for mount in self.mounts],
            steps.MOUNT: destinations,
            steps.MOUNT_TARGET: destinations,
            steps.DEVICE: [device["path"] for device in self.devices],
            steps.MASK: self.masked,
            steps.READ_ONLY: self.read_only,
            steps.SYSCTL: list(self.sysctls),
            steps.UNSAFE_ROOT: [f"/{name}" for name in rootfs.RESERVED],
            steps.NAMESPACE: list(NAMESPACES),
            steps.HOOK: self.hooks.paths() if self.hooks is not None else (),
            steps.HOSTNAME: [self.oci.get("hostname") or "", self.oci.get("domainname") or ""],
        }

    def _open_namespaces(self, shared: Mapping[str, int]) -> None:
        for kind in self.spec.get("shared") or ():
            if kind != "network":  # its path is among the others
                self.joined.append((kind, os.dup(shared[kind])))
        for kind, path in self.namespaces.items():
            if path:
                try:
                    self.joined.append((kind, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
                except OSError as error:
                    self.close()
                    number = error.errno or 0
                    text = steps.words(steps.NAMESPACE, number, 0, f"{kind} ({path})")
                    raise LaunchError(steps.NAMESPACE, number, text) from None

    def close(self) -> None:
        """Close what the parent opened for the child."""
        for _, descriptor in self.joined:
            os.close(descriptor)
        self.joined = []
        if self.program.init >= 0:
            os.close(self.program.init)
            self.program.init = -1

    def may_go_on(self) -> bool:
        """Whether everything can be made from outside of the pid namespace that the container shares."""
        simple = self.hooks is None and self.gate is None and self.shared_proc >= 0
        return simple and self.program.may_go_on()

    def pid_namespace(self) -> tuple[bool, int | None]:
        """Whether the container gets its own pid namespace, and a descriptor of the one it joins instead."""
        for kind, descriptor in self.joined:
            if kind == "pid":
                return False, descriptor
        return "pid" in self.namespaces, None

    # From here on: in the child

    def run(self, progress: Progress) -> NoReturn:
        """The child's whole way to execve."""
        prctl(PR_SET_DUMPABLE, 0)
        if self.cradle is None:
            os.setsid()
        os.umask(0)  # nodes and directories get the modes that we say; 0022 before exec
        self._confine(progress)
        trees = self._open_trees(progress)
        null = masks.open_null()
        if self.hooks is not None:
            self.hooks.prepare()
        self._enter_namespaces(progress)
        trees.update(images.open_images(self.mounts, progress))
        root = self._make_root(progress)
        groups = self.cgroup.open_mounts() if any(e.get("type") == "cgroup" for e in self.mounts) else None
        attach.attach_all(root, self.mounts, trees, groups, progress, self.floors)
        devices.make_devices(root, self.devices, progress)
        if self.hooks is not None:
            self.hooks.run(progress)
        terminal = self._terminal(root, progress)
        self._write_proc(root, progress)
        masks.make_read_only(root, self.read_only, progress)
        masks.Masks(null).cover(root, self.masked, progress)
        progress.at(steps.USER)
        identity = users.resolve(self.process.get("user") or {}, root)
        self._make_working_directory(root, progress)
        self._enter_root(root, progress)
        become(
            self.program,
            identity,
            (self.stdio.stdin, self.stdio.stdout, self.stdio.stderr) if terminal is None else (terminal,) * 3,
            progress,
            terminal=terminal is not None,
            gate=self.gate,
            hooks=self.hooks,
            cradle=self.cradle,
        )

    def _confine(self, progress: Progress) -> None:
        """What is written to /proc and to control groups, while those that we see are the host's."""
        progress.at(steps.CONFINE)
        modules.confine(self.process)
        progress.at(steps.CGROUP)
        self.cgroup.join()
        if self.program.oom_score is not None:
            progress.at(steps.OOM_SCORE)
            oom.write(self.program.oom_score)

    def _open_trees(self, progress: Progress) -> dict[int, int]:
        """Sources by the number of their mount; in the namespaces of our own it would be too late."""
        trees = sources.open_sources(self.mounts, self.files, progress)
        if self.shared_shm >= 0:
            trees.update(sources.open_shared(self.mounts, self.shared_shm, progress))
        if self.cradle is not None:
            foreign = self.pid_namespace()[1]
            assert foreign is not None
            trees.update(sources.open_proc(self.mounts, self.shared_proc, foreign, progress))
        return trees

    def _enter_namespaces(self, progress: Progress) -> None:
        order = list(NAMESPACES)
        for kind, descriptor in self.joined:
            progress.at(steps.NAMESPACE, order.index(kind))
            if kind != "pid" or self.cradle is not None:
                setns(descriptor, NAMESPACES[kind])
        progress.at(steps.NAMESPACE)
        unshare(self.flags | CLONE_NEWNS)
        if self.flags & CLONE_NEWNET:
            bring_loopback_up()
        m.mount(None, "/", None, m.MS_REC | m.MS_SLAVE)
        if not self.process.get("callersKeyring"):
            join_keyring(f"_ses.{self.spec['id']}", progress)
        progress.at(steps.HOSTNAME, 0)
        if self.oci.get("hostname"):
            sethostname(self.oci["hostname"])
        progress.at(steps.HOSTNAME, 1)
        if self.oci.get("domainname"):
            setdomainname(self.oci["domainname"])

    def _make_root(self, progress: Progress) -> int:
        plain = (self.oci.get("root") or {}).get("path") or ""
        root = rootfs.make_root(self.spec.get("rootfs"), plain, progress)
        rootfs.check_reserved(root)
        return root

    def _enter_root(self, root: int, progress: Progress) -> None:
        """Last of all, when nothing has to be made in it any more."""
        if (self.oci.get("root") or {}).get("readonly"):
            progress.at(steps.ROOT)
            m.mount_setattr(root, "", flags=m.AT_EMPTY_PATH, attr_set=m.MOUNT_ATTR_RDONLY)
        rootfs.change_root(root, progress, steps.PIVOT)

    def _terminal(self, root: int, progress: Progress) -> int | None:
        """A terminal of the container's devpts, also as /dev/console; its master goes to the parent."""
        if not self.process.get("terminal"):
            return None
        progress.at(steps.TERMINAL)
        master = rootfs.open_plain(root, "dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        slave = open_peer(master)
        self.program.resize(slave)
        progress.at(steps.CONSOLE)
        target = rootfs.open_target(root, "/dev/console", directory=False)
        console = m.clone_tree(slave)
        m.move_mount(console, target)
        progress.give(master)
        for descriptor in (target, console, master):
            os.close(descriptor)
        return slave

    def _write_proc(self, root: int, progress: Progress) -> None:
        """Sysctls, beneath the procfs that we mounted ourselves and nowhere else."""
        if not self.sysctls:
            return
        progress.at(steps.SYSCTL)
        proc = openat2(root, "proc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        if file_system_type(proc) != PROC_SUPER_MAGIC:  # the configuration mounts something else there
            raise Failure(steps.SYSCTL, steps.NOT_PROC)
        for index, (key, value) in enumerate(self.sysctls.items()):
            progress.at(steps.SYSCTL, index)
            _write_beneath(proc, f"sys/{key.replace('.', '/')}", value)
        os.close(proc)

    def _make_working_directory(self, root: int, progress: Progress) -> None:
        progress.at(steps.WORKING_DIRECTORY)
        path = self.process.get("cwd") or "/"
        if not path.startswith("/"):
            raise Failure(steps.WORKING_DIRECTORY, steps.OUTSIDE)
        os.close(rootfs.open_target(root, path, directory=True))


def _namespaces(spec: ContainerSpec) -> dict[str, str]:
    """The path of each namespace that the configuration lists; "" for one of the container's own."""
    listed = (spec["oci"].get("linux") or {}).get("namespaces") or ()
    found = {entry["type"]: entry.get("path") or "" for entry in listed}
    if spec.get("network_namespace"):
        found["network"] = spec["network_namespace"]
    return found


def _own(namespaces: Mapping[str, str]) -> int:
    """Flags of those that the child makes for itself; that of process ids is made before its fork."""
    flags = 0
    for kind, path in namespaces.items():
        if not path and kind not in ("pid", "user"):
            flags |= NAMESPACES[kind]
    return flags


def _write_beneath(directory: int, path: str, value: str) -> None:
    descriptor = openat2(directory, path, os.O_WRONLY, resolve=_BENEATH)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
