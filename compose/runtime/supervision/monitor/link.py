"""A monitor's side of its channel to the keeper, and what it does when the keeper dies.

The monitor remembers every descriptor that the keeper holds for its container: its own, and those that the
engine has put there (listeners, name-service sockets). When the channel ends, the first monitor that gets
the lock starts a new keeper, and each gives it everything back. So a keeper's death costs nothing but netd's
open connections.
"""

from __future__ import annotations

import os

from compose.errors import ComposeError
from compose.linux import sockets
from compose.runtime import protocol
from compose.runtime.supervision import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.linux.sockets import Socket
    from compose.runtime.loop import Loop
    from compose.runtime.protocol import Message
    from compose.state.paths import Paths

_FIRST_RETRY = 0.1
_LONGEST_RETRY = 10.0


class Link:
    """The channel to the keeper of the moment."""

    def __init__(self, loop: Loop, paths: Paths, project: str, identity: str, channel: Socket) -> None:
        self._loop = loop
        self._paths = paths
        self._project = project
        self._identity = identity
        self._channel: Socket | None = channel
        self._retry = _FIRST_RETRY
        self.held: dict[str, list[int]] = {}
        self.on_end: Callable[[], None] = _nothing
        """Called when the keeper wants this monitor to kill its container and leave."""
        self.on_reconnect: Callable[[], None] = _nothing
        """Called before another keeper is looked for."""
        self.on_change: Callable[[], None] = _nothing
        """Called when the engine has put something there, or dropped it."""
        loop.reader(channel.fileno(), self._hear)

    def own(self, name: str) -> list[int]:
        """The descriptors that this monitor, or its predecessor, has put under `name`."""
        return self.held.get(self._full(name), [])

    def own_names(self, prefix: str) -> list[str]:
        """The names below `prefix` under which there are descriptors, ours or our predecessor's."""
        full = self._full("")
        return [name.removeprefix(full) for name in self.held if name.startswith(full + prefix)]

    def put_own(self, named: dict[str, list[int]]) -> None:
        """Let the keeper hold copies of descriptors, which belong to the link from now on."""
        full = {self._full(name): descriptors for name, descriptors in named.items()}
        self.held.update(full)
        self._put(full)

    def give(self, named: dict[str, list[int]]) -> None:
        """Let the keeper and netd hold copies of what the engine would have put there."""
        self.held.update(named)
        self._put(named)

    def release(self, *names: str) -> None:
        """Close descriptors of ours, here and at the keeper's; those that there are not are no error."""
        self._release([name for name in map(self._full, names) if name in self.held])

    def free_ports(self) -> None:
        """Close the published ports: whoever has ended for good listens no more."""
        self._release([name for name in self.held if name.startswith("listen/")])

    def _release(self, found: list[str]) -> None:
        for name in found:
            for number in self.held.pop(name):
                self._loop.forget(number)
                os.close(number)
        if found:
            self._say("drop", names=found)

    def _full(self, name: str) -> str:
        return f"monitor/{self._identity}/{name}"

    def _put(self, named: dict[str, list[int]]) -> None:
        for names, descriptors in protocol.batches(named):
            self._say("put", descriptors, names=names)

    def done(self) -> None:
        """The container has ended for good."""
        self._say("done")

    def exit_code(self, pid: int, started: int) -> int | None:
        """The exit code of a process that was not our child, if the keeper has waited for it."""
        if not self._say("reaped", pid=pid, start_time=started) or self._channel is None:
            return None
        while True:
            try:
                message, received = protocol.receive(self._channel)
            except (OSError, ValueError):
                return None
            if message is None:
                return None
            if "ok" in message:
                code = message.get("exit_code")
                return None if code is None else int(code)
            self._take(message, received)

    def _say(self, op: str, descriptors: list[int] | tuple[int, ...] = (), **fields: object) -> bool:
        if self._channel is None:
            return False
        try:
            protocol.request(self._channel, op, descriptors, **fields)
        except OSError:  # its death will be heard by `_hear`
            return False
        return True

    def _hear(self) -> None:
        assert self._channel is not None
        try:
            message, received = protocol.receive(self._channel)
        except (OSError, ValueError):
            return
        if message is None:
            self._loop.forget(self._channel.fileno())
            self._channel.close()
            self._channel = None
            self._reconnect()
        else:
            self._take(message, received)

    def _take(self, message: Message, received: list[int]) -> None:
        """The keeper passes on what the engine has put or dropped, or wants us to end."""
        op, name = message.get("op"), message.get("name", "")
        if op == "end":
            self.on_end()
            return
        for number in self.held.pop(name, []):
            os.close(number)
        if op == "put":
            self.held[name] = received
        self.on_change()

    def _reconnect(self) -> None:
        """Find or start a keeper, and give it everything; try again later when that does not work."""
        self.on_reconnect()
        try:
            spawn.ensure_successor(self._paths, self._project)
            channel = sockets.connect(self._paths.project_run(self._project), protocol.KEEPER_SOCKET)
        except (OSError, ComposeError):
            self._later()
            return
        try:
            protocol.request(channel, "register", id=self._identity, pid=os.getpid())
            protocol.check(protocol.receive(channel)[0])
        except (OSError, ComposeError, ValueError):
            channel.close()
            self._later()
            return
        self._channel = channel
        self._loop.reader(channel.fileno(), self._hear)
        self._put(self.held)
        self._loop.after(_LONGEST_RETRY, self._forget_failures)

    def _later(self) -> None:
        self._retry = min(self._retry * 2, _LONGEST_RETRY)
        self._loop.after(self._retry, self._reconnect)

    def _forget_failures(self) -> None:
        self._retry = _FIRST_RETRY


def _nothing() -> None:
    """No one is concerned."""
