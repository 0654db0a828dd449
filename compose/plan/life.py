"""Project x Observed -> Plan for containers that are there: start, restart, kill, pause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import PlanError
from compose.plan.actions import (
    KillContainer,
    PauseContainer,
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
    plan, starts, of_service = _begin(target, observed)
    for service in target.services:
        there = of_service.get(service.name, [])
        if not there and service.scale:
            raise PlanError(
                f"service {service.name} has no container to start", hint=f"pycompose up -d {service.name}"
            )
        for container in there:
            if not container.running:
                _check(container)
                after = starts.before(service)
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
    plan, starts, of_service = _begin(target, observed)
    restarted: dict[str, str] = {}
    for service in target.services:
        cause = _cause_to_restart(service, services, restarted, alone=alone)
        if cause is None:
            continue
        restarted[service.name] = cause
        for container in of_service.get(service.name, []):
            _check(container)
            after: list[int] = []
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
    """Thaw the containers of some services, of all when none is named."""
    return _each(UnpauseContainer, chosen(observed, services))


def _each(
    action: type[PauseContainer] | type[UnpauseContainer], containers: Sequence[ObservedContainer]
) -> Plan:
    plan = Plan()
    for container in containers:
        plan.add(action(container.name))
    return plan


def _begin(target: Target, observed: Observed) -> tuple[Plan, Starts, dict[str, list[ObservedContainer]]]:
    plan = Plan()
    of_service: dict[str, list[ObservedContainer]] = {}
    for container in chosen(observed, ()):
        of_service.setdefault(container.service, []).append(container)
    by_name = {container.name: container for container in observed.containers}
    names = {service: [one.name for one in containers] for service, containers in of_service.items()}
    starts = Starts(plan, target, by_name, names)
    return plan, starts, of_service


def _check(container: ObservedContainer) -> None:
    """Refuse to start what only `up` can make whole again."""
    if not container.whole or not container.connected:
        what = "is half-made" if not container.whole else "lost its network when the machine was restarted"
        raise PlanError(f"container {container.name} {what}", hint=f"pycompose up -d {container.service}")
