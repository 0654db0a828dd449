"""Observed -> Plan for stopping and taking away: no project is needed for what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compose.plan.actions import (
    LeaveSandbox,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveSandbox,
    RemoveVolume,
    StopContainer,
)
from compose.plan.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from compose.plan.observed import Observed, ObservedContainer


class DownOptions(NamedTuple):
    services: Collection[str] = ()
    """Only these; empty: all of the project."""
    volumes: bool = False
    images: Collection[str] = ()
    """The names of the images to remove."""
    remove_orphans: bool = True
    timeout: float | None = None


def plan_stop(
    observed: Observed,
    services: Collection[str],
    dependencies: Mapping[str, Collection[str]],
    timeout: float | None,
    *,
    resume: bool = False,
    regardless: bool = False,
) -> Plan:
    """Stop containers, dependents before what they depend on; those of `run` are their callers' to stop.

    `resume` and `regardless` as in `StopContainer`.
    """
    plan = Plan()
    _stop(plan, chosen(observed, services), dependencies, timeout, resume=resume, regardless=regardless)
    return plan


def plan_remove(
    observed: Observed,
    services: Collection[str],
    dependencies: Mapping[str, Collection[str]],
    *,
    stop: bool = False,
    volumes: bool = False,
    timeout: float | None = None,
) -> Plan:
    """Remove containers that do not run; with `stop` the others are stopped first."""
    plan = Plan()
    containers = [c for c in chosen(observed, services) if stop or not c.running]
    stops = _stop(plan, containers, dependencies, timeout)
    for container in containers:
        plan.add(RemoveContainer(container.name, volumes), after=stops.get(container.name, []))
    return plan


def chosen(observed: Observed, services: Collection[str]) -> list[ObservedContainer]:
    """The containers of some services, of all when none is named, without those of `run`."""
    return [c for c in observed.containers if not c.oneoff and (not services or c.service in services)]


def plan_down(
    project: str,
    observed: Observed,
    options: DownOptions,
    *,
    known: Collection[str] | None = None,
    dependencies: Mapping[str, Collection[str]] | None = None,
    external_volumes: Collection[str] = (),
    external_networks: Collection[str] = (),
) -> Plan:
    """Take away containers, networks, the sandbox and, when asked, volumes.

    `known` are the services of the file; containers of others are orphans. `dependencies` orders the stops.
    `external_volumes` and `external_networks` are the names of those that the file calls external: they stay,
    whoever made them.
    """

    def concerned(container: ObservedContainer) -> bool:
        if container.oneoff and container.running and not options.remove_orphans:
            return False  # who runs it still waits for it
        if options.services:
            return container.service in options.services
        return options.remove_orphans or known is None or container.service in known

    plan = Plan()
    containers = [container for container in observed.containers if concerned(container)]
    stops = _stop(plan, containers, dependencies or {}, options.timeout, regardless=True)
    removals = [
        plan.add(RemoveContainer(c.name, options.volumes), after=stops.get(c.name, []), cause="")
        for c in containers
    ]
    for image in options.images:
        plan.add(RemoveImage(image), after=removals)
    staying = len(containers) < len(observed.containers)
    if options.services and staying:
        return plan
    removed: list[int] = []
    kept = sorted(one.name for one in observed.networks if one.name in external_networks)
    for network in observed.networks:
        if not network.users and not staying and network.name not in kept:
            removed.append(plan.add(RemoveNetwork(network.name), after=removals))
    if options.volumes:
        used = _volumes_of([c for c in observed.containers if c not in containers], observed)
        for volume in observed.volumes:
            if not volume.users and volume.name not in used and volume.name not in external_volumes:
                plan.add(RemoveVolume(volume.name), after=removals)
    users = sorted({user for network in observed.networks for user in network.users})
    if not staying and kept and (observed.recorded or containers):
        cause = f"{', '.join(kept)} is external"
        plan.add(LeaveSandbox(project, recorded=True), cause=cause, after=removals + removed)
    elif not staying and users and (observed.recorded or containers):
        plan.add(LeaveSandbox(project), cause=f"in use by {', '.join(users)}", after=removals + removed)
    elif not staying and not users and not kept and (observed.sandbox or containers or observed.networks):
        plan.add(RemoveSandbox(project), after=removals + removed)
    return plan


def _volumes_of(containers: list[ObservedContainer], observed: Observed) -> set[str]:
    """The volumes that containers use; one whose record is damaged may use any."""
    if any(container.volumes is None for container in containers):
        return {volume.name for volume in observed.volumes}
    return {name for container in containers for name in container.volumes or ()}


def plan_abandoned(project: str, observed: Observed, *, leaving: str = "") -> Plan:
    """Take away what a project that is down has left to others, as far as nobody is there any more.

    Containers of the project `leaving` count as gone.
    """
    if observed.recorded or observed.containers:
        return Plan()
    networks = tuple(
        network._replace(users=tuple(user for user in network.users if user.partition(".")[0] != leaving))
        for network in observed.networks
    )
    return plan_down(project, observed._replace(networks=networks), DownOptions())


def _stop(
    plan: Plan,
    containers: list[ObservedContainer],
    dependencies: Mapping[str, Collection[str]],
    timeout: float | None,
    *,
    resume: bool = False,
    regardless: bool = False,
) -> dict[str, list[int]]:
    """Add the stops; container name -> the operations after which it is stopped."""
    dependents: dict[str, set[str]] = {}
    for service, needs in dependencies.items():
        for need in needs:
            dependents.setdefault(need, set()).add(service)
    by_service: dict[str, list[ObservedContainer]] = {}
    for container in containers:
        by_service.setdefault(container.service, []).append(container)
    stopped: dict[str, list[int]] = {}
    of_service: dict[str, list[int]] = {}

    def stop(service: str) -> list[int]:
        """The operations after which `service` and all that depends on it are stopped."""
        if service in of_service:
            return of_service[service]
        of_service[service] = []
        before = sorted({op for other in sorted(dependents.get(service, ())) for op in stop(other)})
        mine: list[int] = []
        for container in by_service.get(service, []):
            if container.running:
                mine.append(
                    plan.add(StopContainer(container.name, timeout, resume, regardless), after=before)
                )
                stopped[container.name] = [mine[-1]]
        of_service[service] = mine or before
        return of_service[service]

    for service in by_service:
        stop(service)
    return stopped
