"""Process 1 of a container: from a spec to execve.

    launch(spec, stdio, cgroup)       called by the container's single-threaded monitor
      parent   unshare(CLONE_NEWPID), so that every later fork of the monitor is born in the container
      child    on the host: control group, bind sources, layers, namespaces
               before the pivot: overlay, mounts, devices, masks; all relative to descriptors
               pivot_root
               `hardening.become`: descriptors, working directory, user, capabilities, seccomp, execve

The child reports numbers over a socket that execve closes (steps.py); nothing is imported, looked up by the C
library or printed in it. What it needs is computed before the fork.
"""

from __future__ import annotations

import _socket
import os

from compose.linux import mount as m
from compose.linux import signals
from compose.linux.beneath import openat2
from compose.linux.cradle import Cradle
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
    reset_pid_namespace,
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
from compose.linux.vfork import forking
from compose.runtime import oom
from compose.runtime.container import birth as births
from compose.runtime.container import modules, rootfs, steps, users
from compose.runtime.container.hardening import Program, become, join_keyring
from compose.runtime.container.mounts import attach, devices, images, masks, sources
from compose.runtime.container.steps import RECORD, Failure, LaunchError, Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.container.gate import Gate
    from compose.runtime.container.hooks import Hooks
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

_MOST_RECORDS = 100
"""More than any child has to say; one that others have in their hands may not stop."""

_BENEATH = 0x01 | 0x02 | 0x04 | 0x08  # NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS | BENEATH


class Stdio:
    """The descriptors that become 0, 1 and 2; not used when the process has a terminal."""

    __slots__ = ("stderr", "stdin", "stdout")

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


class Launched:
    """A process that runs in its container.

    `pid` as the caller sees it, `pidfd`, `master` (the terminal's side to keep, None without a terminal) and
    `warnings`, one line each. Both descriptors belong to the caller.
    """

    __slots__ = ("master", "pid", "pidfd", "warnings")

    def __init__(self, pid: int, pidfd: int, master: int | None, warnings: list[str]) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.master = master
        self.warnings = warnings


def launch(
    spec: ContainerSpec,
    stdio: Stdio,
    cgroup: Cgroup,
    joined: Mapping[str, int] | None = None,
    files: Mapping[int, Sequence[int]] | None = None,
    gate: Gate | None = None,
    birth: births.Birth | None = None,
) -> Launched:
    """Start process 1 of the container; returns when it has called execve, or waits at its `gate`.

    `joined` holds the namespaces of other containers (`sharing.open_all`), `files` the sources of mounts that
    are open already (`Follower.open`). Afterwards the calling thread's children are born in the container's
    pid namespace, if it has one of its own. Those who are in the pid namespace of another container can hold
    it up there, so that only somebody who has its `birth` ends the waiting. Raises LaunchError (a
    ContainerError) with the step in words.
    """
    setup = Setup(spec, stdio, cgroup, joined or {}, files or {})
    if gate is not None:
        setup.gate = gate
    terminal = bool(setup.process.get("terminal"))
    try:
        own, foreign = setup.pid_namespace()
        if foreign is not None or own:
            reset_pid_namespace()  # a restart needs a second unshare
        if foreign is not None and setup.may_go_on():
            setup.cradle = Cradle()
            try:
                return fork_and_wait(setup.run, setup.items, birth, cradle=setup.cradle, terminal=terminal)
            except LaunchError as error:
                if error.number != steps.NO_PROC and not setup.program.may_be_born_first(error):
                    raise
            setup.cradle = None
        if foreign is not None:
            setns(foreign, CLONE_NEWPID)
        elif own:
            unshare(CLONE_NEWPID)
        return fork_and_wait(setup.run, setup.items, birth, terminal=terminal)
    finally:
        setup.close()


def fork_and_wait(
    child: Callable[[Progress], NoReturn],
    items: dict[int, Sequence[str]],
    birth: births.Birth | None = None,
    *,
    cradle: Cradle | None = None,
    terminal: bool = False,
) -> Launched:
    """Fork, run `child`, and wait until it has exec'd or failed; `items` are the names for messages.

    With a `cradle` the child goes on in it as another process, which is the one that is launched. With
    `terminal` it sends a descriptor.
    """
    with forking:  # until the child's socket is closed here: another thread's child would keep it open
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        mask = signals.block_all()
        try:
            pid = os.fork()
            if pid == 0:
                _run_child(child, Progress(theirs.fileno()))
        except BaseException:
            ours.close()
            raise
        finally:
            signals.set_mask(mask)
            theirs.close()
    report = _Report(ours, items, terminal=terminal)
    try:
        born = cradle.born if cradle is not None else None
        pid, pidfd = births.wait(pid, ours.fileno(), report.hear, born, birth or births.Birth())
    except BaseException:
        report.close()
        raise
    finally:
        ours.close()
    return Launched(pid, pidfd, report.master, report.warnings)


def _run_child(child: Callable[[Progress], NoReturn], progress: Progress) -> NoReturn:
    try:
        signals.default_all()
        child(progress)
    except BaseException as error:
        try:
            progress.fail(error)
        finally:
            os._exit(127)
    finally:
        os._exit(127)


def listen(channel: _socket.socket, items: dict[int, Sequence[str]]) -> None:
    """Wait until a child that leaves its gate has exec'd. Raises LaunchError."""
    report = _Report(channel, items, terminal=False)
    while report.hear():
        pass


class _Report:
    """What a child says until execve closes its end of the socket, or it waits at its gate."""

    __slots__ = ("_channel", "_items", "_records", "_terminal", "master", "warnings")

    def __init__(self, channel: _socket.socket, items: dict[int, Sequence[str]], *, terminal: bool) -> None:
        self._channel = channel
        self._items = items
        self._terminal = terminal
        self._records = 0
        self.master: int | None = None
        self.warnings: list[str] = []

    def hear(self) -> bool:
        """Take the next record, and say whether more may come; raises LaunchError for a failure."""
        space = _socket.CMSG_SPACE(4)
        data, ancillary, _, _ = self._channel.recvmsg(RECORD.size, space, _socket.MSG_CMSG_CLOEXEC)
        for _, _, content in ancillary:
            self._take(int.from_bytes(content[:4], "little"))
        if not data:
            return False
        self._records += 1
        if len(data) != RECORD.size or self._records > _MOST_RECORDS:
            raise LaunchError(steps.EXEC, steps.INTERNAL, steps.words(steps.EXEC, steps.INTERNAL, 0, ""))
        step, number, index, line = RECORD.unpack(data)
        if step == steps.NOTHING:
            return bool(number != steps.READY)  # else the terminal's master
        text = steps.words(abs(step), number, line, steps.item_of(self._items, abs(step), index))
        if step > 0:
            raise LaunchError(step, number, text)
        self.warnings.append(text)
        return True

    def _take(self, descriptor: int) -> None:
        """The first one is sent before anybody else can have the child in his hands."""
        if self._terminal and self.master is None:
            self.master = descriptor
        else:
            os.close(descriptor)

    def close(self) -> None:
        """Nobody wants it."""
        if self.master is not None:
            os.close(self.master)


def send_descriptor(channel: int, descriptor: int) -> None:
    """Give a descriptor to the parent that waits in `fork_and_wait`."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, channel)
    content = descriptor.to_bytes(4, "little")
    socket.sendmsg([RECORD.pack(0, 0, 0, 0)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, content)])
    socket.detach()


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
        self.linux = linux
        self.stdio = stdio
        self.cgroup = cgroup
        self.files = files
        self.floors = {index: chain[0] for index, chain in files.items() if len(chain) > 1}
        self.mounts: list[dict[str, Any]] = oci.get("mounts") or []
        self.sysctls: dict[str, str] = linux.get("sysctl") or {}
        self.devices: list[dict[str, Any]] = linux.get("devices") or []
        self.masked: list[str] = linux.get("maskedPaths") or []
        self.read_only: list[str] = linux.get("readonlyPaths") or []
        self.namespaces = {entry["type"]: entry.get("path") or "" for entry in linux.get("namespaces") or ()}
        if spec.get("network_namespace"):
            self.namespaces["network"] = spec["network_namespace"]
        self.flags = 0
        for kind, path in self.namespaces.items():
            if not path and kind not in ("pid", "user"):
                self.flags |= NAMESPACES[kind]
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
        progress.at(steps.CONFINE)
        modules.confine(self.process)
        progress.at(steps.CGROUP)
        self.cgroup.join()
        if self.program.oom_score is not None:
            progress.at(steps.OOM_SCORE)
            oom.write(self.program.oom_score)
        trees = sources.open_sources(self.mounts, self.files, progress)
        if self.shared_shm >= 0:
            trees.update(sources.open_shared(self.mounts, self.shared_shm, progress))
        if self.cradle is not None:
            foreign = self.pid_namespace()[1]
            assert foreign is not None
            trees.update(sources.open_proc(self.mounts, self.shared_proc, foreign, progress))
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
        if (self.oci.get("root") or {}).get("readonly"):
            progress.at(steps.ROOT)
            m.mount_setattr(root, "", flags=m.AT_EMPTY_PATH, attr_set=m.MOUNT_ATTR_RDONLY)
        rootfs.change_root(root, progress, steps.PIVOT)
        stdio = (
            (terminal,) * 3
            if terminal is not None
            else (self.stdio.stdin, self.stdio.stdout, self.stdio.stderr)
        )
        with_terminal = terminal is not None
        become(
            self.program,
            identity,
            stdio,
            progress,
            terminal=with_terminal,
            gate=self.gate,
            hooks=self.hooks,
            cradle=self.cradle,
        )

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
        send_descriptor(progress.channel, master)
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


def _write_beneath(directory: int, path: str, value: str) -> None:
    descriptor = openat2(directory, path, os.O_WRONLY, resolve=_BENEATH)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
