"""What a command about existing containers works on: the project, its containers, and those it names."""

from __future__ import annotations

import contextlib

from compose.cli import project as projects
from compose.errors import ContainerError, StateError, UsageError
from compose.runtime.records import RUNNING, is_unwatched, read_spec, read_state, recorded_state
from compose.state.index import Index
from compose.state.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from compose.model import Project
    from compose.runtime.client import Keeper
    from compose.runtime.spec import ContainerSpec, ContainerState
    from compose.runtime.supervision.revival import Revival
    from compose.state.index import ContainerRow


class Container:
    """A container: its row in the index, its spec and its state when it was looked at."""

    __slots__ = ("row", "spec", "state")

    def __init__(self, row: ContainerRow, spec: ContainerSpec, state: ContainerState) -> None:
        self.row = row
        self.spec = spec
        self.state = state

    @property
    def status(self) -> str:
        return str(self.state.get("status", "created"))

    @property
    def runs(self) -> bool:
        return self.status in RUNNING


class Scope:
    """The containers of the project that the global options name."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.project: Project | None = projects.load_if_there(arguments)
        self.paths = Paths.from_environment()
        self.name = projects.project_name(arguments, self.project)
        self._revival: Revival | None = None
        self.refresh()

    def index(self) -> contextlib.closing[Index]:
        """The index, open as long as the block lasts."""
        return contextlib.closing(Index(self.paths))

    def refresh(self) -> None:
        """Look again which containers there are."""
        with self.index() as index:
            self.rows = index.containers(self.name)

    @property
    def keeper(self) -> Keeper:
        """The project's keeper."""
        from compose.runtime.client import Keeper

        return Keeper(self.paths, self.name)

    def check(self, services: Collection[str]) -> None:
        """Raise `UsageError` for a service that neither the file nor any container knows."""
        known = {row.service for row in self.rows}
        if self.project is not None:
            known |= {*self.project.services, *self.project.disabled}
        for service in services:
            if service not in known:
                raise UsageError(f"no such service: {service}")

    def is_orphan(self, row: ContainerRow) -> bool:
        """Whether the container belongs to a service that the file does not have."""
        if self.project is None:
            return False
        return row.service not in self.project.services and row.service not in self.project.disabled

    def look(self, row: ContainerRow) -> Container:
        """A container as it is now; one whose helpers were all killed has them again. Raises `StateError`."""
        spec = read_spec(self.paths, row.id)
        return Container(row, spec, read_state(self.paths, row.id, self.bring_back))

    def watch(self, rows: Iterable[ContainerRow]) -> None:
        """Bring back the helpers of those containers that run without any; damaged records do not matter."""
        for row in rows:
            with contextlib.suppress(StateError):
                if is_unwatched(recorded_state(self.paths, row.id)):
                    self.bring_back(row.id)

    def bring_back(self, identity: str) -> None:
        """Give a container that nobody watches its helpers again."""
        from compose.runtime.supervision.revival import Revival

        if self._revival is None:
            self._revival = Revival(self.paths, self.name)
        self._revival.bring_back(identity)

    def containers(self, services: Sequence[str] = (), *, oneoff: bool = True) -> list[Container]:
        """The containers of some services, or of all."""
        self.check(services)
        chosen = [row for row in self.rows if not services or row.service in services]
        return [self.look(row) for row in chosen if oneoff or not row.oneoff]

    @contextlib.contextmanager
    def steady(self, container: Container, command: str) -> Iterator[Container]:
        """A container as it is now; one that does not run is not started as long as the block lasts."""
        if container.runs:
            yield self.look(container.row)
            return
        from compose.state.lock import project_lock

        with project_lock(self.paths, self.name, command, projects.waiting):
            yield self.look(container.row)

    def running(self, service: str, number: int = 0) -> Container:
        """The running container of a service with this number; with 0 the first one. Raises
        `ContainerError`."""
        for found in self.containers([service], oneoff=False):
            if found.runs and number in (0, found.row.number):
                return found
        if number:
            raise ContainerError(f"service {service} is not running container #{number}")
        raise ContainerError(f"service {service} is not running", hint=f"pycompose up -d {service}")
