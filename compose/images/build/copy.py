"""COPY, ADD and WORKDIR: files that the builder itself puts into the image."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import re
import stat
from typing import IO, TYPE_CHECKING, ClassVar

from compose.errors import BuildError, ImageError
from compose.images.build.context import Tree
from compose.images.build.files import final_path, is_directory, make_directories, owner
from compose.images.build.instructions import Step
from compose.images.build.words import expand_raw, json_words, split
from compose.images.copying import Copier, Rules
from compose.images.overlay import mounted
from compose.images.tar import BLOCK, is_header, uncompressed
from compose.images.unpack import unpack
from compose.linux.beneath import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.images.build.state import StageState


class Workdir(Step):
    changes_files = True

    def prepare(self, stage: StageState) -> None:
        value = stage.expand(self.text, self.place)
        if not value:
            raise self.place.error("WORKDIR: the path is empty")
        self.path = stage.absolute(value).rstrip("/") or "/"

    def key(self, stage: StageState) -> list[object]:
        return ["WORKDIR", self.path]

    def execute(self, stage: StageState, directory: str) -> None:
        with _tree(stage, directory) as root:
            path = os.fsencode(self.path)
            if is_directory(root, path):
                return
            user = stage.config.get("User")  # as BuildKit: it belongs to the USER, not to root
            os.close(
                make_directories(root, path, owner(root, user, self.place) if user else None, self.place)
            )

    def commit(self, stage: StageState) -> None:
        stage.config["WorkingDir"] = self.path


class Copy(Step):
    changes_files = True
    flags: ClassVar[tuple[str, ...]] = ("from", "chown", "chmod", "link")
    unpacks: ClassVar[bool] = False
    _not_yet: ClassVar[tuple[str, ...]] = ("parents", "exclude", "checksum", "keep-git-dir", "unpack")

    def check_flag(self, name: str) -> None:
        if name in self._not_yet:
            raise self.place.error(f"{self.instruction.name} --{name} is not supported yet")
        super().check_flag(name)

    def parse(self) -> None:
        words = json_words(self.text)
        self.expands = words is None
        found = split(self.text, self.escape) if words is None else words
        if len(found) < 2:
            raise self.place.error(f"{self.instruction.name} needs a source and a destination")
        *self.raw_sources, self.raw_destination = found
        self.from_name = self.given.get("from", "")

    def prepare(self, stage: StageState) -> None:
        self.destination = self._expand(stage, self.raw_destination)
        self.chown = stage.expand(self.given.get("chown", ""), self.place)
        mode = stage.expand(self.given.get("chmod", ""), self.place)
        if mode and not re.fullmatch(r"[0-7]{1,4}", mode):
            raise self.place.error(f"--chmod={mode}: an octal number such as 755 is needed")
        self.mode = int(mode, 8) if mode else None
        self._inline(stage)
        self.patterns = [self._expand(stage, word) for word in self.raw_sources if not self._is_heredoc(word)]
        for pattern in self.patterns:
            if re.match(r"https?://|git@|git://|ssh://|ftp://", pattern):
                raise self.place.error(
                    f"{self.instruction.name} of an address is not supported: {pattern}",
                    hint="download it in a RUN step, or before the build",
                )
        self.sources: list[bytes] = []
        self._inputs: list[object] = []
        if self.from_name:
            layers = stage.build.source(self.from_name, self.place).layers
            self._inputs = [[layer.diff_id for layer in layers], self.patterns]
            return
        for pattern in self.patterns:
            for path in stage.build.context.sources(pattern, self.place):
                self.sources.append(path)
                digest = stage.build.digests.source(stage.build.context, path, self.place)
                self._inputs.append([os.fsdecode(path), digest])

    def _expand(self, stage: StageState, text: str) -> str:
        return stage.expand(text, self.place) if self.expands else text

    def _is_heredoc(self, word: str) -> bool:
        return self.expands and word.startswith("<<")

    def _inline(self, stage: StageState) -> None:
        self.inline: list[tuple[str, bytes]] = []
        for document in self.instruction.heredocs:
            content = document.content
            if document.expand:
                content = expand_raw(content, stage.lookup, self.escape, self.place)
            self.inline.append((document.name, content.encode()))

    def key(self, stage: StageState) -> list[object]:
        inline = [[name, hashlib.sha256(content).hexdigest()] for name, content in self.inline]
        target = [stage.absolute(self.destination), self.chown, self.mode]
        return [self.instruction.name, bool(self.from_name), self._inputs, inline, target]

    def execute(self, stage: StageState, directory: str) -> None:
        with _tree(stage, directory) as root, self._source_tree(stage) as tree:
            sources = self.sources or [path for p in self.patterns for path in tree.sources(p, self.place)]
            who = owner(root, self.chown, self.place) if self.chown else None
            target = _Target(
                root, stage.absolute(self.destination), len(sources) + len(self.inline), self, who
            )
            try:
                for path in sources:
                    self._copy(tree, path, target)
                for name, content in self.inline:
                    target.write(os.fsencode(name), content)
            except BuildError:
                raise
            except ImageError as error:
                raise self.place.error(error.message, hint=error.hint) from error
            except OSError as error:
                name = error.filename if isinstance(error.filename, str) else ""
                raise self.place.error(f"copy {name}: {error.strerror}") from error

    @contextlib.contextmanager
    def _source_tree(self, stage: StageState) -> Iterator[Tree]:
        if not self.from_name:
            yield stage.build.context
            return
        layers = [layer.path for layer in stage.build.source(self.from_name, self.place).layers]
        with mounted(stage.build.store.root, layers) as root:
            yield Tree(root, context=False)

    def _copy(self, tree: Tree, path: bytes, target: _Target) -> None:
        descriptor = tree.open(path, self.place)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                target.copy_directory(tree, descriptor, path)
            elif not stat.S_ISREG(status.st_mode):
                raise self.place.error(f"{os.fsdecode(path)} is neither a file nor a directory")
            elif not (self.unpacks and not self.from_name and target.unpack(descriptor)):
                target.copy_file(tree, descriptor, path)
        finally:
            os.close(descriptor)


class Add(Copy):
    unpacks = True
    flags = ("chown", "chmod", "link")


class _Target:
    """Where COPY puts things."""

    def __init__(self, root: int, path: str, count: int, step: Copy, who: tuple[int, int] | None) -> None:
        self._root = root
        self._path = os.fsencode(path)
        self._step = step
        self._place = step.place
        self._who = who
        self._is_directory = path.endswith("/") or is_directory(root, self._path)
        if count > 1 and not self._is_directory:
            raise self._place.error(
                f"{step.instruction.name} of several sources: the destination must be a directory",
                hint=f"{path}/",
            )

    def _rules(self, tree: Tree) -> Rules:
        in_context = tree.is_context
        return Rules(
            # from the context everything belongs to root, from another stage to whom it belonged there
            owner=self._who or ((0, 0) if in_context else None),
            mode=self._step.mode,
            special=not in_context,
            wanted=tree.wanted,
            descend=tree.ignore.has_exceptions,
        )

    def copy_directory(self, tree: Tree, descriptor: int, path: bytes) -> None:
        """Copy what is in a directory; one that has to be made for it is root's, or that of --chown."""
        target = make_directories(self._root, self._path, self._who, self._place)
        try:
            with Copier(self._rules(tree)) as copier:
                copier.tree(descriptor, target, path)
        finally:
            os.close(target)

    def copy_file(self, tree: Tree, descriptor: int, path: bytes) -> None:
        with (
            self._place_for(posixpath.basename(path)) as (directory, name),
            Copier(self._rules(tree)) as copier,
        ):
            copier.file(descriptor, directory, name, path)

    def write(self, name: bytes, content: bytes) -> None:
        """Write a file whose content stands in the Dockerfile."""
        with self._place_for(name) as (directory, name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o600, dir_fd=directory)
            with open(descriptor, "wb") as file:
                file.write(content)
                os.fchown(descriptor, *(self._who or (0, 0)))
                os.fchmod(descriptor, 0o644 if self._step.mode is None else self._step.mode)

    @contextlib.contextmanager
    def _place_for(self, name: bytes) -> Iterator[tuple[int, bytes]]:
        """The directory and name for a file called `name`; what stands there is removed."""
        path = self._path + b"/" + name if self._is_directory else self._path
        if not self._is_directory or not is_directory(self._root, path):
            path = final_path(self._root, path, self._place)
        above, last = posixpath.split(path.rstrip(b"/"))
        directory = make_directories(self._root, above, self._who, self._place)
        try:
            if is_directory(directory, last):
                raise self._place.error(f"{os.fsdecode(path)} is a directory, and no file can take its place")
            remove_tree(directory, last)
            yield directory, last
        finally:
            os.close(directory)

    def unpack(self, descriptor: int) -> bool:
        """Unpack an archive into the destination; false if the file is none."""
        with open(descriptor, "rb", closefd=False) as file:
            if not _is_archive(file):
                file.seek(0)
                return False
            target = make_directories(self._root, self._path, self._who, self._place)
            try:
                unpack(uncompressed(file), target, owner=self._who, keep_directory_links=True)
            finally:
                os.close(target)
        return True


def _is_archive(file: IO[bytes]) -> bool:
    try:
        found = is_header(uncompressed(file).read(BLOCK))
    except Exception:  # whatever a broken compressed file raises: then it is a file, as in Docker
        found = False
    file.seek(0)
    return found


@contextlib.contextmanager
def _tree(stage: StageState, directory: str) -> Iterator[int]:
    """The stage's tree so far, changes going to the scratch `directory`."""
    store = stage.build.store.root
    try:
        with mounted(store, stage.lower, upper=f"{directory}/layer/tree", work=f"{directory}/work") as root:
            yield root
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BuildError(f"no space left for {stage.build.store.root}") from error
        raise
