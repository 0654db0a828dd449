"""Where a container's control group lies, by ``linux.cgroupsPath``, and how it comes to be there.

With --systemd-cgroup it is a scope of systemd's, in a slice. On version 2 systemd has to be asked for it: it
takes controllers away from groups in its slices that it knows nothing of.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import os

from compose.errors import ContainerError
from compose.linux import process
from compose.oci.container import BASE
from compose.runtime.cgroups import parent, systemd, versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.runtime.spec import OciConfig

_SIGKILL = 9


def path_of(config: OciConfig, identity: str, *, by_systemd: bool) -> str:
    """The group's path below each hierarchy's root; raises `ContainerError`."""
    wanted = str((config.get("linux") or {}).get("cgroupsPath") or "")
    if not wanted:
        return f"{BASE}/{identity}"
    if by_systemd:
        parts = wanted.split(":")
        if len(parts) != 3:
            raise ContainerError(
                f"linux.cgroupsPath: {wanted}: with --systemd-cgroup write SLICE:PREFIX:NAME"
            )
        slice_name, prefix, name = parts
        return f"{parent.slice_path(slice_name or 'system.slice')}/{prefix}-{name}.scope".lstrip("/")
    path = os.path.normpath("/" + wanted).strip("/")
    if not path:
        raise ContainerError(f"linux.cgroupsPath: {wanted}: not a group of its own")
    return path if "/" in path else f"{BASE}/{path}" if not wanted.startswith("/") else path


@contextlib.contextmanager
def there(path: str, *, by_systemd: bool) -> Iterator[None]:
    """While this lasts, the group is there if it is systemd's; after that as long as it has processes.

    A scope begins with a process: a child of ours that does nothing, and that ends with us.
    """
    base, _, name = path.rpartition("/")
    slice_name = base.rpartition("/")[2]
    ours = not (by_systemd and slice_name.endswith(".slice") and name.endswith(".scope"))
    if ours or versions.version() == 1 or not systemd.is_running():
        yield
        return
    pid = _stand_in(os.getpid())
    try:
        try:
            new = parent.new_slices(slice_name)
            systemd.enter_scope(name, pid, f"OCI container {name}", "", slice_name, new)
        except OSError as error:
            raise ContainerError(f"linux.cgroupsPath: {path}: {error.strerror or error}") from None
        yield
    finally:
        os.kill(pid, _SIGKILL)
        os.waitpid(pid, 0)


def _stand_in(above: int) -> int:
    """A child that waits for its end."""
    pid = os.fork()
    if pid:
        return pid
    process.prctl(process.PR_SET_PDEATHSIG, _SIGKILL)
    while os.getppid() == above:
        _signal.pause()
    os._exit(0)
