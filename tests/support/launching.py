"""Containers without keeper and monitor: launch and enter called directly, each test in a process of its own.

The process stands for a monitor. It cannot be the test run itself, because launch() lets all later children
of its caller be born in the container.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from compose.runtime import cgroups
from compose.runtime.container import entrance, seccomp
from compose.runtime.container.child import Stdio
from compose.runtime.container.enter import enter
from compose.runtime.container.launch import launch
from compose.runtime.container.oci import default_oci
from compose.runtime.container.steps import LaunchError
from compose.runtime.supervision.children import remove_cgroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compose.runtime.container.child import Launched
    from compose.runtime.spec import ContainerSpec, Process

T = TypeVar("T")
BASE = f"pycompose/test-launch-{os.getpid()}"


class Refused(Exception):  # noqa: N818
    """What `in_monitor` raises for a LaunchError of its process."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def in_monitor(work: Callable[[], T]) -> T:
    """The result of `work`, which must be JSON, from a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        answer: dict[str, Any] = {}
        try:
            answer["value"] = work()
        except LaunchError as error:
            answer["refused"] = [error.message, error.reason]
        except BaseException:
            answer["trace"] = traceback.format_exc()
        with os.fdopen(writer, "w") as file:
            json.dump(answer, file)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    answer = json.loads(text)
    if "refused" in answer:
        raise Refused(*answer["refused"])
    assert "trace" not in answer, answer["trace"]
    value: T = answer["value"]
    return value


@contextmanager
def forking_always() -> Iterator[None]:
    """Whatever enters a container meanwhile is forked, as what cannot be written down."""
    written = entrance.spawn
    vars(entrance)["spawn"] = lambda *_: None
    try:
        yield
    finally:
        vars(entrance)["spawn"] = written


class Done:
    """How a process ended, and what it wrote."""

    def __init__(self, code: int, output: str, warnings: list[str]) -> None:
        self.code = code
        self.output = output
        self.warnings = warnings


class Box:
    """Makes containers of one root file system."""

    def __init__(self, directory: str, root: str) -> None:
        self.directory = directory
        self.root = root
        self.cache = f"{directory}/cache"

    def spec(self, *args: str, **options: Any) -> ContainerSpec:
        """A container as the engine would make it, with a network namespace of its own that has only lo."""
        identity = secrets.token_hex(32)
        for name in ("upper", "work"):
            os.makedirs(f"{self.directory}/{identity}/{name}")
        oci = default_oci(args, **options)
        oci["linux"]["namespaces"].append({"type": "network"})
        program = ""
        if not options.get("privileged"):
            program = seccomp.program(oci["process"]["capabilities"]["bounding"], self.cache)
        return {
            "version": 1,
            "id": identity,
            "oci": oci,
            "rootfs": {
                "lower": [self.root],
                "upper": f"{self.directory}/{identity}/upper",
                "work": f"{self.directory}/{identity}/work",
            },
            "network_namespace": "",
            "seccomp": program,
        }

    def shell(self, script: str, **options: Any) -> Done:
        """Run a script to its end in a container of its own."""
        return self.run(self.spec("sh", "-c", script, **options))

    def run(self, spec: ContainerSpec) -> Done:
        """Run process 1 of `spec` to its end."""

        def work() -> list[Any]:
            with Running(spec) as running:
                return [running.wait(), running.output(), running.launched.warnings]

        return Done(*in_monitor(work))

    def refused(self, spec: ContainerSpec) -> Refused:
        """Why the container cannot be started."""
        try:
            done = self.run(spec)
        except Refused as error:
            return error
        raise AssertionError(f"it ran: {done.code} {done.output}")

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


class Running:
    """A container that runs; only inside `in_monitor`."""

    def __init__(
        self,
        spec: ContainerSpec,
        files: dict[int, list[int]] | None = None,
        joined: dict[str, int] | None = None,
    ) -> None:
        self.spec = spec
        resources = spec["oci"]["linux"].get("resources")
        self.cgroup = cgroups.create(BASE, spec["id"], resources)
        self._reader, writer = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.launched = launch(spec, Stdio(null, writer, writer), self.cgroup, joined, files)
        except BaseException:
            remove_cgroup(self.cgroup)
            cgroups.remove_base(BASE)
            raise
        finally:
            os.close(writer)
            os.close(null)
        self._ended = False

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended:
            self.cgroup.kill()
            self.wait()
        remove_cgroup(self.cgroup)
        cgroups.remove_base(BASE)
        os.close(self.launched.pidfd)

    def wait(self) -> int:
        """Wait for process 1. It does not end before all that was entered is waited for as well."""
        self._ended = True
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == self.launched.pid:
                return os.waitstatus_to_exitcode(status)

    def output(self) -> str:
        """Everything that process 1 and its children have written; waits until the last one has ended."""
        with os.fdopen(self._reader, "rb") as file:
            return file.read().decode(errors="replace")

    def line(self) -> str:
        """The next line of output."""
        found = b""
        while not found.endswith(b"\n"):
            part = os.read(self._reader, 1)
            if not part:
                break
            found += part
        return found.decode().rstrip("\n")

    def exec(self, *args: str, **changes: Any) -> Done:
        """Run one more process to its end."""
        reader, writer = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            entered = self.enter(Stdio(null, writer, writer), *args, **changes)
        finally:
            os.close(writer)
            os.close(null)
        code = os.waitstatus_to_exitcode(os.waitpid(entered.pid, 0)[1])
        with os.fdopen(reader, "rb") as file:
            output = file.read().decode(errors="replace")
        os.close(entered.pidfd)
        return Done(code, output, entered.warnings)

    def enter(self, stdio: Stdio, *args: str, **changes: Any) -> Launched:
        process: Process = {**self.spec["oci"]["process"], "args": list(args), **changes}  # type: ignore[typeddict-item]
        return enter(
            self.launched.pid,
            process,
            stdio,
            pidfd=self.launched.pidfd,
            cgroup=self.cgroup,
            seccomp=self.spec["seccomp"],
        )
