"""The seam between plans and the outside world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from compose.plan.actions import Action
    from compose.plan.observed import Observed
    from compose.plan.plan import Plan


class Engine(Protocol):
    """What brings containers to life; bound to one project, used by one command under the project's lock."""

    def observe(self) -> Observed:
        """One snapshot of what is there of the project."""

    def prepare(self, plan: Plan) -> None:
        """Write down what `plan` will make, and take what only one can have: names, addresses, ports.

        Raises before anything is made when one of them cannot be had.
        """

    async def perform(self, action: Action) -> None:
        """Carry out one action. Doing it twice, or after a killed attempt, is no error."""

    def settle(self, plan: Plan) -> None:
        """Make what was carried out of `plan`, whole or in part, last over a power cut."""

    def close(self) -> None:
        """Let go of what the command held; what runs goes on."""
