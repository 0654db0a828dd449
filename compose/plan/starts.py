"""What starts in a plan, and what has to happen before something else may start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.plan.actions import WORDS, WaitCompleted, WaitHealthy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.plan.observed import ObservedContainer
    from compose.plan.plan import Plan
    from compose.plan.target import Target, Wanted


class Starts:
    """The starts of one plan, and the waits that their dependents share."""

    def __init__(
        self,
        plan: Plan,
        target: Target,
        by_name: Mapping[str, ObservedContainer],
        names: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`names` are the containers of each service; those that the target asks for, when it is None."""
        self.plan = plan
        self.target = target
        self.by_name = by_name
        self._names = names
        self._of_service: dict[str, list[int]] = {}
        """Service -> its start operations in this plan."""
        self._waits: dict[str, int] = {}

    def add(self, service: str, operation: int) -> None:
        """`operation` starts a container of `service`."""
        self._of_service.setdefault(service, []).append(operation)

    def before(self, service: Wanted) -> list[int]:
        """The operations that must be over before a container of `service` may start."""
        found: list[int] = []
        for dependency, how in service.dependencies.items():
            found += self.of_dependency(dependency, how)
        return found

    def of_dependency(self, name: str, how: Mapping[str, Any]) -> list[int]:
        """The operations that must be over before a service that depends on `name` may start."""
        service = next((other for other in self.target.services if other.name == name), None)
        if service is None:
            return []
        condition = how.get("condition", "service_started")
        if condition == "service_healthy":
            return self.wait(service, WaitHealthy)
        if condition == "service_completed_successfully":
            return self.wait(service, WaitCompleted)
        return self._of_service.get(name, [])

    def wait(
        self, service: Wanted, kind: type[WaitHealthy] | type[WaitCompleted], *, required: bool = True
    ) -> list[int]:
        """One wait a container, shared by everything that waits for it; none where it is over already.

        Without `required` a container that has no health check only has to run.
        """
        waits: list[int] = []
        for name in self._containers(service):
            key = f"{WORDS[kind].does} {name}"
            if key not in self._waits:
                if service.name not in self._of_service and self.is_over(name, kind):
                    continue
                action = WaitHealthy(name, required) if kind is WaitHealthy else WaitCompleted(name)
                self._waits[key] = self.plan.add(action, after=self._of_service.get(service.name, []))
            waits.append(self._waits[key])
        return waits

    def _containers(self, service: Wanted) -> Sequence[str]:
        if self._names is not None:
            return self._names.get(service.name, ())
        numbers = range(1, service.scale + 1)
        return [service.container(self.target.project, number) for number in numbers]

    def is_over(self, name: str, kind: type[WaitHealthy] | type[WaitCompleted]) -> bool:
        container = self.by_name.get(name)
        if container is None:
            return False
        if kind is WaitHealthy:
            return container.running and container.health == "healthy"
        return not container.running and container.exit_code == 0

    def wait_for_all(self) -> None:
        for service in self.target.services:
            self.wait(service, WaitHealthy, required=False)
