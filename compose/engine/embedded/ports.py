"""Published ports: taken on the host before anything is made, or everything is refused.

What a container that is stopped in the same plan has cannot be taken beforehand; its successor's ports are
opened between the stop and the start.
"""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from compose.errors import NetworkError, StateError
from compose.network.listeners import Port, bind_listeners, close_all
from compose.runtime.records import RUNNING, read_spec, read_state
from compose.runtime.spec import PORTS_FILE
from compose.state.files import read_json, replace_json

from . import blame, networks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.network.listeners import Listener
    from compose.plan.actions import CreateContainer

    from .context import Context

_PATIENCE = 10.0
"""Seconds that netd has to close a port which the keeper has closed; on a machine that is busy."""


def take(
    context: Context,
    creations: Sequence[CreateContainer],
    started: Sequence[str],
    leaving: Sequence[str] = (),
) -> None:
    """Open the listeners of new containers and of existing ones in `started`; raises when one is taken.

    The containers called `leaving` run now and will be stopped: who wants a port of theirs gets it after
    that, by `take_late`.
    """
    wanted: dict[str, list[Port]] = {}
    owners: dict[str, str] = {}
    for action in creations:
        identity = context.identities[action.target]
        owners[identity] = action.target
        wanted[identity] = _of_new(context, action, identity)
    for name in started:
        row = context.row(name)
        owners[row.id] = name
        wanted[row.id] = _of_existing(context, row.id, name)
    if not any(wanted.values()):
        return
    freed = _free_ended(context) or any(_ended_just_now(context, context.row(name).id) for name in started)
    given_up = _published_by(context, leaving)
    now = [port for ports in wanted.values() if not given_up & _numbers(ports) for port in ports]
    try:
        listeners = _bind(now, freed=freed)
    except NetworkError as error:
        services = {action.target: action.service for action in creations}
        services |= {name: context.row(name).service for name in started}
        blame.place(context.project, services.get(error.message.partition(": ")[0], ""), error)
        raise
    for listener in listeners:
        context.listeners.setdefault(owners[listener.container], []).append(listener)


def take_late(context: Context, identity: str, name: str) -> list[Listener]:
    """Open the listeners of one container, just before it starts."""
    return _bind(_of_existing(context, identity, name), freed=True)


def _bind(wanted: Sequence[Port], *, freed: bool) -> list[Listener]:
    """Open listeners; where ports were `freed` just now, wait until the last process has let go of them."""
    deadline = time.monotonic() + (_PATIENCE if freed else 0.0)
    while True:
        try:
            return bind_listeners(wanted)
        except NetworkError as error:
            cause = error.__cause__
            taken = isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
            if not taken or time.monotonic() >= deadline:
                raise
        time.sleep(0.01)


def _free_ended(context: Context) -> bool:
    """Have the ports closed of containers of the project that have ended; whether there were any."""
    keeper = context.found_keeper()
    if keeper is None:
        return False
    held = [name for name in keeper.names() if name.startswith("listen/")]
    ended = {identity for identity in {name.split("/")[1] for name in held} if not _runs(context, identity)}
    if ended:
        keeper.drop(*(name for name in held if name.split("/")[1] in ended))
    return bool(ended)


def _ended_just_now(context: Context, identity: str) -> bool:
    """Whether the port of a container that has ended may still be open in netd."""
    try:
        finished = read_state(context.paths, identity).get("finished_at", 0)
    except StateError:
        return False
    return time.time_ns() - finished < _PATIENCE * 1e9


def _runs(context: Context, identity: str) -> bool:
    try:
        return read_state(context.paths, identity).get("status") in RUNNING
    except StateError:
        return False


def _published_by(context: Context, names: Sequence[str]) -> set[tuple[str, int]]:
    """Protocols and numbers of the ports that containers have now."""
    found: set[tuple[str, int]] = set()
    for name in names:
        try:
            recorded = read_json(f"{context.paths.container(context.row(name).id)}/{PORTS_FILE}")
            found |= {(str(port["protocol"]), int(port["published"])) for port in recorded}
        except (OSError, ValueError, KeyError, TypeError):
            continue  # it has published nothing, or nobody knows
    return found


def _numbers(ports: Sequence[Port]) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for port in ports:
        first, _, last = port.published.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found |= {(port.protocol, number) for number in range(int(first), int(last or first) + 1)}
    return found


def _of_new(context: Context, action: CreateContainer, identity: str) -> list[Port]:
    config = context.wanted(action.service).config
    endpoints = networks.endpoints(context, context.wanted(action.service), action.number)
    return _ports(identity, action.target, config.get("ports") or (), endpoints)


def _of_existing(context: Context, identity: str, name: str) -> list[Port]:
    spec = read_spec(context.paths, identity)
    return _ports(identity, name, spec.get("ports") or (), spec.get("endpoints") or ())


def recorded(context: Context, identity: str, name: str) -> list[Port]:
    """The ports that a container has got, each with the number and the address that it has got."""
    try:
        found = read_json(f"{context.paths.container(identity)}/{PORTS_FILE}")
        endpoints = read_spec(context.paths, identity).get("endpoints") or ()
        return _ports(identity, name, found, endpoints)
    except (OSError, ValueError, KeyError, TypeError, StateError):
        return []  # it has published nothing, or nobody knows


def _ports(
    identity: str, owner: str, ports: Sequence[Mapping[str, Any]], endpoints: Sequence[Mapping[str, Any]]
) -> list[Port]:
    """Ports lead to the first addresses with a way out; without any nothing is published, as with Docker."""
    outward = [endpoint for endpoint in endpoints if not endpoint.get("internal")]
    if not outward:
        return []
    ipv4, ipv6 = (str(outward[0].get(key) or "").partition("/")[0] for key in ("ipv4", "ipv6"))
    sandbox = str(outward[0].get("sandbox") or "")
    return [Port.of(identity, ipv4, port, owner=owner, target_ip6=ipv6, sandbox=sandbox) for port in ports]


def record(context: Context, identity: str, listeners: Sequence[Listener]) -> None:
    """Write down which ports were got, also in the place of ranges and of none, for whoever lists them."""
    value = [
        {
            "host_ip": listener.host_ip,
            "published": listener.host_port,
            "target": listener.target,
            "protocol": listener.protocol,
        }
        for listener in listeners
    ]
    replace_json(f"{context.paths.container(identity)}/{PORTS_FILE}", value, durable=False)


def release(listeners: Sequence[Listener]) -> None:
    """Close our copies of listeners."""
    close_all(listeners)
