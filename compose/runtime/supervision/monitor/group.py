"""A container's control group over its life: made with its limits, watched for want of memory, removed.

One object a monitor. `base` is the project's group; a container with ``cgroup_parent`` lies elsewhere.
"""

from __future__ import annotations

from compose.errors import ComposeError, ContainerError
from compose.runtime.supervision import children
from compose.runtime.supervision.monitor.memory import MemoryWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.loop import Loop
    from compose.runtime.spec import ContainerSpec

_LAST_BREATH = 0.5


class Group:
    """See the module. `cgroup` is None until it has been made or found."""

    __slots__ = ("_base", "_isolation", "_loop", "_parent", "_project", "_watch", "cgroup", "kills_before")

    def __init__(self, loop: Loop, isolation: Any, base: str, project: str) -> None:
        self._loop = loop
        self._isolation = isolation
        self._base = base
        self._project = project
        self._parent = ""
        self._watch: MemoryWatch | None = None
        self.cgroup: Cgroup | None = None
        self.kills_before = 0
        """How many processes had been killed for want of memory when the container started."""

    # beginning

    def find(self, spec: ContainerSpec) -> None:
        """The group that a predecessor has made; it need not be there."""
        self._choose_base(spec, enter=False)
        self.cgroup = self._isolation.find(self._base, spec["id"])

    def make(self, spec: ContainerSpec) -> Cgroup:
        """Make it with its limits, and end whatever still runs in it. Raises `ContainerError`, `OSError`."""
        linux = spec["oci"].get("linux") or {}
        if linux.get("devices"):
            from compose.runtime.container.renumber import renumber

            renumber(linux)
        try:
            self._choose_base(spec, enter=True)
            group: Cgroup = self._isolation.create(self._base, spec["id"], linux.get("resources"))
        except (ComposeError, OSError):  # a limit that the kernel refuses: the group is there nevertheless
            self.find(spec)
            raise
        self.cgroup = group
        if not group.fresh:
            self.end_stragglers()
        self.kills_before = 0 if group.fresh else group.oom_kills()
        return group

    def enter_again(self, spec: ContainerSpec) -> None:
        """Be where the monitor of the running container has to be (``cgroup_parent`` under systemd)."""
        self._choose_base(spec, enter=True)

    def _choose_base(self, spec: ContainerSpec, *, enter: bool) -> None:
        self._parent = spec.get("cgroup_parent") or ""
        if self._parent:
            from compose.runtime.cgroups import parent

            self._base = parent.base_of(self._parent, self._project, spec["id"])
            if enter:
                parent.enter(self._parent, self._project, spec["id"])

    def warnings(self) -> list[str]:
        """What of the limits cannot be kept here, a line each, with what to do."""
        if self.cgroup is None or not self.cgroup.unavailable:
            return []
        from compose.runtime.cgroups import missing

        return missing.explain(self.cgroup.unavailable, self.cgroup.path)

    # memory

    def watch_memory(self, on_kill: Callable[[], None]) -> None:
        """Call `on_kill` once when a process has been killed for want of memory."""
        if self.cgroup is not None:
            self._watch = MemoryWatch(self._loop, self.cgroup, self.kills_before, on_kill)

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of this run; nobody is told any more."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        return self.cgroup is not None and self.cgroup.oom_kills() > self.kills_before

    # end

    def end_stragglers(self) -> None:
        """Kill what is left in it after process 1: processes that share a pid namespace."""
        if self.cgroup is not None:
            try:
                children.empty_cgroup(self.cgroup, _LAST_BREATH)
            except (OSError, ContainerError):  # `remove` will say so
                return

    def remove(self) -> None:
        """Remove it; raises `ContainerError`, `OSError`."""
        if self.cgroup is None:
            return
        children.remove_cgroup(self.cgroup)
        if self._parent:
            from compose.runtime.cgroups import parent

            parent.leave(self._base)
