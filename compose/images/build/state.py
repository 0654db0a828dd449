"""A stage while it is built: its configuration, its layers, the variables that its instructions see."""

from __future__ import annotations

import os
import platform as host_platform
import posixpath
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from compose.images.build.words import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from compose.images.build.context import Digests, Tree
    from compose.images.build.parser import Place
    from compose.images.layout import Layer
    from compose.images.session import Session
    from compose.images.store import ImageStore
    from compose.runtime.spec import ContainerSpec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY_ARGUMENTS = frozenset(
    name
    for word in ("HTTP", "HTTPS", "FTP", "NO", "ALL")
    for name in (f"{word}_PROXY", f"{word.lower()}_proxy")
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class Runner(Protocol):
    """Runs the command of a RUN step; `compose.runtime.client.run_once` in production."""

    def __call__(self, spec: ContainerSpec, stdin: int, output: int) -> int:
        """Run the container with these descriptors (output: standard output and error); its exit code."""


class BuildRequest(NamedTuple):
    """What to build, as ``build:`` of a compose file or ``docker build`` say it."""

    context: str
    """A directory."""
    dockerfile: str | None = None
    """Relative to the context, or absolute; None: ``Dockerfile``."""
    dockerfile_inline: str | None = None
    args: Mapping[str, str | None] = {}
    """None: from the environment of the command, if it is there."""
    target: str | None = None
    labels: Mapping[str, str] = {}
    tags: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False
    """Make base images anew that are made from packages."""


class Build(NamedTuple):
    """What all stages of one build share."""

    request: BuildRequest
    store: ImageStore
    session: Session
    context: Tree
    digests: Digests
    arguments: dict[str, str]
    """Build arguments given from outside."""
    escape: str
    run: Runner
    output: Callable[[bytes], None]
    """Takes what RUN steps print, line by line."""
    source: Callable[[str, Place], Source]
    """The stage or image of this name, for ``--from``."""


class Source(NamedTuple):
    """What ``COPY --from`` copies from."""

    layers: list[Layer]


class StageState:
    """The state between two instructions of a stage."""

    def __init__(
        self,
        build: Build,
        document: dict[str, Any],
        layers: list[Layer],
        global_arguments: dict[str, str],
    ) -> None:
        self.build = build
        self.global_arguments = global_arguments
        """ARGs before the first FROM; a stage gets one by declaring it without a value."""
        self.document = {key: value for key, value in document.items() if key not in ("rootfs", "config")}
        self.config: dict[str, Any] = dict(document.get("config") or {})
        self.layers = layers
        self.created = str(document.get("created") or "")
        self.arguments: dict[str, str] = {}
        """Values of the ARGs declared in this stage so far."""
        self.command_set = False
        """Whether this stage has a CMD: ENTRYPOINT takes an inherited one away."""
        self.history: list[dict[str, Any]] = list(document.get("history") or [])
        if "PATH" not in self.environment():
            self.set_environment("PATH", DEFAULT_PATH)

    def environment(self) -> dict[str, str]:
        """The image's ENV so far."""
        found = {}
        for entry in self.config.get("Env") or []:
            name, _, value = entry.partition("=")
            found[name] = value
        return found

    def set_environment(self, name: str, value: str) -> None:
        environment = self.environment()
        environment[name] = value
        self.config["Env"] = [f"{key}={text}" for key, text in environment.items()]

    def lookup(self, name: str) -> str | None:
        """A variable as an instruction sees it: ENV before ARG."""
        environment = self.environment()
        return environment[name] if name in environment else self.arguments.get(name)

    def expand(self, text: str, place: Place) -> str:
        return expand(text, self.lookup, self.build.escape, place)

    @property
    def working_directory(self) -> str:
        return self.config.get("WorkingDir") or "/"

    def absolute(self, path: str) -> str:
        """`path` below the working directory, without ``.`` and ``..``; a trailing slash is kept."""
        joined = posixpath.join("/", self.working_directory, path)
        clean = "/" + posixpath.normpath(joined).lstrip("/")
        return clean + "/" if path.endswith(("/", "/.")) and clean != "/" else clean

    @property
    def shell(self) -> list[str]:
        return list(self.config.get("Shell") or ["/bin/sh", "-c"])

    @property
    def diff_ids(self) -> list[str]:
        return [layer.diff_id for layer in self.layers]

    @property
    def lower(self) -> list[str]:
        """Directories of the layers, lowest first."""
        return [layer.path for layer in self.layers]


def architecture() -> str:
    """The host's architecture as images call it."""
    machine = host_platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def platform_arguments() -> dict[str, str]:
    """The ARGs that describe platforms (Dockerfile reference, "Automatic platform ARGs in the global
    scope")."""
    found = {}
    for prefix in ("BUILD", "TARGET"):
        found[f"{prefix}PLATFORM"] = f"linux/{architecture()}"
        found[f"{prefix}OS"] = "linux"
        found[f"{prefix}ARCH"] = architecture()
        found[f"{prefix}VARIANT"] = ""
    return found


def given_arguments(args: Mapping[str, str | None]) -> dict[str, str]:
    """Build arguments with those filled in that come from the environment."""
    found = {}
    for name, value in args.items():
        text = os.environ.get(name) if value is None else value
        if text is not None:
            found[name] = text
    return found
