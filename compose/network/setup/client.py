"""Network set-up: a process forked before anything heavy is imported, and the client that talks to it.

pyroute2 takes 160 ms to import, and its interfaces refuse to work inside a running event loop. So the command
line forks a child first thing (`fork_setup`), which imports while the command line imports its own things,
waits for requests and ends when its socket closes. A request is one batch for many objects:

    request     length (4 bytes), JSON [name of the operation, arguments]
    answer      length (4), number of descriptors (4), JSON {"value": ...} or {"error": ..., "hint": ...};
                then the descriptors, in groups, each with one byte

One lock (RUN/network.lock) is held for the length of a request, so that two commands never change the host's
rules or the pins at once. A child whose command was killed finishes its request: what it makes is whole, and
named so that the next command finds it.
"""

from __future__ import annotations

import _socket
import os

from compose.errors import NetworkError
from compose.state.files import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any

    from compose.network.types import ContainerLinks, Endpoint, Leftover, NetworkSpec, Uplink
    from compose.runtime import spec
    from compose.state.paths import Paths

    Container = ContainerLinks | tuple[str, Sequence[Endpoint | spec.Endpoint], bool]

_HEADER_SIZE = 8
_GROUP = 200
"""Descriptors in one message; the kernel allows 253."""
_SCM_RIGHTS = 1
_SIGINT, _SIGTERM, _SIGHUP, _SIGKILL = 2, 15, 1, 9


def fork_setup(paths: Paths) -> SetupClient:
    """Fork the set-up process; to be called before threads are made and locks are taken."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ours.close()
            _serve(theirs, paths)
            code = 0
        finally:
            os._exit(code)
    theirs.close()
    return SetupClient(ours, pid)


class SetupClient:
    """Blocking requests to the set-up process; for one thread at a time. A context manager.

    Every method raises `NetworkError`. Creating twice changes nothing, and completes what a killed run left;
    the `remove_` methods go on past errors and return them, one line each.
    """

    def __init__(self, connection: _socket.socket, pid: int) -> None:
        self._socket = connection
        self._pid = pid
        self._used = False

    def __enter__(self) -> SetupClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; at once when it was never asked anything."""
        if not self._pid:
            return
        self._socket.close()
        pid, self._pid = self._pid, 0
        if not self._used:
            os.kill(pid, _SIGKILL)  # it may still be importing
        os.waitpid(pid, 0)

    def create_sandbox(self, project: str, *, uplink: bool = True) -> Uplink | None:
        """Make a project's namespace, its rules and its way out; `types.SHARED` for networks of no project.

        Also writes ``project_run/uplink.json``. None without `uplink`.
        """
        from compose.network.types import Uplink

        value, _ = self._ask("create_sandbox", [project, uplink])
        return Uplink(*value) if value else None

    def create_networks(self, networks: Sequence[NetworkSpec]) -> list[str]:
        """Make the bridges of networks, in sandboxes that are there; returns warnings, one line each."""
        return list(dict.fromkeys(self._ask("create_networks", [networks])[0]))

    def create_containers(self, project: str, containers: Sequence[Container]) -> dict[str, tuple[int, int]]:
        """Make containers' namespaces and connect them.

        A container is `types.ContainerLinks`, or the first three fields of it. The result holds, for each
        that wants names, the descriptors of two sockets at 127.0.0.11 in its namespace: UDP, then TCP
        (listening). They belong to the caller.
        """
        value, descriptors = self._ask("create_containers", [project, _plain(containers)])
        return {
            identity: (descriptors[2 * number], descriptors[2 * number + 1])
            for number, identity in enumerate(value)
        }

    def remove_containers(self, project: str, containers: Sequence[Container | str]) -> list[str]:
        """Disconnect containers and let go of their namespaces; ids alone are enough, but slower."""
        return list(self._ask("remove_containers", [project, self._named(containers)])[0])

    def remove_networks(self, networks: Sequence[NetworkSpec]) -> list[str]:
        """Delete the bridges of networks; containers on them lose that connection."""
        return list(self._ask("remove_networks", [networks])[0])

    def remove_sandbox(self, project: str, containers: Sequence[Container | str] = ()) -> list[str]:
        """Delete every link in a project's namespace, let go of it, and undo its uplink on the host.

        `containers` of the project go first; that way all links go together, which is much the fastest.
        """
        return list(self._ask("remove_sandbox", [project, self._named(containers)])[0])

    def sweep(
        self,
        *,
        live_containers: Collection[str],
        live_projects: Collection[str],
        live_networks: Collection[str] | None = None,
        remove: bool = True,
    ) -> tuple[list[Leftover], list[str]]:
        """Find, and remove, what has our names and no owner; returns it, and what went wrong.

        `live_projects` are those whose sandbox has an owner (`types.SHARED` too, if it has).
        """
        from compose.network.types import Leftover

        arguments = [
            list(live_containers),
            list(live_projects),
            None if live_networks is None else list(live_networks),
            remove,
        ]
        found, problems = self._ask("sweep", arguments)[0]
        return [Leftover(*one) for one in found], list(problems)

    @staticmethod
    def _named(containers: Sequence[Container | str]) -> list[list[Any]]:
        return _plain([(one, [], False) if isinstance(one, str) else one for one in containers])

    def _ask(self, operation: str, arguments: Sequence[Any]) -> tuple[Any, list[int]]:
        if not self._pid:
            raise NetworkError("network set-up was closed")
        self._used = True
        body = dumps([operation, arguments])
        try:
            self._socket.sendall(len(body).to_bytes(4, "big") + body)
            header = _receive(self._socket, _HEADER_SIZE)
            answer = loads(_receive(self._socket, int.from_bytes(header[:4], "big")))
            descriptors = _receive_descriptors(self._socket, int.from_bytes(header[4:], "big"))
        except (OSError, EOFError) as error:
            raise NetworkError(
                "network set-up ended in the middle of a request", hint="pycompose up"
            ) from error
        if "error" in answer:
            failure = NetworkError(answer["error"], hint=answer.get("hint"))
            if "traceback" in answer:  # of an error of ours, for --debug
                failure.add_note(answer["traceback"])
            raise failure
        return answer["value"], descriptors


def _plain(containers: Sequence[Any]) -> list[list[Any]]:
    """Containers as JSON carries them, endpoints as dictionaries or as lists of their fields."""
    return [[identity, list(endpoints), *rest] for identity, endpoints, *rest in containers]


def _receive(connection: _socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 16))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _receive_descriptors(connection: _socket.socket, count: int) -> list[int]:
    import array

    found = array.array("i")
    while len(found) < count:
        data, ancillary, flags, _ = connection.recvmsg(
            1, _socket.CMSG_SPACE(_GROUP * found.itemsize), _socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, payload in ancillary:
            if level == _socket.SOL_SOCKET and kind == _SCM_RIGHTS:
                found.frombytes(payload[: len(payload) - len(payload) % found.itemsize])
        if not data or flags & _socket.MSG_CTRUNC:
            for descriptor in found:
                os.close(descriptor)
            if not data:
                raise EOFError
            raise NetworkError(f"no room for {count} descriptors of name services", hint="ulimit -n 4096")
    return list(found)


# -- the child ---------------------------------------------------------------------------------------------


def _serve(connection: _socket.socket, paths: Paths) -> None:
    """Answer requests until the other side closes."""
    import gc
    import signal

    gc.disable()  # this process is short, and the imports are half of its life
    for number in (_SIGINT, _SIGTERM, _SIGHUP):  # sent to the whole group; the command decides what it means
        signal.signal(number, signal.SIG_IGN)
    from compose.linux.limits import raise_descriptor_limit
    from compose.network.setup.server import Server

    raise_descriptor_limit()
    server = Server(paths)
    while True:
        try:
            body = _receive(connection, int.from_bytes(_receive(connection, 4), "big"))
        except (EOFError, ConnectionError):
            return
        answer, descriptors = server.handle(*loads(body))
        reply = dumps(answer)
        try:
            connection.sendall(len(reply).to_bytes(4, "big") + len(descriptors).to_bytes(4, "big") + reply)
            _send_descriptors(connection, descriptors)
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def _send_descriptors(connection: _socket.socket, descriptors: Sequence[int]) -> None:
    import array

    for start in range(0, len(descriptors), _GROUP):
        group = array.array("i", descriptors[start : start + _GROUP])
        connection.sendmsg([b"\0"], [(_socket.SOL_SOCKET, _SCM_RIGHTS, group)])
