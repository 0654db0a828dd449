"""RUN: a command in a container on the layers so far, whose upper directory becomes the next layer.

The container shares the host's network namespace, with the host's resolv.conf and hosts; everything else is
isolated as in any container. What the runtime has to mount on (/proc, /dev, /etc/resolv.conf, ...) is made
in a layer between the image and the upper one where it is missing, so that it does not get into the image.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from typing import TYPE_CHECKING, ClassVar

from compose.errors import ContainerError
from compose.images.build.files import make_directories
from compose.images.build.instructions import Step
from compose.images.build.state import PROXY_ARGUMENTS
from compose.images.build.words import json_words
from compose.images.overlay import mounted
from compose.linux.beneath import open_in_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compose.images.build.state import Runner, StageState
    from compose.runtime.spec import ContainerSpec
    from compose.state.paths import Paths

_DIRECTORIES = (b"proc", b"sys", b"dev", b"etc")
_FILES = (b"etc/hosts", b"etc/hostname", b"etc/resolv.conf")
_MAX_LINE = 1 << 16
_LINES_KEPT = 20


class Run(Step):
    changes_files = True
    flags = ("network", "security")
    _refused: ClassVar[dict[str, str]] = {
        "mount": "RUN --mount is not supported yet",
        "device": "RUN --device is not supported",
    }

    def check_flag(self, name: str) -> None:
        if name in self._refused:
            raise self.place.error(
                self._refused[name], hint="COPY what the step needs, and remove it in the same RUN"
            )
        super().check_flag(name)

    def parse(self) -> None:
        network = self.given.get("network", "default")
        if network not in ("default", "host"):
            raise self.place.error(
                f"RUN --network={network} is not supported: steps share the host's network"
            )
        if self.given.get("security", "sandbox") != "sandbox":
            raise self.place.error("RUN --security=insecure is not supported")
        self.exec_form = json_words(self.text)
        if self.exec_form == []:
            raise self.place.error("RUN needs a command")

    def arguments(self, stage: StageState) -> list[str]:
        """What is executed."""
        if self.exec_form is not None:
            return self.exec_form
        documents = self.instruction.heredocs
        if not documents:
            return [*stage.shell, self.text]
        first = documents[0]
        if self.text == self.text.strip() and self._is_only_heredoc():
            if first.content.startswith("#!"):
                return [*stage.shell, _as_program(first.content)]
            return [*stage.shell, first.content]
        # a shell reads here-documents itself: it gets them back in the form in which they were written
        body = "".join(f"{document.content}{document.name}\n" for document in documents)
        return [*stage.shell, f"{self.text}\n{body}"]

    def _is_only_heredoc(self) -> bool:
        text = self.text.removeprefix("<<").removeprefix("-").strip("'\"")
        return self.text.startswith("<<") and text == self.instruction.heredocs[0].name

    def environment(self, stage: StageState) -> dict[str, str]:
        """Build arguments that the command sees beside ENV; proxies need not be declared."""
        proxies = {name: value for name, value in stage.build.arguments.items() if name in PROXY_ARGUMENTS}
        image = stage.environment()
        return {name: value for name, value in {**proxies, **stage.arguments}.items() if name not in image}

    def key(self, stage: StageState) -> list[object]:
        # undeclared proxies are left out: another proxy gives the same result
        return ["RUN", self.arguments(stage), stage.arguments]

    def execute(self, stage: StageState, directory: str) -> None:
        lower = [*stage.lower, self._mount_points(stage)]
        spec = self._spec(stage, directory, lower)
        tail: list[bytes] = []
        with _lines(lambda line: _keep(tail, line, stage.build.output)) as output, _null() as stdin:
            try:
                code = stage.build.run(spec, stdin, output)
            except ContainerError as error:
                raise self.place.error(f"RUN: {error.message}", hint=error.hint) from error
        if code:
            last = next((line for line in reversed(tail) if line.strip()), b"")
            shown = self.text if len(self.text) < 80 else self.text[:77] + "..."
            raise self.place.error(
                f"RUN {shown} ended with exit code {code}",
                hint=f"it said: {last.decode('utf-8', 'replace').strip()}" if last else None,
            )

    def _mount_points(self, stage: StageState) -> str:
        """A directory that has what is mounted on, as far as the image lacks it."""
        session = stage.build.session
        directory = session.directory()
        tree = f"{directory}/layer/tree"
        with mounted(stage.build.store.root, stage.lower, upper=tree, work=f"{directory}/work") as root:
            for path in _DIRECTORIES:
                os.close(make_directories(root, path, None, self.place))
            for path in _FILES:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                with contextlib.suppress(FileExistsError):
                    os.close(open_in_root(root, path, flags, 0o644))
        return tree

    def _spec(self, stage: StageState, directory: str, lower: list[str]) -> ContainerSpec:
        from compose.runtime.container import apparmor, capabilities, seccomp
        from compose.runtime.container.oci import bind, default_oci

        environment = {**stage.environment(), **self.environment(stage)}
        oci = default_oci(
            self.arguments(stage),
            env=[f"{name}={value}" for name, value in environment.items()],
            cwd=stage.working_directory,
            user={"username": stage.config.get("User") or ""},
            hostname="build",
            own_network=False,
        )
        if profile := apparmor.default():
            oci["process"]["apparmorProfile"] = profile
            apparmor.make_ready(oci["process"])
        for name in ("resolv.conf", "hosts"):
            source = os.path.realpath(f"/etc/{name}")
            if os.path.isfile(source):
                oci["mounts"].append(bind(source, f"/etc/{name}", readonly=True, recursive=False))
        return {
            "version": 1,
            "id": secrets.token_hex(32),
            "name": "build",
            "oci": oci,
            "rootfs": {
                "lower": lower[::-1],
                "upper": f"{directory}/layer/tree",
                "work": f"{directory}/work",
            },
            "network_namespace": "",
            "seccomp": seccomp.program(capabilities.select(), stage.build.store.paths.cache),
        }


def _as_program(script: str) -> str:
    """Shell text that runs `script` by the interpreter of its first line."""
    quoted = script.replace("'", "'\\''")
    return (
        'f=$(mktemp) && chmod 700 "$f" && printf %s \'' + quoted + '\' >"$f" && "$f"; '
        'c=$?; rm -f "$f"; exit $c'
    )


def _keep(tail: list[bytes], line: bytes, output: Callable[[bytes], None]) -> None:
    tail.append(line)
    del tail[:-_LINES_KEPT]
    output(line)


@contextlib.contextmanager
def _null() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _lines(take: Callable[[bytes], None]) -> Iterator[int]:
    """The write end of a pipe whose lines (without their ends) go to `take`, all of them before this
    returns."""
    reader, writer = os.pipe()
    thread = threading.Thread(target=_read_lines, args=(reader, take), name="build output")
    thread.start()
    try:
        yield writer
    finally:
        os.close(writer)
        thread.join()


def _read_lines(reader: int, take: Callable[[bytes], None]) -> None:
    rest = b""
    with open(reader, "rb", buffering=0) as file:
        while data := file.read(_MAX_LINE):
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                take(line.rstrip(b"\r").rpartition(b"\r")[2])
            if len(rest) > _MAX_LINE:
                take(rest)
                rest = b""
    if rest:
        take(rest)


def default_runner(paths: Paths) -> Runner:
    """The runtime's own: a container that ends with its command, and with this process."""

    def run(spec: ContainerSpec, stdin: int, output: int) -> int:
        from compose.runtime.client import run_once

        return run_once(paths, spec, stdin, output, output)

    return run
