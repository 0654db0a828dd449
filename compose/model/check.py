"""Consistency of the whole project: what refers to what, and what excludes what.

Runs on the canonical tree of the active services, before anything acts on it (compose-spec; docker compose's
`checkConsistency`, with places).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from compose.model.limits import check_limits
from compose.model.loader import similar
from compose.model.tree import Map, Path, Position, error

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.errors import ModelError


_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")


class _Check:
    """One service and all that it may refer to."""

    def __init__(self, tree: Map, name: str, service: Map, disabled: set[str]) -> None:
        self.tree = tree
        self.name = name
        self.service = service
        self.services: Map = tree["services"]
        self.disabled = disabled

    def path(self, *parts: str | int) -> Path:
        return ("services", self.name, *parts)

    def at(self, key: str) -> Position:
        return self.service.where(key)[0]

    def error(self, key: str, problem: str, hint: str | None = None) -> ModelError:
        return error(self.at(key), self.path(key), problem, hint)

    def defined(self, kind: str, wanted: str, at: Position, path: Path) -> None:
        section = self.tree.get(kind) or {}
        if wanted not in section:
            hint = similar(wanted, section) or f"add `{wanted}:` below `{kind}:` at the top of the file"
            raise error(at, path, f"there is no {kind[:-1]} `{wanted}`", hint)


def check(tree: Map, disabled: set[str]) -> None:
    """Raise ModelError for the first thing that does not fit together."""
    for name, service in sorted(tree["services"].items()):
        one = _Check(tree, name, service, disabled)
        for function in _CHECKS:
            function(one)
    _container_names(tree["services"])
    _secrets(tree)


def _image_or_build(one: _Check) -> None:
    if not any(one.service.get(key) for key in ("image", "build", "provider")):
        at = one.services.where(one.name)[0]
        raise error(at, one.path(), "has neither `image` nor `build`", "add `image: NAME` or `build: .`")


def _build(one: _Check) -> None:
    build: Any = one.service.get("build")
    if not isinstance(build, Map):
        return
    if build.get("dockerfile") and build.get("dockerfile_inline"):
        at = build.where("dockerfile_inline")[0]
        raise error(
            at, one.path("build", "dockerfile_inline"), "cannot stand beside `dockerfile`", "keep one of them"
        )
    contexts: Any = build.get("additional_contexts")
    for name, value in (contexts or {}).items():
        if value.startswith("service:"):
            wanted = value.removeprefix("service:")
            path, at = one.path("build", "additional_contexts", name), contexts.where(name)[1]
            one.defined("services", wanted, at, path)
            if not one.services[wanted].get("build"):
                hint = "add `build:` to it, or name an image: docker-image://NAME"
                raise error(at, path, f"the service `{wanted}` has no `build`", hint)
    platforms, platform = build.get("platforms"), one.service.get("platform")
    if platforms and platform and platform not in platforms:
        raise one.error("platform", f"`{platform}` is not among `build.platforms`", "add it there")
    for index, secret in enumerate(build.get("secrets") or ()):
        one.defined("secrets", secret.get("source", ""), one.at("build"), one.path("build", "secrets", index))


def _networks(one: _Check) -> None:
    networks: Any = one.service.get("networks")
    mode = one.service.get("network_mode") or ""
    if mode and networks:
        raise one.error("networks", "cannot stand beside `network_mode`", "keep one of them")
    for name in networks or ():
        one.defined("networks", name, networks.where(name)[0], one.path("networks", name))


def _healthcheck(one: _Check) -> None:
    healthcheck: Any = one.service.get("healthcheck")
    test = healthcheck.get("test") if isinstance(healthcheck, Map) else None
    if test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        at = healthcheck.where("test")[1]
        raise error(
            at,
            one.path("healthcheck", "test"),
            f"begins with `{test[0]}`, and not with CMD, CMD-SHELL or NONE",
            f'write ["CMD", "{test[0]}", ...]',
        )


def _depends_on(one: _Check) -> None:
    depends: Any = one.service.get("depends_on")
    for name, options in (depends or {}).items():
        if name in one.services:
            continue
        path, at = one.path("depends_on", name), depends.where(name)[0]
        if name in one.disabled:
            if not options.get("required", True):
                continue
            hint = (
                f"name the profile with --profile, or say `required: false` (it is {name} that has profiles)"
            )
            raise error(at, path, f"the service `{name}` is not active: its profiles are not", hint)
        hint = similar(name, one.services) or f"add `{name}:` below `services:`, or remove the dependency"
        raise error(at, path, f"there is no service `{name}`", hint)


def _references(one: _Check) -> None:
    for kind, singular in (("configs", "source"), ("secrets", "source")):
        entries: Any = one.service.get(kind)
        for index, entry in enumerate(entries or ()):
            one.defined(kind, entry.get(singular, ""), entries.where(index), one.path(kind, index))
    volumes: Any = one.service.get("volumes")
    for index, volume in enumerate(volumes or ()):
        if volume.get("type") == "volume" and volume.get("source"):
            source, at = volume["source"], volumes.where(index)
            section = one.tree.get("volumes") or {}
            if source not in section:
                hint = similar(source, section) or (
                    f"add `{source}:` below `volumes:`, or write `./{source}` for a directory"
                )
                raise error(at, one.path("volumes", index), f"there is no volume `{source}`", hint)
    models: Any = one.service.get("models")
    for name in models or ():
        one.defined("models", name, models.where(name)[0], one.path("models", name))


_LIMITS = (
    ("cpus", "limits", "cpus"),
    ("mem_limit", "limits", "memory"),
    ("mem_reservation", "reservations", "memory"),
    ("pids_limit", "limits", "pids"),
)


def _twice(one: _Check) -> None:
    """The same thing said in the service and below `deploy` must be the same."""
    deploy: Any = one.service.get("deploy")
    if not isinstance(deploy, Map):
        return
    scale, replicas = one.service.get("scale"), deploy.get("replicas")
    if scale is not None and replicas is not None and scale != replicas:
        raise one.error("scale", f"is {scale}, but `deploy.replicas` is {replicas}", "keep one of them")
    for key, group, twin in _LIMITS:
        resources = (deploy.get("resources") or {}).get(group)
        if key in one.service and isinstance(resources, Map) and resources.get(twin) != one.service[key]:
            other = resources.get(twin, "not set")
            problem = f"is {one.service[key]}, but `deploy.resources.{group}.{twin}` is {other}"
            raise one.error(key, problem, "keep one of them, or make them equal")


def _scale(one: _Check) -> None:
    deploy: Any = one.service.get("deploy")
    replicas = deploy.get("replicas") if isinstance(deploy, Map) else None
    key = "scale" if "scale" in one.service else "deploy"
    scale = one.service.get("scale", replicas)
    if scale is None:
        return
    if scale < 0:
        raise one.error(key, f"{scale} is less than 0", "write 0 or more")
    if scale > 1 and one.service.get("container_name"):
        raise one.error(
            "container_name",
            f"cannot name {scale} containers",
            "remove it, or run one container of this service",
        )


def _watch(one: _Check) -> None:
    develop: Any = one.service.get("develop")
    for index, watch in enumerate((develop or {}).get("watch") or ()):
        if not watch.get("target") and watch.get("action") not in ("rebuild", "restart"):
            path = one.path("develop", "watch", index)
            raise error(watch.start, path, f"`{watch.get('action')}` needs a target", "add `target: /path`")


def _mounts(one: _Check) -> None:
    taken: dict[str, str] = {}
    for kind in ("tmpfs", "volumes"):
        entries: Any = one.service.get(kind)
        for index, entry in enumerate(entries or ()):
            target = entry.partition(":")[0] if isinstance(entry, str) else entry.get("target", "")
            if target in taken:
                problem = f"{target} is mounted already, by {taken[target]}"
                raise error(entries.where(index), one.path(kind, index), problem, "remove one of them")
            taken[target] = f"{kind}[{index}]"


def _limits(one: _Check) -> None:
    """Values that no runtime could carry out."""
    for name, value in (one.service.get("ulimits") or {}).items():
        if isinstance(value, Map) and 0 <= value.get("hard", 0) < value.get("soft", 0):
            at = one.service["ulimits"].where(name)[1]
            problem = f"soft {value['soft']} is more than hard {value['hard']}"
            raise error(
                at,
                one.path("ulimits", name),
                problem,
                f"write `soft: {value['hard']}`, or a greater hard limit",
            )
    ports: Any = one.service.get("ports")
    for index, port in enumerate(ports or ()):
        for key in ("target", "published"):
            for number in str(port.get(key, "")).split("-"):
                if number and not (number.isdigit() and int(number) <= 65535):
                    raise error(
                        ports.where(index),
                        one.path("ports", index, key),
                        f"`{port[key]}` is not a port",
                        "ports are numbers from 1 to 65535",
                    )


def _restart(one: _Check) -> None:
    value = one.service.get("restart")
    name, colon, count = str(value or "no").partition(":")
    if name not in ("no", "always", "unless-stopped", "on-failure") or (
        colon and not (name == "on-failure" and count.isdigit())
    ):
        hint = similar(name, ("always", "unless-stopped", "on-failure")) or (
            "write no, always, unless-stopped, on-failure or on-failure:3"
        )
        raise one.error("restart", f"`{value}` is not a restart policy", hint)


def _amounts(one: _Check) -> None:
    """Amounts that cannot be given; -1 is "no limit" where compose has such a thing."""
    for key in (
        "cpus",
        "cpu_shares",
        "mem_limit",
        "mem_reservation",
        "shm_size",
        "memswap_limit",
        "pids_limit",
    ):
        value = one.service.get(key)
        if value is not None and float(value) < (-1 if key in ("memswap_limit", "pids_limit") else 0):
            also = ", -1 for no limit" if key == "pids_limit" else ""
            raise one.error(key, f"{value} is less than 0", f"write 0 or more{also}, or remove the key")


def _devices_and_limits(one: _Check) -> None:
    check_limits(one.service, one.path())


def _container_names(services: Map) -> None:
    """No two containers may have the same name."""
    names: dict[str, str] = {}
    for name, service in services.items():
        own = service.get("container_name")
        if own and not _CONTAINER_NAME.match(own):
            raise error(
                service.where("container_name")[1],
                ("services", name, "container_name"),
                f"`{own}` is not allowed here",
                "use letters, digits, dots, hyphens and underscores, at least two",
            )
        if own and own in names:
            at = service.where("container_name")[0]
            raise error(
                at,
                ("services", name, "container_name"),
                f"`{own}` is the name of a container of `{names[own]}`",
                "choose another name",
            )
        if own:
            names[own] = name


def _secrets(tree: Map) -> None:
    """A secret that is not external is a file or a variable; no driver is asked for one."""
    secrets: Any = tree.get("secrets") or {}
    for name, secret in secrets.items():
        if not (secret.get("external") or secret.get("file") or secret.get("environment")):
            raise error(
                secrets.where(name)[0],
                ("secrets", name),
                "says nowhere where its content is: needs one of file, environment",
                "add `file: PATH`, `environment: NAME` or `external: true`",
            )


_CHECKS: tuple[Callable[[_Check], None], ...] = (
    _image_or_build,
    _build,
    _networks,
    _healthcheck,
    _depends_on,
    _references,
    _twice,
    _scale,
    _watch,
    _mounts,
    _limits,
    _amounts,
    _devices_and_limits,
    _restart,
)

__all__ = ["Any", "check"]
