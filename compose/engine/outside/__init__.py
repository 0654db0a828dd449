"""Services and models that other programs provide: ``provider`` and ``models`` of a compose file.

A provider is a program that makes something elsewhere and says how it is reached; a model runner serves
models. Both run before anything of the project is made, and what they say becomes variables of the services
that depend on them. It is written down, so that every other command sees the same services, and `down` works
without the file.

    record.py      DATA/outside/PROJECT.json: which providers were brought up, variables by service
    programs.py    where such a program is
    providers.py   the protocol of providers
    models.py      the command line of the model runner
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ComposeError

from . import record
from .programs import runner
from .providers import Provider, depended_on

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from compose.model import Project
    from compose.state.paths import Paths

    Tell = Callable[[str, str], None]


def providers_of(project: Project, names: Collection[str] = ()) -> list[Provider]:
    """The providers of a project, each after those that it depends on; only `names` where there are some."""
    return [
        Provider.of(project.name, name, project.services[name])
        for name in project.order
        if project.services[name].get("provider") and (not names or name in names)
    ]


def wants_anything(project: Project) -> bool:
    """Whether some service has to do with what is outside."""
    return any(service.get("provider") or service.get("models") for service in project.services.values())


def bring_up(paths: Paths, project: Project, names: Collection[str], tell: Tell) -> None:
    """Bring up the providers and models that some services need; write down what they say.

    `tell` is called with a service and what happens to it. Raises `ComposeError`.
    """
    needed = project.needed(names) if names else set(project.services)
    known = record.read(paths, project.name)
    _check_programs(project, needed)
    for provider in providers_of(project, needed):
        config = _with_variables(project.services[provider.service], known.variables(provider.service))
        said = provider.run("up", tell, config)
        for dependent in depended_on(project.services, provider.service):
            known.set_variables(dependent, provider.service, said)
        known.providers[provider.service] = provider.data()
        record.write(paths, project.name, known)
    users = {name: project.services[name] for name in sorted(needed) if project.services[name].get("models")}
    if users:
        from . import models

        for name, variables in models.prepare(project.models, users, tell).items():
            known.set_variables(name, "models", variables)
        record.write(paths, project.name, known)


def _check_programs(project: Project, needed: Collection[str]) -> None:
    """Refuse what there is no program for, with its place, before any of them runs."""
    path: tuple[str, ...] = ()
    try:
        for provider in providers_of(project, needed):
            path = ("services", provider.service, "provider", "type")
            provider.program()
        for name in sorted(needed):
            for key in project.services[name].get("models") or ():
                path = ("models", key)
                runner(key)
    except ComposeError as error:
        raise ComposeError(f"{project.where(path)}: {error.message}", hint=error.hint) from None


def variables(paths: Paths, project: Project) -> Mapping[str, Mapping[str, str]]:
    """The variables that services get from outside, by service."""
    if not wants_anything(project):
        return {}
    known = record.read(paths, project.name)
    return {name: known.variables(name) for name in project.services}


def _with_variables(service: Mapping[str, Any], given: Mapping[str, str]) -> Mapping[str, Any]:
    return {**service, "environment": {**(service.get("environment") or {}), **given}} if given else service


def stop(project: Project, names: Collection[str], tell: Tell) -> list[ComposeError]:
    """Stop what providers provide that know how to, the last one first; the failures."""
    failures = []
    for provider in reversed(providers_of(project, names)):
        try:
            if provider.can("stop"):
                provider.run("stop", tell, project.services[provider.service])
        except ComposeError as error:
            failures.append(error)
    return failures


def known_providers(paths: Paths, name: str, project: Project | None) -> list[Provider]:
    """The providers that were brought up, and those of the file; the last one first."""
    known = record.read(paths, name)
    found = {service: Provider.read(name, service, data) for service, data in known.providers.items()}
    if project is not None:
        found |= {provider.service: provider for provider in providers_of(project)}
    return list(reversed(found.values()))


def take_down(
    paths: Paths, name: str, project: Project | None, names: Collection[str], tell: Tell
) -> list[ComposeError]:
    """Release what providers provide, the last one first; the failures. What failed stays written down."""
    known = record.read(paths, name)
    found = known_providers(paths, name, project)
    failures = []
    for provider in found:
        service = provider.service
        if names and service not in names:
            continue
        try:
            provider.run("down", tell, project.services.get(service, {}) if project else {})
        except ComposeError as error:
            failures.append(error)
        else:
            known.forget(service)
    if not names and not failures:
        record.remove(paths, name)
    elif found:
        record.write(paths, name, known)
    return failures
