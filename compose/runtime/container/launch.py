"""Process 1 of a container, called by the container's single-threaded monitor.

`Setup` (setup.py) finds out all that the child needs, and is then what the child does; `fork_and_wait`
(child.py) forks and waits. Between them is what belongs to neither: in which pid namespace the child is born.
"""

from __future__ import annotations

from compose.linux.cradle import Cradle
from compose.linux.namespaces import CLONE_NEWPID, reset_pid_namespace, setns, unshare
from compose.runtime.container import steps
from compose.runtime.container.child import Launched, Stdio, fork_and_wait
from compose.runtime.container.setup import Setup
from compose.runtime.container.steps import LaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.container.birth import Birth
    from compose.runtime.container.gate import Gate
    from compose.runtime.spec import ContainerSpec


def launch(
    spec: ContainerSpec,
    stdio: Stdio,
    cgroup: Cgroup,
    joined: Mapping[str, int] | None = None,
    files: Mapping[int, Sequence[int]] | None = None,
    gate: Gate | None = None,
    birth: Birth | None = None,
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
