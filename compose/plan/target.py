"""What a project asks for, as `reconcile` sees it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


FIRST_ONEOFF = 1_000_001
"""The number of the first container of `run` of a service: above those that a service can be scaled to."""


class OneOff(NamedTuple):
    """What sets the container of a ``run`` apart from those of its service."""

    name: str
    number: int
    auto_remove: bool = False
    """Whether it goes as soon as it has ended."""
    use_aliases: bool = False
    """Whether it answers to the names of its service."""
    slug: str = ""
    """What tells it from all others: 64 hexadecimal digits, of which its name has the first twelve."""
    console_size: Mapping[str, int] = MappingProxyType({})
    """``height`` and ``width`` of its terminal in characters, where it has one and they are known."""


class Wanted(NamedTuple):
    """A service as `reconcile` sees it."""

    name: str
    config: Mapping[str, Any]
    """The canonical form of the Compose specification."""
    config_hash: str
    image: str
    """The name of its image, also when it is built."""
    scale: int = 1
    container_name: str | None = None
    separator: str = "-"
    """Between the parts of a container's name; ``_`` in a fig.yml."""
    contents: Mapping[str, str] = MappingProxyType({})
    """``configs.NAME`` or ``secrets.NAME`` -> a digest of what we write into that file."""
    oneoff: OneOff | None = None
    """Set for the container of a ``run``: `config` is its own then, and `scale` 0."""

    def container(self, project: str, number: int) -> str:
        return self.container_name or self.separator.join((project, self.name, str(number)))

    @property
    def images(self) -> tuple[str, ...]:
        """The names of the images that it needs: its own, those of its `pre_start` hooks, mounted ones."""
        of_hooks = (hook.get("image") for hook in self.config.get("pre_start") or ())
        return (self.image, *(str(name) for name in of_hooks if name), *self.mounted_images)

    @property
    def mounted_images(self) -> tuple[str, ...]:
        mounts = self.config.get("volumes") or ()
        return tuple(mount["source"] for mount in mounts if mount["type"] == "image" and mount.get("source"))

    @property
    def dependencies(self) -> Mapping[str, Mapping[str, Any]]:
        return self.config.get("depends_on") or {}

    @property
    def lenders(self) -> list[str]:
        """The services of the project whose mounts its containers take over."""
        entries = map(str, self.config.get("volumes_from") or ())
        return [entry.partition(":")[0] for entry in entries if not entry.startswith("container:")]


class WantedNetwork(NamedTuple):
    key: str
    name: str
    config_hash: str
    external: bool = False


class WantedVolume(NamedTuple):
    key: str
    name: str
    config_hash: str
    external: bool = False


class Target(NamedTuple):
    """What a project asks for: its services in dependency order, networks and volumes by key."""

    project: str
    services: tuple[Wanted, ...]
    networks: Mapping[str, WantedNetwork]
    volumes: Mapping[str, WantedVolume]
