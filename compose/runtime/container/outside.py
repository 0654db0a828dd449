"""The root file system of a container, as seen from outside: a descriptor to look things up beneath.

    with opened(paths, spec, state) as root: open_in_root(root, "/etc/passwd", os.O_RDONLY)

A running container's root is that of its process 1, with everything that is mounted in there. For one that
does not run, the same is mounted once more, for the time being, in a mount namespace that nobody else is in;
the project's lock must be held then, because an overlay may be mounted only once. Nothing in there is ever
entered: what a path leads to is resolved by openat2 beneath the descriptor, and all of it is hostile.
"""

from __future__ import annotations

import contextlib
import os

from compose.errors import ContainerError
from compose.linux import mount as m
from compose.linux.private_mounts import in_private_mounts
from compose.linux.process import pidfd_open
from compose.runtime import records
from compose.runtime.container import enter, rootfs, steps
from compose.runtime.container.mounts.attach import attach_all
from compose.runtime.container.mounts.images import IMAGE, open_images
from compose.runtime.container.mounts.sources import is_bind, open_source
from compose.runtime.container.steps import Failure, Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.runtime.spec import ContainerSpec, ContainerState


@contextlib.contextmanager
def opened(spec: ContainerSpec, state: ContainerState) -> Iterator[int]:
    """A descriptor of the root directory, with volumes and binds. Raises `ContainerError`.

    The project's lock is held by the caller unless the container runs.
    """
    status = state.get("status", "created")
    if status == "restarting":
        raise ContainerError(f"container {spec['name']} is restarting: wait until it runs, or stop it")
    if status in ("running", "paused"):
        root, keep = _of_process(state), -1
    else:
        root, keep = _mounted(spec)
    try:
        yield root
    finally:
        os.close(root)
        if keep >= 0:
            os.close(keep)


def _of_process(state: ContainerState) -> int:
    pid = state.get("pid", 0)
    try:
        pidfd = pidfd_open(pid)
    except OSError:
        raise ContainerError("the container has just ended") from None
    try:
        if records.start_time(pid) != state.get("start_time"):
            raise ContainerError("the container has just ended")
        return enter.open_root(pid, pidfd)
    finally:
        os.close(pidfd)


def _mounted(spec: ContainerSpec) -> tuple[int, int]:
    """The root, mounted anew, and what keeps it mounted: a descriptor of its mount namespace."""
    everything = spec["oci"].get("mounts") or ()
    binds = [mount for mount in everything if is_bind(mount)]
    images = [mount for mount in everything if mount.get("type") == IMAGE]
    progress = Progress(-1)
    found = [
        (mount, source) for index, mount in enumerate(binds) if (source := _source(mount, index)) is not None
    ]
    shown = [*(mount for mount, _ in found), *images]
    sources = {index: source for index, (_, source) in enumerate(found)}

    def work() -> tuple[int, int]:
        keep = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            trees = open_images(images, progress)
            sources.update({len(found) + index: tree for index, tree in trees.items()})
            plain = (spec["oci"].get("root") or {}).get("path") or ""
            root = rootfs.make_root(spec.get("rootfs"), plain, progress)
            attach_all(root, shown, sources, None, progress)
            if (spec["oci"].get("root") or {}).get("readonly"):
                m.mount_setattr(root, "", flags=m.AT_EMPTY_PATH, attr_set=m.MOUNT_ATTR_RDONLY)
        except BaseException:
            os.close(keep)
            raise
        return root, keep

    try:
        return in_private_mounts(work)
    except Failure as failure:
        raise ContainerError(_words(failure.step, failure.number, spec)) from None
    except OSError as error:
        raise ContainerError(_words(progress.step, error.errno or 0, spec)) from None


def _words(step: int, number: int, spec: ContainerSpec) -> str:
    return f"container {spec['name']}: {steps.words(step, number, 0, '')}"


def _source(mount: dict[str, object], index: int) -> int | None:
    """What a bind shows; None when it is not there any more."""
    try:
        return open_source(mount, index)
    except (OSError, Failure):
        return None
