"""Where everything lies.

    DATA  /var/lib/pycompose, or $PYCOMPOSE_DATA_DIR
      index.sqlite                    the index (state/index.py)
      images/                         the image store (images/layout.py)
      containers/ID/                  spec.json, state.json, upper/, work/, files/, log/
      hooks/PROJECT.json              which pre_start hooks have succeeded
      outside/PROJECT.json            what other programs provide
      volumes/NAME/                   volume.json, data/
      events/PROJECT.jsonl            what happened to containers (state/events.py)
      cache/                          what can be made again: models, seccomp programs

    RUN   /run/pycompose, or $PYCOMPOSE_RUN_DIR; for another DATA /run/pycompose. and a checksum of its path
      lock/                           one lock file a project
      projects/PROJECT/               keeper.sock, keeper.json
      containers/ID/                  monitor.sock, stdout, stderr
      networks/ID/                    one file an endpoint, for the name service
      netns/                          a private mount that pins network namespaces

DATA survives a reboot, RUN does not. Both are 0700 and belong to the user who runs the command. Two pairs of
them know nothing of each other; where all of the host meet, `Paths.host_name` keeps them apart.
"""

from __future__ import annotations

import os

from compose.errors import StateError

DEFAULT_DATA = "/var/lib/pycompose"
DEFAULT_RUN = "/run/pycompose"


def schema_file(name: str) -> str:
    """The path of a file of schemas/: below the package when installed, beside it in a source tree."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = f"{package}/schemas/{name}"
    return installed if os.path.exists(installed) else f"{os.path.dirname(package)}/schemas/{name}"


def unit_directory() -> tuple[str, bool]:
    """Where systemd looks for the units of whoever runs this command, and whether that is an ordinary
    user."""
    if os.geteuid() == 0:
        return "/etc/systemd/system", False
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return f"{home}/systemd/user", True


class Paths:
    """The two roots, and what lies directly below them."""

    __slots__ = ("data", "run")

    def __init__(self, data: str, run: str) -> None:
        self.data = data
        self.run = run

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Paths:
        """The paths of this user; both directories exist afterwards, with mode 0700.

        Raises `StateError` for an ordinary user, for whom nothing that lies there could be run yet.
        """
        env = os.environ if environment is None else environment
        if os.geteuid() != 0:
            raise StateError("only root can run containers so far: use sudo (rootless mode is not there yet)")
        data = os.path.abspath(env.get("PYCOMPOSE_DATA_DIR") or DEFAULT_DATA)
        named = env.get("PYCOMPOSE_RUN_DIR")
        found = cls(data, os.path.abspath(named) if named else _run_of(data))
        for root in (found.data, found.run):
            os.makedirs(root, mode=0o700, exist_ok=True)
        return found

    def host_name(self, project: str) -> str:
        """What a project is called where all of the host meet: its control groups, its uplink.

        Its own name, but in a run directory that is not the usual one with a checksum of that: the same
        project may be up in several. A dot can be in no project's name.
        """
        return project if self.run == DEFAULT_RUN else f"{project}.{_checksum(self.run)}"

    @property
    def index(self) -> str:
        return f"{self.data}/index.sqlite"

    @property
    def images(self) -> str:
        return f"{self.data}/images"

    @property
    def volumes(self) -> str:
        return f"{self.data}/volumes"

    @property
    def cache(self) -> str:
        return f"{self.data}/cache"

    @property
    def events(self) -> str:
        return f"{self.data}/events"

    @property
    def containers(self) -> str:
        return f"{self.data}/containers"

    @property
    def furniture(self) -> str:
        return f"{self.data}/furniture"

    @property
    def hooks(self) -> str:
        return f"{self.data}/hooks"

    @property
    def outside(self) -> str:
        return f"{self.data}/outside"

    @property
    def locks(self) -> str:
        return f"{self.run}/lock"

    @property
    def namespaces(self) -> str:
        return f"{self.run}/netns"

    def container(self, identity: str) -> str:
        """The lasting directory of one container."""
        return f"{self.data}/containers/{identity}"

    def container_run(self, identity: str) -> str:
        """The run-time directory of one container."""
        return f"{self.run}/containers/{identity}"

    def project_run(self, project: str) -> str:
        """The run-time directory of one project."""
        return f"{self.run}/projects/{project}"

    def network_run(self, identity: str) -> str:
        """The directory of one network that the name services watch."""
        return f"{self.run}/networks/{identity}"

    def container_namespace(self, identity: str) -> str:
        """The path that pins a container's network namespace."""
        return f"{self.run}/netns/c-{identity}"

    def project_namespace(self, project: str) -> str:
        """The path that pins a project's network namespace."""
        return f"{self.run}/netns/p-{project}"


def _run_of(data: str) -> str:
    """The run directory of a data directory: what runs is known to one of them only."""
    return DEFAULT_RUN if data == DEFAULT_DATA else f"{DEFAULT_RUN}.{_checksum(data)}"


def _checksum(path: str) -> str:
    import binascii  # netd and others that never name a project to the host do without

    return f"{binascii.crc32(os.fsencode(path)):08x}"
