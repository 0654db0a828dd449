"""A container that lives no longer than one call: keeper and monitor in one private process, for builds.

It gets one request with the spec and three descriptors, answers with the exit code, and kills everything
when the connection ends before: its caller has died or does not want it any more.
"""

from __future__ import annotations

import os

from compose.errors import ComposeError
from compose.linux import process, sockets
from compose.linux.process import exit_code
from compose.runtime import protocol, records
from compose.runtime.container.reexec import forget_environment
from compose.runtime.loop import Loop
from compose.runtime.supervision import children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGKILL = 9


def main(options: dict[str, Any]) -> None:
    """Serve one request; `options` come from `spawn`."""
    forget_environment()
    process.set_name("pc-build")
    process.prctl(process.PR_SET_DUMPABLE, 0)
    process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
    os.chdir("/")
    os.umask(0o077)
    connection = sockets.adopt(options["socket"])
    message, descriptors = protocol.receive(connection)
    if message is None:
        return
    try:
        protocol.check_version(message)
        isolation = __import__(options["isolation"], fromlist=["launch"])
        code = _run(isolation, message["spec"], connection, descriptors)
    except (ComposeError, OSError, KeyError, TypeError, ValueError) as error:
        protocol.refuse(connection, error)
        return
    protocol.answer(connection, exit_code=code)


def _run(isolation: Any, spec: Any, connection: sockets.Socket, descriptors: list[int]) -> int:
    """Launch, and wait for the end of the container or of the caller, whichever comes first."""
    pid = os.getpid()  # the name tells others whether we still live (spawn.sweep_once)
    base = f"pycompose/once-{pid}-{records.start_time(pid)}"
    try:
        resources = (spec["oci"].get("linux") or {}).get("resources")
        cgroup = isolation.create(base, spec["id"], resources)
        try:
            launched = isolation.launch(spec, isolation.Stdio(*descriptors), cgroup)
            for number in descriptors:
                os.close(number)
            _wait(launched.pidfd, connection)
            process.pidfd_send_signal(launched.pidfd, _SIGKILL)
            _pid, status = os.waitpid(launched.pid, 0)
        finally:
            _clean(cgroup)
    finally:
        isolation.remove_base(base)
    return exit_code(status)


def _wait(pidfd: int, connection: sockets.Socket) -> None:
    loop = Loop()
    loop.reader(pidfd, loop.stop)
    loop.reader(connection.fileno(), loop.stop)
    loop.run()
    loop.close()


def _clean(cgroup: Any) -> None:
    """End and reap whatever is left, so that the group can go."""
    cgroup.kill()
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    children.remove_cgroup(cgroup)
