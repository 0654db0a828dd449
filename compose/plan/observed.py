"""What is there: one snapshot, taken once, and everything that `reconcile` may know of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class ObservedContainer(NamedTuple):
    """A container of the project. `status` is the truth, not the record: nothing "runs" without proof."""

    name: str
    service: str
    number: int
    status: str
    config_hash: str
    image: str
    """The id of the image it was made from."""
    oneoff: bool = False
    auto_remove: bool = False
    """Whether it is of a `run --rm`: once it has ended nobody wants it any more."""
    health: str | None = None
    exit_code: int | None = None
    whole: bool = True
    """False for the remains of a command that was killed while it made the container."""
    connected: bool = True
    """False when its network namespace is gone, as after a reboot."""
    config: dict[str, Any] | None = None
    """The service's configuration when it was made, where that is not what is wanted now."""
    networks: frozenset[str] | None = None
    """The names of the networks that it is in, as far as they are there; None: not known."""
    volumes: frozenset[str] | None = None
    """The names of the named volumes that it uses; None: not known."""
    shares: Mapping[str, str] = {}
    """Kind of namespace (``network``, ``pid``, ``ipc``) -> the container that it belongs to; "": one that is
    gone."""

    mounted_images: frozenset[str] | None = None
    """The ids of the images that it has mounted; None: not known."""
    contents: Mapping[str, str] | None = None
    """``configs.NAME`` or ``secrets.NAME`` -> a digest of what its file holds; None: not known."""
    lenders: frozenset[str] = frozenset()
    """The containers whose mounts it has taken over; "": one that is gone."""

    @property
    def running(self) -> bool:
        return self.status in ("running", "restarting", "paused")


class ObservedNetwork(NamedTuple):
    key: str
    name: str
    config_hash: str
    whole: bool = True
    """False when only its record is there, as after a reboot."""
    users: tuple[str, ...] = ()
    """Containers of other projects on it."""


class ObservedVolume(NamedTuple):
    """`key` is empty for an anonymous volume whose container is gone."""

    key: str
    name: str
    config_hash: str
    users: tuple[str, ...] = ()
    """Containers of other projects that use it."""


class Observed(NamedTuple):
    """The snapshot of one project."""

    containers: tuple[ObservedContainer, ...] = ()
    networks: tuple[ObservedNetwork, ...] = ()
    volumes: tuple[ObservedVolume, ...] = ()
    images: dict[str, str] = {}
    """Image name -> id, for the names that the project uses and that are in the store."""
    sandbox: bool = False
    """Whether anything of the project's namespace or helper processes is there."""
    recorded: bool = False
    """Whether the project has a record: after `down` it has none, even where a network of its outlives it."""
    external_volumes: frozenset[str] = frozenset()
    """Names of volumes that the file declares as external and that are there."""
    lost: frozenset[str] = frozenset()
    """Names of other projects' networks whose record alone is there, as after a reboot."""
