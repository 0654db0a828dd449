"""The embedded engine: our own runtime, images, networks and volumes behind the `Engine` protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ComposeError
from compose.plan import actions as a
from compose.runtime import records

from . import creation, durable, images, lifecycle, networks, removal, service_record, volumes, waiting
from .observe import images_of, observe
from .recorded import reconnect
from .reserve import reserve
from .threads import in_thread

if TYPE_CHECKING:
    from compose.plan.observed import Observed
    from compose.plan.plan import Plan

    from .context import Context


_WAITS = (a.WaitHealthy, a.WaitCompleted, a.BuildImage, a.FetchImage)
"""What changes nothing of the project: others may, meanwhile."""


class EmbeddedEngine:
    """See `compose.engine.protocol.Engine`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def observe(self) -> Observed:
        return observe(self._context)

    def images(self) -> dict[str, str]:
        """Image name -> id, for the names that the project uses and that are in the store."""
        return images_of(self._context)

    def prepare(self, plan: Plan) -> None:
        reserve(self._context, plan)

    def settle(self, plan: Plan) -> None:
        durable.settle(self._context, plan)

    async def perform(self, action: a.Action) -> None:
        """Carry out one action; what the system refuses becomes an error that names the action."""
        try:
            if isinstance(action, _WAITS):
                await self._perform(action)
                return
            async with self._context.turn.acting():
                await self._perform(action)
        except OSError as error:
            words = a.WORDS[type(action)]
            where = f": {error.filename}" if error.filename else ""
            raise ComposeError(f"{words.does} {action.target}: {error.strerror or error}{where}") from error

    async def _perform(self, action: a.Action) -> None:
        context = self._context
        match action:
            case a.BuildImage():
                await images.build(context, action)
            case a.FetchImage():
                await images.fetch(context, action)
            case a.RemoveImage():
                await images.remove(context, action.target)
            case a.CreateNetwork():
                await networks.create(context, action)
            case a.RemoveNetwork():
                await networks.remove(context, action.target)
            case a.CreateVolume():
                await in_thread(volumes.create, context, action)
            case a.RemoveVolume():
                await volumes.remove(context, action.target)
            case a.CreateContainer():
                await creation.create(context, action)
            case a.StartContainer():
                await lifecycle.start(context, action.target)
            case a.ReconnectContainer():
                await reconnect(context, action.target)
            case a.StopContainer():
                await lifecycle.stop(
                    context,
                    action.target,
                    action.grace_period,
                    resume=action.resume,
                    regardless=action.regardless,
                )
            case a.RestartContainer():
                await lifecycle.restart(context, action.target, action.grace_period)
            case a.KillContainer():
                await lifecycle.kill(context, action.target, action.signal)
            case a.PauseContainer():
                await lifecycle.pause(context, action.target, paused=True)
            case a.UnpauseContainer():
                await lifecycle.pause(context, action.target, paused=False)
            case a.RemoveContainer():
                await self._remove(action)
            case a.WaitHealthy():
                await self._wait_healthy(action)
            case a.WaitCompleted():
                row = context.row(action.target)
                await waiting.completed(context.paths, row.id, row.name, row.service)
            case a.RemoveSandbox():
                await networks.remove_sandbox(context)
                await in_thread(volumes.release, context)
            case a.LeaveSandbox():
                await networks.leave_sandbox(context, recorded=action.recorded)
                await in_thread(volumes.release, context)

    async def _remove(self, action: a.RemoveContainer) -> None:
        row = self._context.index.container_named(action.target)
        if row is not None:
            await removal.remove(self._context, row, with_volumes=action.volumes)

    async def _wait_healthy(self, action: a.WaitHealthy) -> None:
        from . import readiness

        row = self._context.row(action.target)
        spec = records.find_spec(self._context.paths, row.id)
        checked = spec is not None and spec.get("healthcheck") is not None
        if spec is not None and not checked and action.required:
            question = readiness.choose(service_record.read(self._context.paths, row.id), spec)
            if question is not None:
                await readiness.ready(self._context, row, question)
                return
        await waiting.healthy(
            self._context.paths, row.id, row.name, row.service, checked=checked, required=action.required
        )

    def close(self) -> None:
        self._context.close()
