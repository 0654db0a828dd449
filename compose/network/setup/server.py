"""The operations of the set-up process, by name; imported in that process alone, as it imports pyroute2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compose.errors import ComposeError
from compose.network.setup import containers, sandbox, sweep, uplink, uplink6
from compose.network.setup.namespaces import Namespaces
from compose.network.setup.record import Record
from compose.network.types import ContainerLinks, Endpoint, NetworkSpec
from compose.state.lock import file_lock

if TYPE_CHECKING:
    from compose.state.paths import Paths

Answer = tuple[Any, list[int]]


class Server:
    """Carries out one request at a time, in the network namespace that it was made in and plays the host."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._namespaces = Namespaces(paths)

    def handle(self, operation: str, arguments: Sequence[Any]) -> tuple[dict[str, Any], list[int]]:
        """The answer and its descriptors; every failure becomes an answer."""
        try:
            with file_lock(f"{self._paths.run}/network.lock"):
                value, descriptors = _OPERATIONS[operation](self, *arguments)
        except ComposeError as error:
            return {"error": error.message, "hint": error.hint}, []
        except OSError as error:
            return {"error": f"{operation.replace('_', ' ')}: {error.strerror or error}"}, []
        except Exception as error:  # the traceback would be lost with this process
            import traceback

            text = f"{operation.replace('_', ' ')}: {type(error).__name__}: {error}"
            return {"error": text, "traceback": traceback.format_exc()}, []
        return {"value": value}, descriptors

    def create_sandbox(self, project: str, with_uplink: bool) -> Answer:
        sandbox.create(self._namespaces, project)
        return (uplink.create(self._namespaces, project) if with_uplink else None), []

    def create_networks(self, networks: Sequence[Sequence[Any]]) -> Answer:
        specs = [NetworkSpec(*one) for one in networks]
        sandbox.create_networks(self._namespaces, specs, uplink.host_mtu())
        warnings: list[str] = []
        wanting = dict.fromkeys(spec.sandbox for spec in specs if spec.subnet6 and not spec.internal)
        if wanting:
            record = Record(self._namespaces)
            for project in wanting:
                warnings += uplink6.create(self._namespaces, project, record)
        return warnings, []

    def create_containers(self, project: str, wanted: Sequence[Sequence[Any]]) -> Answer:
        sockets = containers.create(self._namespaces, project, [_container(one) for one in wanted])
        return list(sockets), [descriptor for pair in sockets.values() for descriptor in pair]

    def remove_containers(self, project: str, named: Sequence[Sequence[Any]]) -> Answer:
        problems = containers.remove(self._namespaces, project, [_container(one) for one in named])
        self._namespaces.finish()
        return problems, []

    def remove_networks(self, networks: Sequence[Sequence[Any]]) -> Answer:
        return sandbox.remove_networks(self._namespaces, [NetworkSpec(*one) for one in networks]), []

    def remove_sandbox(self, project: str, named: Sequence[Sequence[Any]]) -> Answer:
        ending = [_container(one) for one in named]
        problems = containers.remove(self._namespaces, project, ending, doomed=project)
        problems += sandbox.remove(self._namespaces, project)  # first: the uplink goes with all other links
        problems += uplink.destroy(self._namespaces, project)
        self._namespaces.finish()
        return problems, []

    def sweep(
        self,
        live_containers: Sequence[str],
        live_projects: Sequence[str],
        live_networks: Sequence[str] | None,
        remove: bool,
    ) -> Answer:
        found, problems = sweep.sweep(
            self._namespaces,
            live_containers=set(live_containers),
            live_projects=set(live_projects),
            live_networks=None if live_networks is None else set(live_networks),
            remove=remove,
        )
        if remove:
            problems += sweep.forget(self._namespaces, set(live_projects))
        return [found, problems], []


_OPERATIONS = {
    name: getattr(Server, name)
    for name in (
        "create_sandbox",
        "create_networks",
        "create_containers",
        "remove_containers",
        "remove_networks",
        "remove_sandbox",
        "sweep",
    )
}


def _container(fields: Sequence[Any]) -> ContainerLinks:
    identity, endpoints, *rest = fields
    return ContainerLinks(identity, [_endpoint(one) for one in endpoints], *rest)


def _endpoint(value: Sequence[Any] | Mapping[str, Any]) -> Endpoint:
    return Endpoint.of(value) if isinstance(value, Mapping) else Endpoint(*value)
