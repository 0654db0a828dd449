"""What no container can be made from, refused before anything is made.

A row of the table is a key of the service and a function that raises `ContainerError`: the key tells the
place in the file, the function the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ContainerError
from compose.runtime.container import capabilities

from .. import files
from . import sysctls, tmpfs
from .given import given
from .interfaces import check_interfaces
from .lending import lenders
from .lifecycle import grace_period, healthcheck, restart_policy, restarts_unhealthy, stop_signal
from .logging import logging
from .mounts import clean, mounts
from .namespaces import check_conflicts, check_modes
from .process import environment, rlimits
from .resources import resources
from .security import security

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from compose.model import Project

    from .given import Definitions

    Check = Callable[[Mapping[str, Any], Definitions], object]

_SAME_RUNTIMES = ("runc", "crun", "io.containerd.runc.v2")


def check_service(project: Project, name: str, definitions: Definitions) -> None:
    """`check` for a service of the project: the error says where in its files the key stands."""
    for key, function in _CHECKS:
        try:
            function(project.services[name], definitions)
        except ContainerError as error:
            raise placed(project, name, error, key) from None


def placed(project: Project, name: str, error: ContainerError, key: str = "") -> ContainerError:
    """The error with its place: that of the path that the message begins with, else that of `key`."""
    path = _path(error.message)
    if path[0] not in project.services[name] and key:
        path = key.split(".")
    at = project.where(("services", name, *path))
    return ContainerError(f"{at}: service {name}: {error.message}", hint=error.hint)


def _path(message: str) -> Sequence[str | int]:
    """``devices[0].source: what is wrong`` -> devices, 0, source."""
    words = message.partition(": ")[0].replace("[", ".").replace("]", "").split(".")
    return [int(word) if word.isdecimal() else word for word in words]


def check(service: Mapping[str, Any], definitions: Definitions) -> None:
    """Refuse a service that no container can be made from; raises `ContainerError`.

    `definitions` holds the project's ``volumes``, ``configs`` and ``secrets``.
    """
    for _key, function in _CHECKS:
        function(service, definitions)


def _alone(function: Callable[[Mapping[str, Any]], object]) -> Check:
    """A check that needs nothing but the service."""
    return lambda service, _definitions: function(service)


def _mounts(service: Mapping[str, Any], definitions: Definitions) -> None:
    mounts(service, {}, definitions, inherited={}, new_name=str)


def _tmpfs(service: Mapping[str, Any]) -> None:
    for entry in service.get("tmpfs") or ():
        clean(tmpfs.short(entry)[0])


def _given(kind: str) -> Check:
    """A check of the configs or the secrets."""
    return lambda service, definitions: [clean(one.target) for one in given(service, definitions, (kind,))]


def _working_dir(service: Mapping[str, Any]) -> None:
    directory = str(service.get("working_dir") or "/")
    if not directory.startswith("/"):
        raise ContainerError(f"working_dir: {directory} is not an absolute path", hint=f"write /{directory}")


def _own_files(service: Mapping[str, Any]) -> None:
    name, domain = str(service.get("hostname") or "x"), str(service.get("domainname") or "")
    files.hosts(name, domain, (), [str(entry) for entry in service.get("extra_hosts") or ()], "192.0.2.1")
    files.resolv_conf(service, "", own_names=True)


def _runtime(service: Mapping[str, Any]) -> None:
    """One of the runtimes that do what ours does may stand there: the containers are the same."""
    name = str(service.get("runtime") or "")
    if name not in ("", *_SAME_RUNTIMES):
        raise ContainerError(
            f"runtime: there is no {name}: pycompose runs containers itself",
            hint="remove it, or write gpus: all" if name == "nvidia" else "remove it",
        )


_CHECKS: tuple[tuple[str, Check], ...] = (
    ("", _alone(check_modes)),
    ("", _alone(check_conflicts)),
    ("", _alone(_own_files)),
    ("working_dir", _alone(_working_dir)),
    ("sysctls", _alone(sysctls.of_container)),
    ("stop_signal", _alone(lambda service: stop_signal(service, {}))),
    ("restart", _alone(restart_policy)),
    ("restart", _alone(lambda service: restarts_unhealthy(service, {}))),
    ("stop_grace_period", _alone(grace_period)),
    ("healthcheck", _alone(lambda service: healthcheck(service, {}))),
    ("logging", _alone(logging)),
    ("security_opt", _alone(security)),
    ("cap_add", _alone(lambda service: capabilities.select(service.get("cap_add") or ()))),
    ("cap_drop", _alone(lambda service: capabilities.select((), service.get("cap_drop") or ()))),
    ("runtime", _alone(_runtime)),
    ("ulimits", _alone(rlimits)),
    ("", _alone(resources)),
    ("environment", _alone(lambda service: environment(service, {}))),
    ("tmpfs", _alone(_tmpfs)),
    ("configs", _given("configs")),
    ("secrets", _given("secrets")),
    ("volumes", _mounts),
    ("volumes_from", _alone(lenders)),
    ("", _alone(check_interfaces)),
)
"""An empty key is the one that the message begins with."""
