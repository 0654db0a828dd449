"""The root file system: an overlay of layers, and safe ways to reach what lies in it.

Everything below the root comes from an image and is hostile. It is reached only relative to a descriptor of
the root, by openat2 with RESOLVE_IN_ROOT, or component by component without following links, never by a path
that was put together as a string.
"""

from __future__ import annotations

import os
import stat

from compose.linux import beneath
from compose.linux import mount as m
from compose.linux.beneath import open_in_root
from compose.linux.namespaces import initial_user_namespace
from compose.runtime.container.steps import LAYER, NOT_A_DIRECTORY_OF_THE_IMAGE, ROOT, UNSAFE_ROOT, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.runtime.container.steps import Progress
    from compose.runtime.spec import RootFilesystem

RESERVED = ("proc", "sys", "dev")
"""What we mount over; an image in which one of them is a link could redirect what is written there."""

_ENOSPC, _EROFS = 28, 30
_O_PATH_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_ELOOP = 40
_LONGEST_CHAIN = 40
_OVERLAY_OPTIONS = {"index": "off", "metacopy": "off", "redirect_dir": "nofollow"}


def open_layers(rootfs: RootFilesystem, progress: Progress) -> list[int]:
    """Descriptors of the layers, uppermost first, then of the upper and work directories where there are any.

    They are opened in the container's mount namespace: the kernel takes layers from no other.
    """
    paths = layer_paths(rootfs)
    found = []
    for index, path in enumerate(paths):
        progress.at(LAYER, index)
        found.append(os.open(path, _O_PATH_DIRECTORY))
    return found


def layer_paths(rootfs: RootFilesystem) -> list[str]:
    """The paths behind `open_layers`, in its order."""
    writable = [rootfs["upper"], rootfs["work"]] if rootfs.get("upper") else []
    return [*rootfs["lower"], *writable]


def mount_overlay(layers: Sequence[int], *, writable: bool, target: str) -> int:
    """Mount the overlay of `layers` (as from `open_layers`) at `target`; returns a descriptor of its root.

    The layers are named as ``N`` with /proc/self/fd as working directory: neither the length of their paths
    nor the 4096 bytes of mount(2)'s options limit their number then, and the container's /proc/mounts does
    not tell where they lie. `lowerdir+` needs Linux 6.7; before that mount(2) does it.
    """
    names = [str(number) for number in layers]
    lower = names[:-2] if writable else names
    options = _options()
    if writable:
        options.update(upperdir=names[-2], workdir=names[-1])
    with _among_descriptors():
        root = _mount_overlay(lower, options, target)
    if writable and os.fstatvfs(root).f_flag & os.ST_RDONLY:
        _refuse_read_only(root, layers[-2])
    return root


def _refuse_read_only(root: int, upper: int) -> None:
    """Raise the reason: without room for its working directory the kernel mounts an overlay read-only."""
    os.close(root)
    number = _EROFS if os.fstatvfs(upper).f_flag & os.ST_RDONLY else _ENOSPC
    raise OSError(number, os.strerror(number))


def read_only_overlay(layers: Sequence[int]) -> int:
    """A detached overlay of `layers`, uppermost first; of a single one a clone of it. Nothing is attached.

    Before Linux 6.7 the layers have to fit into 255 bytes, which is some eighty of them.
    """
    if len(layers) == 1:
        return m.clone_tree(layers[0])
    names = [str(number) for number in layers]
    with _among_descriptors():
        try:
            return _overlay([("lowerdir+", name) for name in names], _options())
        except OSError as error:
            if error.errno != 22:  # EINVAL
                raise
            return _overlay([("lowerdir", ":".join(names))], _options())


def _options() -> dict[str, str]:
    return _OVERLAY_OPTIONS | ({} if initial_user_namespace() else {"userxattr": ""})


class _among_descriptors:  # noqa: N801 - used as a verb; contextlib would cost every helper its imports
    """Names are those of our descriptors meanwhile."""

    def __enter__(self) -> None:
        self._former = os.open(".", _O_PATH_DIRECTORY)
        os.chdir("/proc/self/fd")

    def __exit__(self, *_error: object) -> None:
        os.fchdir(self._former)
        os.close(self._former)


def _overlay(lower: Sequence[tuple[str, str]], options: dict[str, str]) -> int:
    context = m.fsopen("overlay")
    try:
        m.fsconfig_string(context, "source", "overlay")
        for key, value in lower:
            m.fsconfig_string(context, key, value)
        for key, value in options.items():
            if value:
                m.fsconfig_string(context, key, value)
            else:
                m.fsconfig_flag(context, key)
        m.fsconfig_create(context)
        return m.fsmount(context)
    finally:
        os.close(context)


def _mount_overlay(lower: list[str], options: dict[str, str], target: str) -> int:
    try:
        root = _overlay([("lowerdir+", name) for name in lower], options)
    except OSError as error:
        if error.errno != 22:  # EINVAL: an option that this kernel does not know
            raise
        return _mount_overlay_by_path(lower, options, target)
    attach_over(root, target)
    return root


def _mount_overlay_by_path(lower: list[str], options: dict[str, str], target: str) -> int:
    words = [
        f"lowerdir={':'.join(lower)}",
        *(f"{key}={value}" if value else key for key, value in options.items()),
    ]
    m.mount("overlay", target, "overlay", 0, ",".join(words))
    return os.open(target, _O_PATH_DIRECTORY)


def attach_over(tree: int, target: str) -> None:
    """Attach the detached mount `tree` at a path of the host (in our own mount namespace)."""
    place = os.open(target, _O_PATH_DIRECTORY)
    try:
        m.move_mount(tree, place)
    finally:
        os.close(place)


def bind_directory(path: str, target: str, *, readonly: bool) -> int:
    """Use the directory `path` itself as the root, attached at `target`; returns a descriptor of it."""
    tree = m.open_tree(m.AT_FDCWD, path, m.OPEN_TREE_CLONE)
    attributes = m.MOUNT_ATTR_RDONLY if readonly else 0
    m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH, attr_set=attributes, propagation=m.MS_PRIVATE)
    attach_over(tree, target)
    return tree


def make_root(rootfs: RootFilesystem | None, plain: str, progress: Progress) -> int:
    """Mount the container's root in our mount namespace; returns a descriptor of it.

    Without `rootfs` the directory `plain` is the root. One layer without an upper directory is bound
    read-only, because the kernel makes no overlay of a single directory.
    """
    progress.at(ROOT)
    if not rootfs:
        return bind_directory(plain, plain, readonly=False)
    writable = bool(rootfs.get("upper"))
    target = rootfs["lower"][0]
    if not writable and len(rootfs["lower"]) == 1:
        return bind_directory(target, target, readonly=True)
    layers = open_layers(rootfs, progress)
    progress.at(ROOT)
    return mount_overlay(layers, writable=writable, target=target)


def check_reserved(root: int) -> None:
    """Refuse an image whose /proc, /sys or /dev is no real directory; make the missing ones."""
    for index, name in enumerate(RESERVED):
        try:
            found = os.stat(name, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            os.mkdir(name, 0o755, dir_fd=root)
            continue
        if not stat.S_ISDIR(found.st_mode):
            raise Failure(UNSAFE_ROOT, NOT_A_DIRECTORY_OF_THE_IMAGE, index)


def open_plain(root: int, path: str, flags: int) -> int:
    """Open an existing path of the container that must not contain any link."""
    return beneath.open_plain(root, path.lstrip("/"), flags)


def open_target(root: int, path: str, *, directory: bool, mode: int = 0o755) -> int:
    """A descriptor of the mount point `path`, which is made (as root, with `mode` if a directory) if need be.

    Only a directory of the root's own file system gets another mode than 0755: others are seen elsewhere too.

    Raises ELOOP for a magic link on the way, and `Failure` when the way leaves the root.
    """
    try:
        return open_in_root(root, path, os.O_PATH)
    except FileNotFoundError:
        return _make(root, path, directory=directory, mode=mode)


def _make(root: int, path: str, *, directory: bool, mode: int) -> int:
    """Walk to `path`, making what is missing, by descriptors alone; ".." pops, and never goes above the root.

    Links are followed by hand, within the root: an image may well have /etc/resolv.conf as a link to a file
    that is not there yet.
    """
    todo = [part for part in path.split("/") if part not in ("", ".")][::-1]
    way = [os.dup(root)]
    links = 0
    try:
        while todo:
            name = todo.pop()
            if name == "..":
                if len(way) > 1:
                    os.close(way.pop())
                continue
            try:
                found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=way[-1])
            except FileNotFoundError:
                own = not todo and os.fstat(way[-1]).st_dev == os.fstat(root).st_dev
                found = _make_one(
                    way[-1], name, directory=directory or bool(todo), mode=mode if own else 0o755
                )
            if stat.S_ISLNK(os.fstat(found).st_mode):
                links += 1
                os.close(found)
                if links > _LONGEST_CHAIN:
                    raise OSError(_ELOOP, "too many links")
                todo += _follow(way, name)
                continue
            way.append(found)
        return os.dup(way[-1])
    finally:
        for descriptor in way:
            os.close(descriptor)


def _follow(way: list[int], name: str) -> list[str]:
    """The components that the link `name` stands for, reversed; an absolute one starts from the root."""
    text = os.readlink(name, dir_fd=way[-1])
    if text.startswith("/"):
        while len(way) > 1:
            os.close(way.pop())
    return [part for part in text.split("/") if part not in ("", ".")][::-1]


def _make_one(parent: int, name: str, *, directory: bool, mode: int) -> int:
    if directory:
        former = os.umask(0o022 if mode == 0o755 else 0)
        os.mkdir(name, mode, dir_fd=parent)
        os.umask(former)
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644, dir_fd=parent))
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def change_root(root: int, progress: Progress, step: int) -> None:
    """Make `root` the root of this mount namespace and let go of the host's."""
    progress.at(step)
    os.fchdir(root)
    m.pivot_root(".", ".")
    m.umount2(".", m.MNT_DETACH)
    os.chdir("/")
