"""What all hooks are: a process of the container's kind, its output, its failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ContainerError
from compose.runtime.container.capabilities import select as select_capabilities
from compose.runtime.container.oci import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from compose.runtime.spec import Process

    Detail = Callable[[str, str, float | None], None]

_LONGEST_LINE = 65536


class HookError(ContainerError):
    """A hook has failed."""


class Output:
    """The lines of a hook as they come, told to whoever listens; the last one is kept."""

    def __init__(self, detail: Detail, what: str) -> None:
        self._detail = detail
        self._what = what
        self._rest = b""
        self.last = ""

    def take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._tell(line)

    def end(self) -> None:
        if self._rest:
            self._tell(self._rest)
            self._rest = b""

    def _tell(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self.last = text.strip() or self.last
        self._detail(self._what, text, None)


def failure(what: str, code: int | None, last: str) -> str:
    """Why a hook has failed, in words; `last` is the last line that it wrote."""
    number = "an unknown exit code" if code is None else str(code)
    return f"{what} failed: it exited with {number}{f': {last[:300]}' if last else ''}"


def adapt(process: Process, hook: Mapping[str, Any]) -> None:
    """What a hook may say of the process that it is."""
    own = hook.get("environment") or {}
    entries = [key if value is None else f"{key}={value}" for key, value in own.items()]
    process["env"] = environment([*process.get("env", []), *entries])
    if hook.get("user"):
        process["user"] = {"username": str(hook["user"])}
    if hook.get("working_dir"):
        process["cwd"] = str(hook["working_dir"])
    if hook.get("privileged"):
        names = select_capabilities(privileged=True)
        process["capabilities"] = {"bounding": names, "effective": names, "permitted": names}
