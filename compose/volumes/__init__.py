"""Named and anonymous volumes: their directories, their first content, their end.

    VOLUMES/NAME/data          what containers see; never replaced, since one may have it mounted already
    VOLUMES/NAME/options.json  what is mounted on ``data``, or which directory stands for it (local.py)
    VOLUMES/NAME/filling.PID   content that is being copied
    VOLUMES/NAME/filled        content that is whole and on disk, on its way into ``data``, entry by entry

Where ``data`` is another file system the last two lie in it, as .pycompose-filling.PID and .pycompose-filled.

Whoever comes next goes on with what is in ``filled``: a volume is filled or empty, after a kill or a power
cut too.

The index says which volumes there are; a directory without a row is the rest of something killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from compose.errors import VolumeError
from compose.linux.beneath import remove_path
from compose.linux.files import syncfs
from compose.linux.mount import MNT_DETACH, umount2
from compose.state.files import read_json, replace_json
from compose.volumes.local import Local, is_mounted, mounted_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from compose.state.paths import Paths

_OPTIONS = "options.json"
_OURS = ".pycompose-"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class VolumeStore:
    """The directories of all volumes."""

    __slots__ = ("_root",)

    def __init__(self, paths: Paths) -> None:
        self._root = paths.volumes

    def directory(self, name: str) -> str:
        """The directory that containers see. Refuses names that could leave the store."""
        if not name or name[0] in ".-_" or not _NAME_CHARACTERS.issuperset(name) or len(name) > 200:
            raise VolumeError(
                f"volume name {name!r} is not allowed",
                hint="use letters, digits, '_', '.' and '-', beginning with a letter or digit",
            )
        return f"{self._root}/{name}/data"

    def define(self, name: str, options: Mapping[str, str]) -> None:
        """Make the volume `name` with these ``driver_opts``; one that is there keeps its own.

        Nothing is mounted before a container has it.
        """
        directory = self.directory(name)
        parent = os.path.dirname(directory)
        os.makedirs(parent, mode=0o700, exist_ok=True)
        if options and not os.path.lexists(directory):
            replace_json(f"{parent}/{_OPTIONS}", dict(options), durable=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o755)

    def create(self, name: str) -> str:
        """Make the volume `name`, or find it, and mount what its options say; returns what containers see.

        Raises `VolumeError`.
        """
        self.define(name, {})
        place = self._place(name)
        if place.local is not None:
            with _locked(place.parent):
                place.mount()
        if os.path.lexists(place.filled):
            with _locked(place.parent):
                _move_in(place)
        return place.directory

    def is_read_only(self, name: str) -> bool:
        """Whether its options make the whole volume read-only."""
        place = self._place(name)
        return place.local is not None and place.local.read_only

    def mount(self, name: str) -> None:
        """Mount what a volume's options say, where that is not so yet, as after a restart of the machine."""
        if self._place(name).local is not None:
            self.create(name)

    def release(self, used: Collection[str]) -> None:
        """Unmount what no container has any more; `used` are the names of the volumes that some have."""
        try:
            names = os.listdir(self._root)
        except FileNotFoundError:
            return
        for name in names:
            if name not in used and os.path.exists(f"{self._root}/{name}/{_OPTIONS}"):
                with contextlib.suppress(VolumeError, FileNotFoundError), _locked(f"{self._root}/{name}"):
                    self._place(name).unmount()

    def fill(self, name: str, copy: Callable[[str], object]) -> None:
        """Give an empty volume its first content: `copy` fills the directory that it is handed.

        It says with False that there is none. Does nothing when the volume holds anything. Two containers
        that share a new volume do not mix.
        """
        self.create(name)
        place = self._place(name)
        if place.local is not None and place.local.read_only:
            return
        with _locked(place.parent):
            if any(not entry.startswith(_OURS) for entry in os.listdir(place.directory)):
                return
            _sweep(place)
            scratch = f"{place.prefix}filling.{os.getpid()}"
            os.mkdir(scratch, 0o755)
            if copy(scratch) is False:
                os.rmdir(scratch)
                return
            with _opened(scratch) as descriptor:
                syncfs(descriptor)
            os.rename(scratch, place.filled)
            _move_in(place)

    def remove(self, name: str) -> None:
        """Remove the volume and its content; a missing one is none. What it only shows is unmounted, whatever
        its options say by now: that is not its content.

        Several may do so at once, as when the containers that share it go together.
        """
        data = self.directory(name)
        parent = os.path.dirname(data)
        try:
            with _locked(parent):
                _unmount(data)
                for path in mounted_below(parent):
                    raise VolumeError(f"volume {name}: {path} is mounted in it", hint=f"umount {path}")
                remove_path(parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise VolumeError(f"remove volume {name}: {error.strerror}: {error.filename}") from None

    def _place(self, name: str) -> _Place:
        data = self.directory(name)
        try:
            options = read_json(f"{os.path.dirname(data)}/{_OPTIONS}")
            if not isinstance(options, dict) or not all(isinstance(one, str) for one in options.values()):
                raise ValueError
        except FileNotFoundError:
            return _Place(data, None)
        except (OSError, ValueError, RecursionError):
            raise VolumeError(f"volume {name}: {_OPTIONS} is damaged", hint="remove the volume") from None
        return _Place(data, Local(name, options))


class _Place:
    """Where the content of a volume is, and where it comes through."""

    __slots__ = ("data", "directory", "local", "parent", "prefix")

    def __init__(self, data: str, local: Local | None) -> None:
        self.parent = os.path.dirname(data)
        self.data = data
        self.local = local
        self.directory = local.device if local is not None and local.is_bind else data
        self.prefix = f"{self.parent}/" if local is None else f"{self.directory}/{_OURS}"

    @property
    def filled(self) -> str:
        return f"{self.prefix}filled"

    def mount(self) -> None:
        """Mount what the options say, once."""
        assert self.local is not None
        self.local.check()
        if not self.local.is_bind and not is_mounted(self.data):
            self.local.mount(self.data)

    def unmount(self) -> None:
        """Nothing of the volume's own is lost by that, but a tmpfs."""
        if self.local is not None and not self.local.is_bind:
            _unmount(self.data)


def _unmount(directory: str) -> None:
    while is_mounted(directory):
        umount2(directory, MNT_DETACH)


def _move_in(place: _Place) -> None:
    """Move what is in ``filled`` to where containers see it; that directory gets its attributes, and what is
    there already stays. Containers may have it mounted: nothing is reached through a link."""
    try:
        source = os.open(place.filled, _DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return  # somebody else has done it
    try:
        with _opened(place.directory) as target:
            for entry in os.listdir(source):
                if not _exists(target, entry):
                    os.rename(entry, entry, src_dir_fd=source, dst_dir_fd=target)
            _take_over_attributes(source, target)
            os.fsync(target)
    finally:
        os.close(source)
    remove_path(place.filled)


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _take_over_attributes(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, status.st_mode & 0o7777)
    for name in os.listxattr(source):
        os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _sweep(place: _Place) -> None:
    directory, _, beginning = f"{place.prefix}filling.".rpartition("/")
    for entry in os.listdir(directory):
        if entry.startswith(beginning):
            remove_path(f"{directory}/{entry}")


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    with _opened(directory) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _opened(directory: str) -> Iterator[int]:
    descriptor = os.open(directory, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
