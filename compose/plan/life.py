"""Project x Observed -> Plan for containers that are there: start, restart, kill, pause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import PlanError
from compose.plan.actions import (
    CreateNetwork,
    KillContainer,
    PauseContainer,
    ReconnectContainer,
    RestartContainer,
    StartContainer,
    UnpauseContainer,
)
from compose.plan.plan import Plan
from compose.plan.starts import Starts
from compose.plan.teardown import chosen

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from compose.plan.observed import Observed, ObservedContainer
    from compose.plan.target import Target, Wanted


def plan_start(target: Target, observed: Observed, *, wait: bool = False) -> Plan:
    """Start what does not run, each service after what it waits for.

    With `wait` the plan ends when all of them run and are healthy.
    """
    found = _Containers(target, observed)
    plan, starts = found.plan, found.starts
    for service in target.services:
        there = found.of_service.get(service.name, [])
        if not there and service.scale:
            raise PlanError(
                f"service {service.name} has no container to start", hint=f"pycompose up -d {service.name}"
            )
        for container in there:
            if container.status == "paused":
                raise PlanError(
                    f"container {container.name} is paused", hint=f"pycompose unpause {service.name}"
                )
            if not container.running:
                after = [*found.before(container), *starts.before(service)]
                cause = f"it is {container.status}"
                starts.add(service.name, plan.add(StartContainer(container.name), cause=cause, after=after))
    if wait:
        starts.wait_for_all()
    return plan


def plan_restart(
    target: Target,
    observed: Observed,
    services: Collection[str] = (),
    *,
    alone: bool = False,
    timeout: float | None = None,
) -> Plan:
    """Restart the containers of some services, of all when none is named, whether they run or not.

    Those that depend on one of them with ``restart: true`` follow, unless `alone` is set.
    """
    found = _Containers(target, observed)
    plan, starts = found.plan, found.starts
    restarted: dict[str, str] = {}
    for service in target.services:
        cause = _cause_to_restart(service, services, restarted, alone=alone)
        if cause is None:
            continue
        restarted[service.name] = cause
        for container in found.of_service.get(service.name, []):
            after = found.before(container)
            for dependency, how in service.dependencies.items():
                if how.get("restart") and not alone:
                    after += starts.of_dependency(dependency, how)
            action = RestartContainer(container.name, timeout)
            starts.add(service.name, plan.add(action, cause=cause, after=after))
    return plan


def _cause_to_restart(
    service: Wanted, services: Collection[str], restarted: Collection[str], *, alone: bool
) -> str | None:
    if not services or service.name in services:
        return ""
    for dependency, how in service.dependencies.items():
        if how.get("restart") and dependency in restarted and not alone:
            return f"{dependency} is restarted"
    return None


def plan_kill(observed: Observed, services: Collection[str], signal: str) -> Plan:
    """Send a signal to all that runs of some services, of all when none is named; `run` included."""
    plan = Plan()
    for container in observed.containers:
        if container.running and (not services or container.service in services):
            plan.add(KillContainer(container.name, signal), cause="" if signal == "SIGKILL" else signal)
    return plan


def plan_pause(observed: Observed, services: Collection[str]) -> Plan:
    """Freeze all that runs of some services, of all when none is named."""
    return _each(PauseContainer, [c for c in chosen(observed, services) if c.running])


def plan_unpause(observed: Observed, services: Collection[str]) -> Plan:
    """Thaw what runs of some services, of all when none is named: it is an error where that is not paused."""
    return _each(UnpauseContainer, [c for c in chosen(observed, services) if c.running])


def _each(
    action: type[PauseContainer] | type[UnpauseContainer], containers: Sequence[ObservedContainer]
) -> Plan:
    plan = Plan()
    for container in containers:
        plan.add(action(container.name))
    return plan


class _Containers:
    """The containers that are there, and what has to be made again before one of them can start."""

    def __init__(self, target: Target, observed: Observed) -> None:
        self.plan = Plan()
        self.target = target
        self.of_service: dict[str, list[ObservedContainer]] = {}
        for container in chosen(observed, ()):
            self.of_service.setdefault(container.service, []).append(container)
        by_name = {container.name: container for container in observed.containers}
        names = {service: [one.name for one in there] for service, there in self.of_service.items()}
        self.starts = Starts(self.plan, target, by_name, names)
        self.lost = {network.name for network in observed.networks if not network.whole} | observed.lost
        self.made: dict[str, int] = {}

    def before(self, container: ObservedContainer) -> list[int]:
        """What gives a container back what a restart of the machine took; refuses what only `up` repairs."""
        if not container.whole:
            raise PlanError(
                f"container {container.name} is half-made", hint=f"pycompose up -d {container.service}"
            )
        if container.connected:
            return []
        after = [self.network(name) for name in sorted((container.networks or frozenset()) & self.lost)]
        reconnect = ReconnectContainer(container.name)
        return [self.plan.add(reconnect, cause="its network is gone", after=after)]

    def network(self, name: str) -> int:
        """The operation that makes a network again of which only the record is there."""
        if name not in self.made:
            key = next((key for key, one in self.target.networks.items() if one.name == name), None)
            if key is None:
                raise PlanError(f"network {name} is not in the file any more", hint="pycompose up -d")
            cause = "only its record is there"
            self.made[name] = self.plan.add(CreateNetwork(name, key), cause=cause)
        return self.made[name]
