"""Runs one shell script inside a root file system, isolated from the host. A process of its own.

    python -I -S -c "..." ROOT SCRIPT      exit code of the script, or 125 with one line on standard error

Own mount, pid, ipc, uts and network namespaces (the script has no network at all), the root file system as
the only one there is (pivot_root), /proc, a /dev of harmless devices, an empty /tmp; Docker's default
capabilities, no new privileges. sync and fsync do nothing (a seccomp filter answers 0): the caller syncs the
tree once, and dpkg alone would wait for the disk some hundred times. Nothing is mounted on the host, and the
script dies with its parent.

Imported by a bare interpreter: only `ctypes`, `os` and our own light modules.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
import sys

from compose.linux.libc import check, function

_NEWNS, _NEWUTS, _NEWIPC, _NEWPID, _NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "armv7l": 218, "ppc64le": 203, "s390x": 217, "riscv64": 41}
_FAILED = 125

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))
# chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod
# audit_write setfcap
_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)

# audit architecture and the numbers of sync, fsync, fdatasync, sync_file_range, syncfs
_SYNC = {
    "x86_64": (0xC000003E, (162, 74, 75, 277, 306)),
    "aarch64": (0xC00000B7, (81, 82, 83, 84, 267)),
    "riscv64": (0xC00000F3, (81, 82, 83, 84, 267)),
}
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBCONF_NOWARNINGS": "yes",
}

_mount = function("mount", ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_umount2 = function("umount2", ctypes.c_char_p, ctypes.c_int)
_unshare = function("unshare", ctypes.c_int)
_prctl = function("prctl", ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_syscall = function("syscall", ctypes.c_long, ctypes.c_char_p, ctypes.c_char_p, result=ctypes.c_long)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2); raises `OSError` that names the target."""
    arguments = (source.encode(), target.encode(), kind.encode(), flags, data.encode())
    check(_mount(*arguments), f"mount {target}")


def prctl(option: int, first: int, second: int = 0) -> None:
    """prctl(2); raises `OSError`."""
    check(_prctl(option, first, second, 0, 0), f"prctl {option}")


def main(arguments: list[str]) -> int:
    """Run ``arguments[1]`` in the root ``arguments[0]``; the value is the exit code."""
    root, script = arguments
    parent = os.getppid()
    try:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return _FAILED
        check(_unshare(_NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET), "unshare")
        child = os.fork()
        if not child:
            _child(root, script)
        _, status = os.waitpid(child, 0)
    except OSError as error:
        os.write(2, f"isolate: {error}\n".encode())
        return _FAILED
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _child(root: str, script: str) -> None:
    """Process 1 of the new namespaces; never returns."""
    try:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        socket.sethostname("localhost")
        _enter(root)
        os.umask(0o022)
        with contextlib.suppress(PermissionError):  # in a user namespace of one id
            os.setgroups([])
        _drop_capabilities()
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _ignore_sync()
        # what Python ignores would stay ignored in every maintainer script
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        environment = _ENVIRONMENT | {
            name: os.environ[name] for name in ("SOURCE_DATE_EPOCH",) if name in os.environ
        }
        os.execve("/bin/sh", ["sh", "-c", script], environment)
    except BaseException as error:
        os.write(2, f"isolate: {error}\n".encode())
    finally:
        os._exit(_FAILED)


def _enter(root: str) -> None:
    """Make `root` the only file system there is, with /proc, /dev and /tmp of its own."""
    number = _SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(0, f"pivot_root is not known on {os.uname().machine}")
    mount("none", "/", "none", _MS_REC | _MS_PRIVATE)
    devices = [(name, os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC)) for name in _DEVICES]
    mount(root, root, "none", _MS_BIND | _MS_REC)
    host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(root)
    check(_syscall(number, b".", b"."), "pivot_root")
    # from here on "/" is the new root, and the host's root lies on top of it until it is detached below; a
    # bind mount of its devices, and /proc in a user namespace, can be had only while it is there
    mount("proc", _real_directory("/proc"), "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    mount("tmpfs", _real_directory("/dev"), "tmpfs", _MS_NOSUID | _MS_NOEXEC, "mode=755,size=64k")
    for name, descriptor in devices:
        os.close(os.open(f"/dev/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        mount(f"/proc/self/fd/{descriptor}", f"/dev/{name}", "none", _MS_BIND)
        os.close(descriptor)
    for name, target in _LINKS:
        os.symlink(target, f"/dev/{name}")
    mount("tmpfs", _real_directory("/tmp"), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
    os.fchdir(host)
    check(_umount2(b".", _MNT_DETACH), "umount the host's root")
    os.close(host)
    os.chdir("/")


def _real_directory(path: str) -> str:
    """`path`, if it is a directory and no link: nothing is mounted where a package would like it."""
    os.close(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
    return path


def _drop_capabilities() -> None:
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        last = int(file.read())
    for capability in range(last + 1):
        if capability not in _CAPABILITIES:
            try:
                prctl(_PR_CAPBSET_DROP, capability)
            except PermissionError:  # we are not allowed to drop what we never had
                return


def _ignore_sync() -> None:
    """Answer 0 to every call that waits for the disk; where the numbers are not known, they just work."""
    known = _SYNC.get(os.uname().machine)
    if known is None:
        return
    architecture, numbers = known
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    allow, answer_zero = 0x7FFF0000, 0x00050000
    code = [(load, 0, 0, 4), (equal, 0, len(numbers) + 1, architecture), (load, 0, 0, 0)]
    code += [(equal, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    code += [(give, 0, 0, allow), (give, 0, 0, answer_zero)]
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(buffer)))
    prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(header))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
