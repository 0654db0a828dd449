"""OCI bundles, and the runtime's command line as its callers use it."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from compose.runtime.container.oci import default_oci
from tests.support.command import PROGRAM, Done
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from pathlib import Path


class Bundle:
    """A directory with config.json and a root file system of its own."""

    def __init__(self, directory: Path, busybox_root: str) -> None:
        self.directory = directory
        self.root = directory / "rootfs"
        shutil.copytree(busybox_root, self.root, symlinks=True)
        self.root.chmod(0o755)

    def configure(self, *args: str, **process: Any) -> dict[str, Any]:
        """Write Docker's defaults for a program; what was written, to be changed and `write`\\ n again."""
        config: dict[str, Any] = dict(default_oci(args))
        config["root"] = {"path": "rootfs"}
        config["linux"]["namespaces"].append({"type": "network"})
        config["process"] |= {"user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"], **process}
        self.write(config)
        return config

    def shell(self, script: str, **process: Any) -> dict[str, Any]:
        """`configure` for a shell script."""
        return self.configure("sh", "-c", script, **process)

    def write(self, config: dict[str, Any]) -> None:
        (self.directory / "config.json").write_text(json.dumps(config))


class Runtime:
    """``pycompose oci`` with a place of its own for containers."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, *arguments: str) -> list[str]:
        return [PROGRAM, "oci", "--root", str(self.root), *arguments]

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start an operation; without options its output is in pipes."""
        defaults: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        defaults |= {"stdin": subprocess.DEVNULL, "text": True}
        return subprocess.Popen(self.command(*arguments), **(defaults | options))

    def run(self, *arguments: str, **options: Any) -> Done:
        """Carry out an operation to its end, whatever its exit code."""
        with self.start(*arguments, **options) as process:
            out, err = process.communicate(timeout=MOMENT)
        assert "Traceback" not in (err or ""), err
        return Done(process.returncode, out or "", err or "")

    def good(self, *arguments: str, **options: Any) -> str:
        """One that must succeed; its output."""
        done = self.run(*arguments, **options)
        assert done.code == 0, (arguments, done)
        return done.out

    def fails(self, *arguments: str, **options: Any) -> str:
        """One that must fail; what it says."""
        done = self.run(*arguments, **options)
        assert (done.code, done.out) == (255 if arguments[0] == "exec" else 1, ""), (arguments, done)
        return done.err

    def state(self, identity: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.good("state", identity))
        return found

    def status(self, identity: str) -> str:
        return str(self.state(identity)["status"])


class Caller:
    """Who calls ``create`` as conmon does: the container has its pipes, and becomes its child."""

    def __init__(self, runtime: Runtime, bundle: Bundle, identity: str, *arguments: str) -> None:
        self.runtime = runtime
        self.identity = identity
        pid_file = bundle.directory / f"{identity}.pid"
        self.output, writer = os.pipe()
        try:
            options = ("create", "--bundle", str(bundle.directory), "--pid-file", str(pid_file), *arguments)
            # Not a pipe: the container keeps it, and there would be no end to it.
            with open(bundle.directory / f"{identity}.err", "w+") as errors:
                with runtime.start(*options, identity, stdout=writer, stderr=errors) as process:
                    self.code = process.wait(MOMENT)
                errors.seek(0)
                self.error = errors.read()
        finally:
            os.close(writer)
        self.pid = int(pid_file.read_text()) if pid_file.exists() else 0

    def wait(self) -> int:
        """The exit code of process 1, from the kernel."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def silent(self) -> bool:
        """Whether nothing was written and nobody has closed the pipe."""
        return not select.select([self.output], [], [], 0)[0]

    def text(self) -> str:
        """All that is written until everybody has closed the pipe."""
        with os.fdopen(self.output, "rb") as file:
            return file.read().decode()


def reap() -> None:
    """Wait for containers that have become our children."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return
