"""The graph of a project's services: who waits for whom, in which order they start, and where a circle is.

An edge leads from a service to each one it depends on, whether it says so or implies it (links, shared
namespaces, volumes_from). networkx costs 140 ms to import: only what makes or changes a graph imports this
module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx

from compose.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Graph = nx.DiGraph[str]

_EFFORT = 50_000


def service_graph(services: Mapping[str, Any]) -> Graph:
    """The graph of some services; edges carry `condition`, `restart` and `required`."""
    graph: Graph = nx.DiGraph()
    graph.add_nodes_from(sorted(services))
    for name in sorted(services):
        for other, options in (services[name].get("depends_on") or {}).items():
            if other in services:
                graph.add_edge(name, other, **options)
    return graph


def start_order(graph: Graph, places: Mapping[tuple[str, str], object] | None = None) -> list[str]:
    """The services, each after those it depends on; those that are free to start come by name.

    Raises ModelError for a circle, naming all of it; `places` says where each dependency stands.
    """
    try:
        return list(nx.lexicographical_topological_sort(graph.reverse(copy=False)))
    except nx.NetworkXUnfeasible:
        raise circle_error(graph, places or {}) from None


def circle_error(graph: Graph, places: Mapping[tuple[str, str], object]) -> ModelError:
    """The error for a graph with a circle: the shortest one, from its first service by name."""
    circle = _shortest_circle(graph)
    first = circle.index(min(circle))
    circle = circle[first:] + circle[:first]
    steps = list(zip(circle, [*circle[1:], circle[0]], strict=True))
    shown = [f"{name} ({places[name, other]})" if (name, other) in places else name for name, other in steps]
    place = places.get(steps[0])
    where = f"{place}: services.{circle[0]}.depends_on: " if place else ""
    return ModelError(
        f"{where}the services depend on each other in a circle: {' -> '.join([*shown, circle[0]])}",
        hint="remove one of these dependencies",
    )


def _shortest_circle(graph: Graph) -> list[str]:
    """The shortest circle, the first by name; in a big tangle only the first services are asked for theirs.

    networkx could list all circles, but thirty services that all depend on each other have 10^30 of them.
    """
    found: list[list[str]] = []
    for tangle in sorted(nx.strongly_connected_components(graph), key=min):
        following = {name: sorted(tangle.intersection(graph.successors(name))) for name in tangle}
        edges = sum(map(len, following.values()))
        for name in sorted(tangle)[: max(1, _EFFORT // (edges + 1))] if edges else ():
            found.append(_circle_through(following, name))
    return min(found, key=lambda nodes: (len(nodes), sorted(nodes)))


def _circle_through(successors: Mapping[str, list[str]], name: str) -> list[str]:
    """A shortest circle through a service of a tangle, by breadth."""
    before: dict[str, str] = {}
    level = [name]
    while level:
        following = []
        for node in level:
            for other in successors[node]:
                if other == name:
                    circle = [node]
                    while circle[-1] != name:
                        circle.append(before[circle[-1]])
                    return circle[::-1]
                if other not in before:
                    before[other] = node
                    following.append(other)
        level = following
    raise AssertionError(f"{name} is in no circle")
