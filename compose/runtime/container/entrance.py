"""One process that goes the way into a container (way.py).

Whatever does not go as written down is left to `enter`, which forks and does the same, and can say what is
wrong.
"""

from __future__ import annotations

import os
import stat

from compose.linux import files
from compose.linux import numbers as n
from compose.linux.vfork import REPORT, forking
from compose.runtime.container import birth as births
from compose.runtime.container import terminals
from compose.runtime.container.child import Launched
from compose.runtime.container.steps import Failure
from compose.runtime.container.way import Way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.container.child import Stdio
    from compose.runtime.container.hardening import Program
    from compose.runtime.container.users import Identity


def spawn(
    program: Program,
    identity: Identity | None,
    stdio: Stdio,
    cgroup: Cgroup | None,
    pidfd: int,
    root: int,
    birth: births.Birth | None = None,
) -> Launched | None:
    """Start the program in the container of `pidfd`, whose root directory is `root`; None: it did not go as
    written down, and nothing has been started."""
    if identity is None or program.preserved:
        return None
    held: list[int] = []
    master = None
    try:
        if not program.may_go_on():
            return None
        if program.process.get("terminal"):
            master, slave = terminals.open_inside(root)
            held.append(slave)
            program.resize(slave)
            descriptors = [slave] * 3
        else:
            descriptors = [stdio.stdin, stdio.stdout, stdio.stderr]
            if min(descriptors) <= REPORT:  # a new place would overwrite them
                descriptors = [files.dup_above(number, REPORT + 1) for number in descriptors]
                held += descriptors
        launched = _go(program, identity, descriptors, cgroup, pidfd, birth or births.Birth())
        launched.master, master = master, None
        return launched
    except (Failure, OSError):
        return None
    finally:
        for number in [*held, *([master] if master is not None else [])]:
            os.close(number)


def _go(
    program: Program,
    identity: Identity,
    descriptors: Sequence[int],
    cgroup: Cgroup | None,
    pidfd: int,
    birth: births.Birth,
) -> Launched:
    with forking:  # until the writer is closed here: another thread's child would keep it open
        reader, low = os.pipe2(os.O_CLOEXEC)
        writer = files.dup_above(low, REPORT + 1)
        os.close(low)
        try:
            way = _way(program, identity, descriptors, cgroup, pidfd, writer)
            first = way.begin()
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)

    def hear() -> bool:
        data = os.read(reader, 16)
        if data:
            raise way.calls.read_report(data)
        return False

    try:
        pid, held = births.wait(first, reader, hear, way.calls.born, birth)
    finally:
        os.close(reader)
    return Launched(pid, held, None, [])


def _way(
    program: Program,
    identity: Identity,
    descriptors: Sequence[int],
    cgroup: Cgroup | None,
    pidfd: int,
    report: int,
) -> Way:
    way = Way(program, identity, cgroup)
    calls = way.calls
    way.prepare()
    way.join(pidfd)
    for target, descriptor in enumerate(descriptors):
        calls.add(n.SYS_dup3, descriptor, target, 0)
    calls.add(n.SYS_dup3, report, REPORT, os.O_CLOEXEC)
    way.close(REPORT + 1)
    for target, descriptor in enumerate(descriptors):
        if program.process.get("terminal") or stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            calls.add(n.SYS_fchown, target, identity.uid, -1)
    way.enter_directory()
    way.set_limits()
    way.set_identity()
    calls.be_born()
    way.execute()
    return way
