"""Where everything lies.

    DATA  /var/lib/pycompose, or $PYCOMPOSE_DATA_DIR
      index.sqlite                    the index (state/index.py)
      images/                         the image store (images/store.py)
      containers/ID/                  spec.json, state.json, upper/, work/, files/, log/
      hooks/PROJECT.json              which pre_start hooks have succeeded
      outside/PROJECT.json            what other programs provide
      volumes/NAME/                   volume.json, data/
      events/PROJECT.jsonl            what happened to containers (state/events.py)
      cache/                          what can be made again: models, seccomp programs

    RUN   /run/pycompose, or $PYCOMPOSE_RUN_DIR
      lock/                           one lock file a project
      projects/PROJECT/               keeper.sock, keeper.json
      containers/ID/                  monitor.sock, stdout, stderr
      networks/ID/                    one file an endpoint, for the name service
      netns/                          a private mount that pins network namespaces

DATA survives a reboot, RUN does not. Both are 0700 and belong to the user who runs the command.
"""

from __future__ import annotations

import os

from compose.errors import StateError


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
        found = cls(
            os.path.abspath(env.get("PYCOMPOSE_DATA_DIR") or "/var/lib/pycompose"),
            os.path.abspath(env.get("PYCOMPOSE_RUN_DIR") or "/run/pycompose"),
        )
        for root in (found.data, found.run):
            os.makedirs(root, mode=0o700, exist_ok=True)
        return found

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
