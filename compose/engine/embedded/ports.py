"""Published ports: taken on the host before anything is made, or everything is refused.

What a container that is stopped in the same plan has cannot be taken beforehand; its successor's ports are
opened between the stop and the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.network.listeners import Port, bind_listeners, close_all
from compose.runtime.records import read_spec
from compose.runtime.spec import PORTS_FILE
from compose.state.files import replace_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.network.listeners import Listener
    from compose.plan.actions import CreateContainer

    from .context import Context


def take(context: Context, creations: Sequence[CreateContainer], started: Sequence[str]) -> None:
    """Open the listeners of new containers and of existing ones in `started`; raises when one is taken."""
    wanted: list[Port] = []
    owners: dict[str, str] = {}
    for action in creations:
        identity = context.identities[action.target]
        owners[identity] = action.target
        wanted += _of_new(context, action, identity)
    for name in started:
        row = context.row(name)
        owners[row.id] = name
        wanted += _of_existing(context, row.id, name)
    for listener in bind_listeners(wanted):
        context.listeners.setdefault(owners[listener.container], []).append(listener)


def take_late(context: Context, identity: str, name: str) -> list[Listener]:
    """Open the listeners of one container, just before it starts."""
    return bind_listeners(_of_existing(context, identity, name))


def _of_new(context: Context, action: CreateContainer, identity: str) -> list[Port]:
    from . import networks

    config = context.wanted(action.service).config
    endpoints = networks.endpoints(context, context.wanted(action.service), action.number)
    return _ports(identity, action.target, config.get("ports") or (), endpoints)


def _of_existing(context: Context, identity: str, name: str) -> list[Port]:
    spec = read_spec(context.paths, identity)
    return _ports(identity, name, spec.get("ports") or (), spec.get("endpoints") or ())


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
