"""Control groups: what a container may use, and all its processes as one thing.

    prepare(project)        the calling keeper moves into a group of the project; gives the base of others
    create(base, id, ...)   the group of one container, with its limits
    find(base, id)          the same group again, for who adopts or cleans up
    of_process(pid)         the same group again, for who looks at a container from outside
    bases_of(project)       where a project's groups can be, for who looks for leftovers
    remove_base(base)       the project's own groups, once the last container is gone

On cgroup v2 the base lies in a delegated systemd scope where there is systemd, else in ``pycompose/PROJECT``;
on v1 in ``pycompose/PROJECT`` of every hierarchy. A `Cgroup` is used the same way for both.
"""

from __future__ import annotations

from compose.runtime.cgroups.common import Cgroup
from compose.runtime.cgroups.versions import (
    bases_of,
    create,
    find,
    of_process,
    prepare,
    remove_base,
    version,
)

__all__ = ["Cgroup", "bases_of", "create", "find", "of_process", "prepare", "remove_base", "version"]
