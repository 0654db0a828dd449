"""Files of the host that are mounted one by one, and follow what their editors do.

A mount holds on to the file that was there, whereas most programs save by writing another file and renaming
it over the first. The directories of such files are watched, and the mount is replaced (mounts/swap.py).

    the host's side     the path is resolved once, when the container starts. From then on no link is followed
                        on it, since a container may have the directory as well, and write to it
    after our death     state.json has the resolved paths, the keeper the mounts (``file/PLACE/GENERATION``)
    what is followed    regular files and sockets; while there is none, or something else, the old one stays
"""

from __future__ import annotations

import os
import stat

from compose.linux import mount as m
from compose.linux.beneath import RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2
from compose.linux.inotify import CREATE, DELETE, IGNORED, MOVED_FROM, MOVED_TO, ONLYDIR, OVERFLOW, Inotify
from compose.runtime.container.mounts import swap
from compose.runtime.container.mounts.options import Options
from compose.runtime.container.mounts.sources import open_place
from compose.runtime.container.steps import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from compose.runtime.loop import Loop
    from compose.runtime.supervision.monitor.link import Link

_NO_LINKS = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
_HERE = m.AT_FDCWD
_WATCHED = CREATE | DELETE | MOVED_FROM | MOVED_TO | ONLYDIR
_NEAR = 2
"""How many directories above a file are watched while it is there; all of them when it is gone."""
_PREFIX = "file/"


class File:
    """One mount: where its file is on the host, and the descriptors that may stand for it inside."""

    __slots__ = ("floor", "generation", "options", "path", "trees", "watches")

    def __init__(self, path: str, words: Sequence[str]) -> None:
        self.path = path
        """Absolute and without links."""
        self.options = words
        self.trees: dict[int, int] = {}
        """Generation -> descriptor; one, unless a swap was killed."""
        self.generation = 0
        self.floor = -1
        """What lies below the mount on kernels before 6.5 (generation 0)."""
        self.watches: set[int] = set()

    def chain(self) -> list[int]:
        """What `launch` attaches, one on the other."""
        return [*([self.floor] if self.floor >= 0 else []), *self.trees.values()]


class Follower:
    """The followed files of one container."""

    __slots__ = ("_files", "_inotify", "_link", "_loop", "_names", "_pidfd")

    def __init__(self, loop: Loop, link: Link) -> None:
        self._loop = loop
        self._link = link
        self._files: dict[int, File] = {}
        self._inotify: Inotify | None = None
        self._names: dict[int, dict[int, str]] = {}
        """Watch -> place of a file -> the name in the watched directory that it depends on."""
        self._pidfd = -1

    def open(self, mounts: Sequence[dict[str, Any]]) -> dict[int, list[int]]:
        """Before a start: detached clones of the files that are followed, by place in `mounts`.

        They stay open here; `launch` attaches them, each one on the one before it.
        """
        self.end()
        for place, mount in enumerate(mounts):
            if mount.get("follow"):
                file = File(_real_path(mount), mount.get("options") or ())
                tree = _clone(file.path) if file.path else -1
                if tree >= 0:
                    self._files[place] = file
                    if not swap.has_beneath():
                        file.floor = swap.floor()
                        self._link.put_own({_name(place, 0): [file.floor]})
                    self._hold(place, tree)
        return {place: file.chain() for place, file in self._files.items()}

    def paths(self) -> dict[str, str]:
        """What a successor has to know: the path by place, as JSON has it."""
        return {str(place): file.path for place, file in self._files.items()}

    def resume(self, mounts: Sequence[dict[str, Any]], paths: dict[str, str]) -> None:
        """Go on for a predecessor, with its `paths` and what the keeper holds."""
        for name in self._link.own_names(_PREFIX):
            _, place, generation = name.split("/")
            path, descriptors = paths.get(place), self._link.own(name)
            if path is None or not descriptors:
                self._link.release(name)
                continue
            words = mounts[int(place)].get("options") or ()
            file = self._files.setdefault(int(place), File(path, words))
            if generation == "0":
                file.floor = descriptors[0]
            else:
                file.trees[int(generation)] = descriptors[0]
                file.generation = max(file.generation, int(generation))

    def begin(self, pidfd: int) -> list[str]:
        """The container runs: watch from here on, and see what has happened since its files were opened.

        Returns warnings: it runs without being followed where the host lets nothing be watched.
        """
        self._pidfd = pidfd
        if not self._files:
            return []
        try:
            self._inotify = Inotify()
        except OSError as error:
            return [
                f"mounted files are not followed: inotify: {os.strerror(error.errno or 0)};"
                " more than fs.inotify.max_user_instances may be in use"
            ]
        self._loop.reader(self._inotify.descriptor, self._changed)
        for place in self._files:
            self._look(place)
        return []

    def end(self) -> None:
        """The container has ended."""
        if self._inotify is not None:
            self._loop.forget(self._inotify.descriptor)
            self._inotify.close()
            self._inotify = None
        self._names.clear()
        self._files.clear()
        self._link.release(*self._link.own_names(_PREFIX))

    def _hold(self, place: int, tree: int) -> None:
        file = self._files[place]
        file.generation += 1
        file.trees[file.generation] = tree
        self._link.put_own({_name(place, file.generation): [tree]})

    def _changed(self) -> None:
        assert self._inotify is not None
        places: set[int] = set()
        for watch, mask, name in self._inotify.read():
            if mask & OVERFLOW:
                places.update(self._files)
                continue
            names = self._names.get(watch, {})
            places.update(place for place, wanted in names.items() if wanted == name)
            if mask & IGNORED:
                self._names.pop(watch, None)
        for place in places:
            self._look(place)

    def _look(self, place: int) -> None:
        """Watch the way to a file, then see whether it is another one."""
        file = self._files[place]
        self._watch(place, file, _NEAR)
        tree = _clone(file.path)
        if tree < 0:
            self._watch(place, file, None)
            tree = _clone(file.path)
        if tree < 0:
            return
        if len(file.trees) == 1 and os.path.samestat(os.fstat(tree), os.fstat(*file.trees.values())):
            os.close(tree)
            return
        try:
            Options(file.options).apply(tree)
        except OSError:
            os.close(tree)
            return
        self._replace(place, file, tree)

    def _replace(self, place: int, file: File, tree: int) -> None:
        former = dict(file.trees)
        self._hold(place, tree)  # the intent: whoever finds us dead has both
        replaced = swap.swap(self._pidfd, list(former.values())[::-1], tree, file.floor)
        for generation in former if replaced else [file.generation]:
            del file.trees[generation]
            self._link.release(_name(place, generation))

    def _watch(self, place: int, file: File, levels: int | None) -> None:
        """Watch that many of the directories above a file, as far as they are there; None: all."""
        assert self._inotify is not None
        found = {}
        for directory, name in _way(file.path)[:levels]:
            watch = self._add(directory)
            if watch >= 0:
                found[watch] = name
        for watch, name in found.items():
            self._names.setdefault(watch, {})[place] = name
        for watch in file.watches - found.keys():
            others = self._names.get(watch, {})
            others.pop(place, None)
            if watch in self._names and not others:
                del self._names[watch]
                self._inotify.remove(watch)
        file.watches = set(found)

    def _add(self, directory: str) -> int:
        assert self._inotify is not None
        try:
            place = openat2(_HERE, directory, os.O_PATH | os.O_DIRECTORY, resolve=_NO_LINKS)
        except OSError:
            return -1
        try:
            return self._inotify.add(f"/proc/self/fd/{place}", _WATCHED)
        except OSError:
            return -1
        finally:
            os.close(place)


def _real_path(mount: dict[str, Any]) -> str:
    """Where the source is now, on a path without links; "" where it cannot be had: a start will tell."""
    try:
        place = open_place(mount)
    except (OSError, Failure):
        return ""
    try:
        return os.readlink(f"/proc/self/fd/{place}")
    finally:
        os.close(place)


def _way(path: str) -> list[tuple[str, str]]:
    """The directories above a path, the nearest first, each with the name in it that leads on."""
    found = []
    while path != "/":
        path, name = os.path.split(path)
        found.append((path, name))
    return found


def _name(place: int, generation: int) -> str:
    return f"{_PREFIX}{place}/{generation}"


def _clone(path: str) -> int:
    """A detached mount of a regular file or socket, or -1."""
    try:
        file = openat2(_HERE, path, os.O_PATH | os.O_NOFOLLOW, resolve=_NO_LINKS)
    except OSError:
        return -1
    try:
        if stat.S_IFMT(os.fstat(file).st_mode) not in (stat.S_IFREG, stat.S_IFSOCK):
            return -1
        return m.open_tree(file, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
    except OSError:
        return -1
    finally:
        os.close(file)
