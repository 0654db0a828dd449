"""The order in which services start, without networkx as long as there is no circle.

The order is that of `graph.start_order`: each service after those it depends on, and the ones that are free
to start by name. To find that there is a circle is easy; to name it is networkx's part, which costs 140 ms to
import, more than all the rest of a load.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def quick_order(services: Mapping[str, Any]) -> list[str] | None:
    """The services in order; None where they depend on each other in a circle."""
    waiting: dict[str, int] = {}
    dependents: dict[str, list[str]] = {}
    for name, service in services.items():
        needed = [other for other in service.get("depends_on") or () if other in services]
        waiting[name] = len(needed)
        for other in needed:
            dependents.setdefault(other, []).append(name)
    free = [name for name, count in waiting.items() if not count]
    heapify(free)
    order = []
    while free:
        name = heappop(free)
        order.append(name)
        for dependent in dependents.get(name, ()):
            waiting[dependent] -= 1
            if not waiting[dependent]:
                heappush(free, dependent)
    return order if len(order) == len(waiting) else None
