"""What one command holds while it works on a project."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from compose.errors import NetworkError, PlanError
from compose.images.store import ImageStore
from compose.linux.limits import raise_descriptor_limit
from compose.network.listeners import close_all
from compose.network.setup.client import fork_setup
from compose.runtime.client import Keeper
from compose.runtime.supervision.revival import Revival
from compose.state.index import Index
from compose.volumes import VolumeStore

from . import areas
from .batch import Batcher
from .hooks.before import Preparation
from .turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from compose.images.catalogue import Image
    from compose.images.session import Session
    from compose.model import Project
    from compose.network.listeners import Listener
    from compose.network.setup.client import SetupClient
    from compose.network.types import ContainerLinks, NetworkSpec
    from compose.plan.target import Target, Wanted
    from compose.state.index import ContainerRow
    from compose.state.lock import ProjectLock
    from compose.state.paths import Paths

    Detail = Callable[[str, str, float | None], None]


def no_detail(what: str, status: str, fraction: float | None) -> None:
    """For those who do not want to hear of steps inside an action."""


def no_warning(text: str) -> None:
    """For those who do not want to be warned."""


class Context:
    """Paths, index and stores; keeper and network set-up when they are first needed."""

    def __init__(
        self,
        paths: Paths,
        project_name: str,
        *,
        project: Project | None = None,
        target: Target | None = None,
        network: SetupClient | None = None,
        detail: Detail = no_detail,
        warn: Callable[[str], None] = no_warning,
        no_cache: bool = False,
    ) -> None:
        raise_descriptor_limit()  # many containers have many files, a login shell has 1024
        os.umask(0o022)  # containers see what we make, and whoever types the command may have any umask
        self.paths = paths
        self.name = project_name
        self.project = project
        self.target = target
        self.detail = detail
        self.warn = warn
        self.no_cache = no_cache
        self.index = Index(paths)
        self.turn = Turn(None, lambda: True)
        self.revival = Revival(paths, project_name)
        self.images = ImageStore(paths)
        self.volumes = VolumeStore(paths)
        self.preparation = Preparation(
            paths,
            project_name,
            self.images,
            lambda *told: self.detail(*told),  # who listens may change
        )
        self.listeners: dict[str, list[Listener]] = {}
        """Container name -> its open ports, until the keeper has them."""
        self.volumes_of: dict[str, frozenset[str]] = {}
        """Container id -> the names of its volumes, as far as that was asked."""
        self.leaving: frozenset[str] = frozenset()
        """The names of the containers that the plan removes."""
        self.identities: dict[str, str] = {}
        """Container name -> id, for those that the plan makes."""
        self.retired: dict[str, str] = {}
        """Network name -> id of the network that had it before, and has still to be removed."""
        self.new_networks: Batcher[NetworkSpec] = Batcher(self._make_networks)
        self.old_networks: Batcher[NetworkSpec] = Batcher(self._remove_networks)
        self.new_links: Batcher[ContainerLinks] = Batcher(self.make_links)
        self.old_links: Batcher[ContainerLinks] = Batcher(self._remove_links)
        self._network = network
        self._network_lock = threading.Lock()
        self._keeper: Keeper | None = None
        self._session: Session | None = None
        self._areas: frozenset[str] | None = None
        self._held = contextlib.ExitStack()

    @contextlib.contextmanager
    def network(self) -> Iterator[SetupClient]:
        """The process that speaks netlink, for one thread at a time."""
        with self._network_lock:
            if self._network is None:
                self._network = fork_setup(self.paths)
            yield self._network

    def _make_networks(self, networks: list[NetworkSpec]) -> None:
        assert self.target is not None
        own = {network.name for network in self.target.networks.values() if not network.external}
        outward = {network.sandbox for network in networks if not network.internal}
        if any(not row.internal for row in self.index.networks(self.name) if row.name in own):
            outward.add(self.name)
        warnings: list[str] = []
        with self.network() as client:
            for sandbox in dict.fromkeys(network.sandbox for network in networks):
                found = client.create_sandbox(sandbox, uplink=sandbox in outward)
                warnings += found.warnings if found is not None else ()
            warnings += client.create_networks(networks)
        for warning in warnings:
            self.warn(warning)

    def _remove_networks(self, networks: list[NetworkSpec]) -> None:
        with self.network() as client:
            problems = client.remove_networks(networks)
        if problems:
            raise NetworkError("; ".join(problems))

    def make_links(self, containers: list[ContainerLinks]) -> None:
        """Make and furnish namespaces; the sockets of the name service go to the keeper."""
        with self.network() as client:
            sockets = client.create_containers(self.name, containers)
        try:
            if sockets:
                self.keeper().put_all({f"dns/{identity}": pair for identity, pair in sockets.items()})
        finally:
            for pair in sockets.values():
                for descriptor in pair:
                    os.close(descriptor)

    def _remove_links(self, containers: list[ContainerLinks]) -> None:
        with self.network() as client:
            problems = client.remove_containers(self.name, containers)
        keeper = self.found_keeper()
        if keeper is not None:
            ids = {container.id for container in containers}
            held = [
                name for name in keeper.names() if name.split("/", 2)[1:2] and name.split("/", 2)[1] in ids
            ]
            if held:
                keeper.drop(*held)
        if problems:
            raise NetworkError("; ".join(problems))

    def keeper(self) -> Keeper:
        """The project's keeper, started when there is none."""
        if self._keeper is None:
            self._keeper = Keeper.ensure(self.paths, self.name)
        return self._keeper

    def found_keeper(self) -> Keeper | None:
        """The project's keeper when it runs."""
        return self._keeper or Keeper.find(self.paths, self.name)

    def definitions(self) -> dict[str, Mapping[str, Mapping[str, Any]]]:
        """What the services of the project name: its volumes, configs and secrets."""
        project = self.project
        assert project is not None
        found: dict[str, Any] = {"volumes": project.volumes, "configs": project.configs}
        return {**found, "secrets": project.secrets}

    def writable_areas(self) -> frozenset[str]:
        """The directories of the host that containers of the project can write to (areas.py)."""
        project = self.project
        assert project is not None
        if self._areas is None:
            self._areas = areas.of_project(project)
        return self._areas

    def image(self, reference: str) -> Image | None:
        """An image; its layers stay in the store until this command ends, or longer when a container has
        them."""
        if self._session is None:
            self._session = self._held.enter_context(self.images.session())
        return self._session.find(reference)

    def wanted(self, service: str) -> Wanted:
        """The service of that name in the project."""
        assert self.target is not None
        return next(found for found in self.target.services if found.name == service)

    def row(self, name: str) -> ContainerRow:
        """The container called `name`; PlanError when it is gone."""
        found = self.index.container_named(name)
        if found is None:
            raise PlanError(f"no such container: {name}")
        return found

    def hold(self, lock: ProjectLock) -> None:
        """The project is locked from here on, unless this command waits for something."""
        self.turn = Turn(lock, lambda: self.index.project(self.name) is not None)

    def is_gone(self) -> bool:
        """Whether nothing is recorded of the project, so that nobody needs its lock's file."""
        return not self.index.containers(self.name) and not self.index.networks(self.name)

    def close(self) -> None:
        """Let go of what the command held; what runs goes on."""
        for listeners in self.listeners.values():
            close_all(listeners)
        self.listeners.clear()
        self._held.close()
        if self._network is not None:
            self._network.close()
        self.index.close()
