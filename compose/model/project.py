"""The finished project: plain values, as JSON would hold them."""

from __future__ import annotations

from compose.model.tree import Position

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from compose.model.types import (
        ConfigConfig,
        ModelConfig,
        NetworkConfig,
        SecretConfig,
        ServiceConfig,
        VolumeConfig,
    )

RESOURCES = ("networks", "volumes", "configs", "secrets", "models")


class Project:
    """A compose project in canonical form (model/types.py): what the plan, `config` and the hashes are made
    of.

    `services` are the active ones, in the order of their names; `disabled` those whose profiles are not
    active; `order` is a list of the active ones in which each comes after those it depends on.
    """

    __slots__ = (
        "_positions",
        "all_resources",
        "configs",
        "directory",
        "disabled",
        "env_files",
        "extensions",
        "files",
        "models",
        "name",
        "networks",
        "order",
        "profiles",
        "secrets",
        "separator",
        "services",
        "volumes",
        "warnings",
    )

    def __init__(self, data: dict[str, Any]) -> None:
        self.all_resources: bool = data["all_resources"]
        """Whether what no service uses stays too: ``--all-resources``."""
        self.name: str = data["name"]
        self.separator: str = data["separator"]
        """Between the parts of the names of containers and built images: ``-``, or ``_``."""
        self.directory: str = data["directory"]
        self.files: list[str] = data["files"]
        self.env_files: list[str] = data["env_files"]
        """Those that take the place of .env."""
        self.services: dict[str, ServiceConfig] = data["services"]
        self.disabled: dict[str, ServiceConfig] = data["disabled"]
        self.networks: dict[str, NetworkConfig] = data["networks"]
        self.volumes: dict[str, VolumeConfig] = data["volumes"]
        self.configs: dict[str, ConfigConfig] = data["configs"]
        self.secrets: dict[str, SecretConfig] = data["secrets"]
        self.models: dict[str, ModelConfig] = data["models"]
        self.extensions: dict[str, Any] = data["extensions"]
        self.profiles: list[str] = data["profiles"]
        self.order: list[str] = data["order"]
        self.warnings: list[str] = data["warnings"]
        self._positions: list[Any] = data["positions"]
        """See `assemble._positions`."""

    def data(self) -> dict[str, Any]:
        """Everything, as `Project(data)` takes it."""
        result = {slot: getattr(self, slot) for slot in self.__slots__ if slot != "_positions"}
        result["positions"] = self._positions
        return result

    def where(self, path: Iterable[str | int]) -> Position:
        """The place of a value, or of the nearest around it: ``where(("services", "web", "image"))``."""
        files, nodes = self._positions
        found: Any = None
        for part in path:
            try:
                found = nodes[part]
            except (KeyError, IndexError, TypeError):
                break
            nodes = found[3] if len(found) > 3 else {}
        if found is None:
            return Position(self.files[0] if self.files else "", 0, 0)
        return Position(files[found[0]], found[1], found[2])

    @property
    def environment(self) -> dict[str, str]:
        """The values of the variables that configs and secrets are made of."""
        return {
            one["environment"]: one["content"]
            for one in (*self.configs.values(), *self.secrets.values())
            if "environment" in one and "content" in one
        }

    def image(self, service: str) -> str:
        """The name of a service's image, also when it is built and the file names none."""
        return self.services[service].get("image") or f"{self.name}{self.separator}{service}"

    def scale(self, service: str) -> int:
        """How many containers a service is to have."""
        config = self.services[service]
        if "scale" in config:
            return config["scale"]
        replicas = config.get("deploy", {}).get("replicas")
        return 1 if replicas is None else replicas

    def dependencies(self, service: str) -> list[str]:
        """The active services that a service depends on directly, implied ones too."""
        return [name for name in self.services[service].get("depends_on", {}) if name in self.services]

    def needed(self, names: Iterable[str]) -> set[str]:
        """These services and all that they depend on."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.dependencies(name)
        return found

    def keep(self, names: Iterable[str]) -> None:
        """Leave out every service that is not one of these or needed by them, and what only those use."""
        needed = self.needed(names)
        self.services = {name: service for name, service in self.services.items() if name in needed}
        for service in self.services.values():
            depends = service.get("depends_on", {})
            for name in [name for name in depends if name not in needed]:
                del depends[name]  # it is not required, and its profiles are not active
            if not depends:
                service.pop("depends_on", None)
        self.order = [name for name in self.order if name in needed]
        if self.all_resources:
            return
        used = used_resources(self.services)
        for kind in RESOURCES:
            section = getattr(self, kind)
            setattr(self, kind, {key: value for key, value in section.items() if key in used[kind]})


def used_resources(services: Mapping[str, Any]) -> dict[str, set[str]]:
    """The keys of the networks, volumes, configs, secrets and models that some services use."""
    used: dict[str, set[str]] = {kind: set() for kind in RESOURCES}
    for service in services.values():
        used["networks"].update(service.get("networks") or ())
        used["models"].update(service.get("models") or ())
        for kind in ("configs", "secrets"):
            used[kind].update(entry.get("source", "") for entry in service.get(kind) or ())
        build_secrets = (service.get("build") or {}).get("secrets") or ()
        used["secrets"].update(entry.get("source", "") for entry in build_secrets)
        volumes = service.get("volumes") or ()
        used["volumes"].update(one.get("source", "") for one in volumes if one.get("type") == "volume")
    return used
