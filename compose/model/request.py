"""What somebody asks of `load`; plain data, the first part of the cache's key."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


ALL_RESOURCES = "all-resources"
"""The switch that keeps what no service uses."""
COMPATIBILITY = "compatibility"
"""The switch that names containers and images with ``_``, as docker-compose 1 did."""


class Request:
    """The arguments of `load`, and the switches that leave a pass out."""

    __slots__ = (
        "cwd",
        "env_files",
        "environment",
        "files",
        "profiles",
        "project_directory",
        "project_name",
        "services",
        "switches",
    )

    def __init__(
        self,
        *,
        files: tuple[str, ...],
        project_directory: str | None,
        project_name: str | None,
        env_files: tuple[str, ...],
        profiles: tuple[str, ...],
        services: tuple[str, ...],
        environment: Mapping[str, str],
        cwd: str,
        switches: frozenset[str] = frozenset(),
    ) -> None:
        self.files = files
        self.project_directory = project_directory
        self.project_name = project_name
        self.env_files = env_files
        self.profiles = profiles
        self.services = services
        self.environment = environment
        self.cwd = cwd
        self.switches = switches

    def key(self) -> list[object]:
        """What tells this request from others, without the environment."""
        return [
            self.files,
            self.project_directory,
            self.project_name,
            self.env_files,
            self.profiles,
            self.services,
            self.cwd,
            sorted(self.switches),
        ]
