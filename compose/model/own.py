"""``container:NAME`` where NAME is a container of the project itself: that is ``service:SERVICE``.

Files of stacks that stand behind a VPN are often written so. Docker looks the container up when it makes the
other one, so that it works there when it happens to be made first; a service has it made first always.
"""

from __future__ import annotations

from compose.model.order import quick_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from compose.model.project import Project

_NAMESPACES = ("network_mode", "pid", "ipc")
_WORD = "container:"


def name_services(project: Project) -> None:
    """Write the service's name wherever one of the project's own containers is named."""
    names = _names(project)
    for name in project.services:
        project.services[name] = _renamed(project, name, project.services[name], names)
    project.order = quick_order(project.services) or project.order


def _names(project: Project) -> dict[str, str]:
    """The names of each service's first container."""
    found = {}
    for name, service in project.services.items():
        own = service.get("container_name")
        found[own or project.separator.join((project.name, name, "1"))] = name
    return found


def _renamed(project: Project, name: str, service: Any, names: dict[str, str]) -> Any:
    found = {**service}
    depends = dict(service.get("depends_on") or {})

    def owner(value: str) -> str:
        """The service whose container it is; empty where that would make a circle, or there is none."""
        other = names.get(value, "")
        return "" if not other or name in project.needed([other]) else other

    def imply(other: str, *, restart: bool) -> None:
        depends.setdefault(other, {"condition": "service_started", "restart": restart, "required": True})

    for key in _NAMESPACES:
        value = str(service.get(key) or "")
        if value.startswith(_WORD) and (other := owner(value.removeprefix(_WORD))):
            found[key] = f"service:{other}"
            imply(other, restart=True)
    lenders = []
    for entry in map(str, service.get("volumes_from") or ()):
        container, colon, mode = entry.removeprefix(_WORD).partition(":")
        other = owner(container) if entry.startswith(_WORD) else ""
        lenders.append(f"{other}{colon}{mode}" if other else entry)
        if other:
            imply(other, restart=False)
    if lenders:
        found["volumes_from"] = lenders
    if depends:
        found["depends_on"] = depends
    return found
