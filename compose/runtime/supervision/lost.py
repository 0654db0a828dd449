"""Keepers that nobody reaches any more, because the run directory was deleted while they ran.

Neither their socket nor keeper.json is there. They are found in the control group in which a project's own
processes live, and known by their command line, which names data and run directory. Each is killed: monitors
then start a keeper, give it everything, and listen where they can be reached again (link.py).
"""

from __future__ import annotations

from compose.runtime import cgroups
from compose.runtime.cgroups.common import OWN_LEAF
from compose.runtime.protocol import KEEPER_MODULE, loads
from compose.runtime.supervision import children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.state.paths import Paths


def end_keepers(paths: Paths, project: str) -> bool:
    """Kill the keepers of a project that has neither socket nor record of one; whether there was any."""
    found = [pid for pid in _helpers(paths.host_name(project)) if _is_keeper(pid, paths, project)]
    for pid in found:
        children.end_process(pid)
    return bool(found)


def _helpers(host_name: str) -> list[int]:
    found: list[int] = []
    for base in cgroups.bases_of(host_name):
        try:
            found += cgroups.find(base, OWN_LEAF).pids()
        except OSError:  # no group of that name: nobody is in it
            continue
    return found


def _is_keeper(pid: int, paths: Paths, project: str) -> bool:
    """Whether it was executed as the keeper of just this project; what was forked from one was not."""
    try:
        with open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
            name = file.read(16)
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            arguments = file.read(1 << 16).rstrip(b"\0").split(b"\0")
        options = loads(arguments[-1])
    except (OSError, ValueError):
        return False
    wanted = {"data": paths.data, "run": paths.run, "project": project}
    return (
        name == b"pc-keeper\n"
        and any(f"from {KEEPER_MODULE} import".encode() in one for one in arguments)
        and isinstance(options, dict)
        and all(options.get(key) == value for key, value in wanted.items())
    )
