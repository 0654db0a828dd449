"""Observed -> Plan for what comes back after a restart of the machine: no compose file is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.plan.actions import CreateNetwork, ReconnectContainer, StartContainer, WaitHealthy
from compose.plan.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Collection

    from compose.plan.observed import Observed, ObservedContainer
    from compose.plan.target import Target

_CAUSE = "it ran when the machine went down"


def plan_boot(target: Target, observed: Observed, chosen: Collection[str]) -> Plan:
    """Start the containers named in `chosen`, each after those that it depends on.

    Where a service waits for another one to be healthy, it does so here too; for what is not brought back,
    or had to run to its end, nothing waits.
    """
    return _Boot(target, observed, chosen).plan


class _Boot:
    def __init__(self, target: Target, observed: Observed, chosen: Collection[str]) -> None:
        self.target = target
        self.plan = Plan()
        self.by_service: dict[str, list[ObservedContainer]] = {}
        for container in observed.containers:
            if container.name in chosen and container.whole:
                self.by_service.setdefault(container.service, []).append(container)
        self.made = self.networks(observed) if self.by_service else []
        self.started: dict[str, list[int]] = {}
        self.healthy: dict[str, list[int]] = {}
        for service in self.by_service:
            self.start(service)

    def networks(self, observed: Observed) -> list[int]:
        """The networks of which only the records are there."""
        lost = {network.name for network in observed.networks if not network.whole} | observed.lost
        return [
            self.plan.add(CreateNetwork(network.name, key), cause="only its record is there")
            for key, network in self.target.networks.items()
            if network.name in lost
        ]

    def start(self, service: str) -> list[int]:
        """The starts of a service's containers; one that depends on itself in a circle does not wait."""
        if service in self.started:
            return self.started[service]
        self.started[service] = []
        after = self.dependencies(service)
        for container in self.by_service.get(service, []):
            before = list(after)
            if not container.connected:
                reconnect = ReconnectContainer(container.name)
                before.append(self.plan.add(reconnect, cause="its namespace is gone", after=self.made))
            self.started[service].append(
                self.plan.add(StartContainer(container.name), cause=_CAUSE, after=before)
            )
        return self.started[service]

    def dependencies(self, service: str) -> list[int]:
        wanted = next((one for one in self.target.services if one.name == service), None)
        found: list[int] = []
        for name, how in (wanted.dependencies if wanted else {}).items():
            starts = self.start(name)
            found += self.wait(name) if how.get("condition") == "service_healthy" else starts
        return found

    def wait(self, service: str) -> list[int]:
        if service not in self.healthy:
            self.healthy[service] = [
                self.plan.add(WaitHealthy(container.name), after=self.started[service])
                for container in self.by_service.get(service, [])
            ]
        return self.healthy[service]
