"""Control groups of containers whose monitors were killed together with the keeper, and that nobody removed.

They are found by their names, or by a container's spec where it is known. A group with ``cgroup_parent`` lies
below another one, in ``PARENT/pycompose/PROJECT``. PROJECT is `Paths.host_name` everywhere: the groups of the
same project in another run directory are somebody else's.
"""

from __future__ import annotations

import os

from compose.errors import ContainerError
from compose.runtime import cgroups
from compose.runtime.cgroups import common
from compose.runtime.supervision import children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.runtime.spec import ContainerSpec
    from compose.state.paths import Paths

_LAST_BREATH = 1.0
_ID_LENGTH = 64


def remove_of_project(host_name: str) -> None:
    """End and remove the groups of a project's containers, wherever they lie."""
    for base in dict.fromkeys((*cgroups.bases_of(host_name), *_elsewhere(host_name))):
        try:
            names = [name for name in os.listdir(f"{_root()}/{base}") if len(name) == _ID_LENGTH]
        except OSError:
            continue
        for name in names:
            end(base, name)
        _leave(base)


def remove_of_container(paths: Paths, spec: ContainerSpec) -> None:
    """The same for a container that lies below a group of its own choice; nothing for any other."""
    wanted = spec.get("cgroup_parent")
    if wanted:
        from compose.runtime.cgroups import parent

        base = parent.base_of(wanted, paths.host_name(spec["project"]), spec["id"])
        end(base, spec["id"])
        parent.leave(base)


def end(base: str, name: str) -> None:
    """Kill what runs in a group, and remove it; what cannot be is said by what removes the container."""
    try:
        group = cgroups.find(base, name)
        children.empty_cgroup(group, _LAST_BREATH)
        children.remove_cgroup(group)
    except (OSError, ContainerError):
        return


def _root() -> str:
    return common.ROOT if cgroups.version() == 2 else f"{common.ROOT}/freezer"


def _elsewhere(host_name: str) -> Iterator[str]:
    """The bases of a project below groups that its containers have chosen."""
    root = _root()
    for directory, names, _files in os.walk(root):
        if os.path.basename(directory) == "pycompose":
            if host_name in names and directory != f"{root}/pycompose":
                yield f"{directory.removeprefix(root).strip('/')}/{host_name}"
            names.clear()


def _leave(base: str) -> None:
    if not base.startswith("pycompose/"):
        from compose.runtime.cgroups import parent

        parent.leave(base)
