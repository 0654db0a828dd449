"""Project x Observed -> Plan, without input or output.

`plan_images` says which images must be had first; when that is done the images are observed again and
`plan_up` says the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compose.errors import PlanError
from compose.plan.actions import (
    BuildImage,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    FetchImage,
    ReconnectContainer,
    RemoveContainer,
    RemoveNetwork,
    StartContainer,
    StopContainer,
    UnpauseContainer,
)
from compose.plan.changes import changes
from compose.plan.plan import Plan
from compose.plan.starts import Starts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from compose.plan.observed import Observed, ObservedContainer
    from compose.plan.target import OneOff, Target, Wanted, WantedNetwork


class UpOptions(NamedTuple):
    force_recreate: bool = False
    no_recreate: bool = False
    no_start: bool = False
    remove_orphans: bool = False
    known: frozenset[str] = frozenset()
    """The services of the file: containers of all others are orphans."""
    named: frozenset[str] = frozenset()
    """The services that were asked for, of those in the target; empty: all. The rest are dependencies."""
    recreate_dependencies: bool = False
    wait: bool = False
    fresh_volumes: bool = False
    """Whether recreated containers get new anonymous volumes."""
    timeout: float | None = None
    """Seconds that a container gets to stop; None: its own grace period."""


def plan_images(target: Target, observed: Observed, *, build: bool = False, pull: str = "policy") -> Plan:
    """Build what must be built and fetch what is missing; services that share a name share the work.

    `pull` stands for every ``pull_policy``: always, missing, never or build; "policy" leaves them alone.
    """
    plan = Plan()
    seen: set[str] = set()
    builders = {
        service.image: service for service in reversed(target.services) if service.config.get("build")
    }
    for user in target.services:
        if user.image in seen:
            continue
        service = builders.get(user.image, user)
        seen.add(service.image)
        buildable = bool(service.config.get("build"))
        policy = service.config.get("pull_policy") if pull == "policy" else pull
        missing = service.image not in observed.images
        if buildable and (build or policy == "build" or missing):
            asked = "--build" if build else "--pull build" if pull == "build" else "pull_policy: build"
            cause = "not built yet" if missing else asked
            plan.add(BuildImage(service.image, service.name), cause=cause)
        elif not buildable and pull == "always":
            plan.add(FetchImage(service.image, renew=True), cause="--pull always")
        elif not buildable and missing:
            if policy == "never":
                never = "pull_policy is never" if pull == "policy" else "--pull is never"
                raise PlanError(
                    f"service {service.name}: no image {service.image} in the store and {never}",
                    hint="build it, or leave that out",
                )
            plan.add(FetchImage(service.image), cause="not in the store")
    for service in target.services:
        for name in service.images:
            if name not in seen and name not in observed.images:
                use = "mount" if name in service.mounted_images else "pre_start"
                plan.add(FetchImage(name), cause=f"{use} of {service.name}")
            seen.add(name)
    return plan


def published(config: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Protocol and number of the ports that a service asks for on the host."""
    ports = config.get("ports") or []
    return {(str(p.get("protocol") or "tcp"), str(p["published"])) for p in ports if p.get("published")}


def plan_up(target: Target, observed: Observed, options: UpOptions) -> Plan:
    """Everything that leads from what is there to what is wanted."""
    return _Up(target, observed, options).plan


class _Up:
    """One pass of `plan_up`; its attributes are what the steps tell each other."""

    def __init__(self, target: Target, observed: Observed, options: UpOptions) -> None:
        self.target = target
        self.observed = observed
        self.options = options
        self.plan = Plan()
        self.by_name = {container.name: container for container in observed.containers}
        self.containers_of: dict[str, list[ObservedContainer]] = {}
        for container in observed.containers:
            if not container.oneoff:
                self.containers_of.setdefault(container.service, []).append(container)
        self.recreated: set[str] = set()
        self.replaced: set[str] = set()
        """The names of the containers that are recreated."""
        self.stopped_for: dict[str, int] = {}
        """Container name -> the operation that stopped or removed it early."""
        self.starts = Starts(self.plan, target, self.by_name)
        self.made: dict[str, int] = {}
        """``network KEY``, ``volume KEY`` or ``container NAME`` -> the operation that makes it."""
        self.changed_networks: set[str] = set()
        self.claimed = {
            service.container(target.project, number)
            for service in target.services
            for number in range(1, service.scale + 1)
        }
        """The names of all containers that are wanted."""
        self.leftovers()
        self.orphans()
        self.networks()
        self.volumes()
        self.hand_over_ports()
        for service in target.services:
            if service.oneoff is None:
                self.service(service)
        for service in target.services:
            if service.oneoff is not None:
                self.one_off(service, service.oneoff)
        if not options.no_start:
            self.waits()

    def waits(self) -> None:
        """Wait for what others depend on, also where these run already, as docker compose does.

        A database that does not answer any more makes the next `up` fail.
        """
        for service in self.target.services:
            if service.oneoff is None and service.scale:
                self.starts.before(service)
        if self.options.wait:
            self.starts.wait_for_all()

    # What is not in the file any more ---------------------------------------------------------------------

    def leftovers(self) -> None:
        """Containers of a `run --rm` that has been killed, or has left them in the background."""
        for container in self.observed.containers:
            if container.auto_remove and not container.running:
                self.plan.add(RemoveContainer(container.name, volumes=True), cause="run --rm has ended")

    def orphans(self) -> None:
        if not self.options.remove_orphans:
            return
        for container in self.observed.containers:
            left = container.service not in self.options.known and container.name not in self.claimed
            if container.oneoff:
                left = not container.running and not container.auto_remove  # who runs it still waits for it
            if left:
                self.remove(container, "orphan")

    def remove(self, container: ObservedContainer, cause: str) -> int:
        after = self.stop(container, cause)
        return self.plan.add(RemoveContainer(container.name), cause=cause, after=after)

    def stop(
        self, container: ObservedContainer, cause: str, after: tuple[int, ...] | list[int] = ()
    ) -> list[int]:
        if container.name in self.stopped_for:
            return [self.stopped_for[container.name]]
        if not container.running:
            return []
        stop = self.plan.add(StopContainer(container.name, self.options.timeout), cause=cause, after=after)
        self.stopped_for[container.name] = stop
        return [stop]

    # Networks and volumes ---------------------------------------------------------------------------------

    def networks(self) -> None:
        present = {network.key: network for network in self.observed.networks if network.key}
        for former in self.observed.networks:
            if not former.key:
                self.plan.add(RemoveNetwork(former.name), cause="replaced by another one")
        for key, wanted in self.target.networks.items():
            if wanted.external:
                if wanted.name in self.observed.lost:
                    action = CreateNetwork(wanted.name, key)
                    self.made[f"network {key}"] = self.plan.add(action, cause="only its record is there")
                continue
            network = present.get(key)
            if network is None:
                self.made[f"network {key}"] = self.plan.add(
                    CreateNetwork(wanted.name, key), cause="new", undo=RemoveNetwork(wanted.name)
                )
            elif (network.config_hash, network.name) != (wanted.config_hash, wanted.name):
                self.replace_network(wanted, network.name, network.users)
            elif not network.whole:
                self.made[f"network {key}"] = self.plan.add(
                    CreateNetwork(wanted.name, key), cause="only its record is there"
                )

    def replace_network(self, wanted: WantedNetwork, old_name: str, users: tuple[str, ...]) -> None:
        if users:
            raise PlanError(
                f"network {old_name} has changed but is in use by {', '.join(users)}",
                hint="stop those containers first",
            )
        self.changed_networks.add(wanted.key)
        stops: list[int] = []
        for service in self.target.services:
            if wanted.key in (service.config.get("networks") or {}):
                for container in self.containers_of.get(service.name, []):
                    stops += self.stop(container, f"network {wanted.key} changed")
        removal = self.plan.add(RemoveNetwork(old_name), cause="its configuration changed", after=stops)
        self.made[f"network {wanted.key}"] = self.plan.add(
            CreateNetwork(wanted.name, wanted.key),
            cause="its configuration changed",
            after=[removal],
            undo=RemoveNetwork(wanted.name),
        )

    def volumes(self) -> None:
        present = {(volume.key, volume.name) for volume in self.observed.volumes}
        for key, wanted in self.target.volumes.items():
            if wanted.external:
                if wanted.name not in self.observed.external_volumes:
                    raise PlanError(
                        f"volume {wanted.name} is declared as external, but there is none of that name",
                        hint=f"start the project that owns it, or remove 'external: true' from volume {key}",
                    )
            elif (key, wanted.name) not in present:
                self.made[f"volume {key}"] = self.plan.add(CreateVolume(wanted.name, key), cause="new")

    # Published ports --------------------------------------------------------------------------------------

    def hand_over_ports(self) -> None:
        """Stop early who publishes what another service wants now; `start` waits for that."""
        for service in self.target.services:
            others = [other.config for other in self.target.services if other.name != service.name]
            wanted = {port for config in others for port in published(config)}
            for container in self.containers_of.get(service.name, []) if service.oneoff is None else ():
                if wanted & published(self.config_of(container)):
                    cause = self.cause_to_leave(service, container)
                    if cause:
                        self.stop(container, cause)

    def after_freeing(self, config: Mapping[str, Any]) -> list[int]:
        """The operations that stop whoever still has a port that `config` publishes."""
        wanted = published(config)
        found = []
        for name, operation in self.stopped_for.items():
            if wanted & published(self.config_of(self.by_name[name])):
                found.append(operation)
        return found

    def config_of(self, container: ObservedContainer) -> Mapping[str, Any]:
        """What a container was made from."""
        if container.config is not None:
            return container.config
        return next((s.config for s in self.target.services if s.name == container.service), {})

    # Services ---------------------------------------------------------------------------------------------

    def service(self, service: Wanted) -> None:
        for number in range(1, service.scale + 1):
            self.container(service, number, service.container(self.target.project, number))
        for container in self.containers_of.get(service.name, []):
            if container.name not in self.claimed:
                self.remove(container, self.cause_to_leave(service, container))

    def one_off(self, service: Wanted, oneoff: OneOff) -> None:
        """The container of a `run`; its start is the last operation of the plan."""
        action = CreateContainer(oneoff.name, service.name, oneoff.number, oneoff=True)
        after = [*self.resources(service), *self.starts.before(service)]
        undo = RemoveContainer(action.target, volumes=True)
        created = self.plan.add(action, cause="run", after=after, undo=undo)
        self.plan.add(StartContainer(action.target), after=[created])

    def cause_to_leave(self, service: Wanted, container: ObservedContainer) -> str:
        """Why a container of the service cannot stay as it is, or ""."""
        if container.number > service.scale:
            return f"scaled to {service.scale}"
        if container.name != service.container(self.target.project, container.number):
            return "renamed"
        return self.cause_to_recreate(service, container)

    def container(self, service: Wanted, number: int, name: str) -> None:
        existing = self.by_name.get(name)
        if existing is None:
            action = CreateContainer(name, service.name, number)
            self.create_and_start(service, action, "new", [])
            return
        cause = self.cause_to_recreate(service, existing)
        if cause:
            self.recreated.add(service.name)
            self.replaced.add(name)
            guests = self.stop_sharers(existing)
            stops = [*guests, *self.stop(existing, cause, after=guests)]
            fresh = self.options.fresh_volumes
            action = CreateContainer(name, service.name, number, replaces=name, fresh_volumes=fresh)
            self.create_and_start(service, action, cause, stops)
            return
        restart = next((d for d, how in service.dependencies.items() if self.restarts_with(d, how)), None)
        if restart is not None and existing.running:
            stops = self.stop(existing, f"{restart} was recreated")
            self.start(service, name, f"{restart} was recreated", stops)
        elif existing.status == "paused" and not self.options.no_start:
            self.starts.add(service.name, self.plan.add(UnpauseContainer(name), cause="it is paused"))
        elif not existing.running:
            before = [] if existing.connected or self.options.no_start else [self.reconnect(service, name)]
            self.start(service, name, f"it is {existing.status}", before)

    def reconnect(self, service: Wanted, name: str) -> int:
        """Give back what a restart of the machine took of a container's network."""
        keys = service.config.get("networks") or {}
        after = [operation for key in keys for operation in self.after_making(f"network {key}")]
        return self.plan.add(ReconnectContainer(name), cause="its network is gone", after=after)

    def stop_sharers(self, owner: ObservedContainer) -> list[int]:
        """Stop who lives in the namespaces of `owner` before it goes; they are all recreated after it."""
        stops: list[int] = []
        services = {service.name for service in self.target.services}
        for container in self.observed.containers:
            if owner.name in container.shares.values() and container.service in services:
                stops += self.stop(container, f"{owner.name} is recreated")
        return stops

    def restarts_with(self, dependency: str, how: Mapping[str, Any]) -> bool:
        return bool(how.get("restart")) and dependency in self.recreated

    def cause_to_recreate(self, service: Wanted, existing: ObservedContainer) -> str:
        """Why the container cannot stay, or ""."""
        if not existing.whole:
            return "half-made"
        for kind, owner in existing.shares.items():
            if not owner:
                return f"the container whose {kind} namespace it shares is gone"
            if owner in self.replaced:
                return f"{owner}, whose {kind} namespace it shares, is recreated"
        for lender in sorted(existing.lenders):
            if not lender:
                return "the container whose mounts it has is gone"
            if lender in self.replaced:
                return f"{lender}, whose mounts it has, is recreated"
        if not existing.connected and existing.running:
            return "its network is gone"
        if existing.service != service.name:
            return f"it was of service {existing.service}"
        named = not self.options.named or service.name in self.options.named
        if named and self.options.force_recreate:
            return "--force-recreate"
        if self.options.recreate_dependencies and not named:
            return "--always-recreate-deps"
        if self.options.no_recreate:
            return ""
        for key in service.config.get("networks") or {}:
            if key in self.changed_networks:
                return f"network {key} changed"
        if existing.config_hash != service.config_hash:
            return changes(existing.config or {}, service.config)
        for kind, key, name, there in self.attached(service, existing):
            if there is not None and name not in there:
                return f"{kind} {key} changed"
        for key, digest in service.contents.items():
            if existing.contents is not None and existing.contents.get(key) != digest:
                return f"{key} changed"
        image = self.observed.images.get(service.image)
        if image is not None and image != existing.image:
            return f"image {service.image} is newer"
        return ""

    def attached(
        self, service: Wanted, existing: ObservedContainer
    ) -> Iterator[tuple[str, str, str, frozenset[str] | None]]:
        """What a container should be attached to, networks, volumes, images: kind, key, name; what it is."""
        for key in service.config.get("networks") or {}:
            if key in self.target.networks:
                yield "network", key, self.target.networks[key].name, existing.networks
        for mount in service.config.get("volumes") or []:
            if mount.get("type") == "volume" and mount.get("source") in self.target.volumes:
                key = mount["source"]
                yield "volume", key, self.target.volumes[key].name, existing.volumes
        for name in service.mounted_images:
            if name in self.observed.images:
                yield "image", name, self.observed.images[name], existing.mounted_images

    def create_and_start(
        self, service: Wanted, action: CreateContainer, cause: str, stops: list[int]
    ) -> None:
        after = [*stops, *self.resources(service)]
        # What is to be replaced may have volumes that its successor inherits; a new one has nothing to lose.
        undo = RemoveContainer(action.target, volumes=True) if action.replaces is None else None
        created = self.plan.add(action, cause=cause, after=after, undo=undo)
        self.made[f"container {action.target}"] = created
        self.start(service, action.target, "", [created])

    def resources(self, service: Wanted) -> list[int]:
        """The operations that make the networks and volumes of a service, and whose mounts it takes over."""
        after: list[int] = []
        for other in self.target.services:
            if other.name in service.lenders:
                after += self.after_making(f"container {other.container(self.target.project, 1)}")
        for key in service.config.get("networks") or {}:
            after += self.after_making(f"network {key}")
        for mount in service.config.get("volumes") or []:
            if mount.get("type") == "volume" and mount.get("source"):
                after += self.after_making(f"volume {mount['source']}")
        return after

    def after_making(self, what: str) -> list[int]:
        return [self.made[what]] if what in self.made else []

    def start(self, service: Wanted, name: str, cause: str, after: list[int]) -> None:
        if self.options.no_start:
            return
        after = after + self.after_freeing(service.config)
        after += self.starts.before(service)
        self.starts.add(service.name, self.plan.add(StartContainer(name), cause=cause, after=after))
