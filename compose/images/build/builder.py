"""Stages put together: what is needed for the target, step by step, each from the cache or made anew.

The image's id is the digest of its configuration, and a step's time comes from the cache's record: a build
that changes nothing gives the same image.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from compose.errors import BuildError, ImageError
from compose.images import reference as references
from compose.images.build import cache
from compose.images.build.context import Digests, open_context
from compose.images.build.copy import Add, Copy, Workdir
from compose.images.build.instructions import (
    Arg,
    Cmd,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    OnBuild,
    Shell,
    Step,
    StopSignal,
    User,
    Volume,
    unused_arguments,
)
from compose.images.build.parser import Dockerfile, Place, parse
from compose.images.build.run import Run, default_runner
from compose.images.build.state import (
    Build,
    BuildRequest,
    Runner,
    Source,
    StageState,
    architecture,
    given_arguments,
    platform_arguments,
)
from compose.images.layers import is_empty

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.images.bootstrap.request import Progress
    from compose.images.catalogue import Image
    from compose.images.session import Session
    from compose.images.store import ImageStore

STEPS: dict[str, type[Step]] = {
    "ADD": Add,
    "ARG": Arg,
    "CMD": Cmd,
    "COPY": Copy,
    "ENTRYPOINT": Entrypoint,
    "ENV": Env,
    "EXPOSE": Expose,
    "HEALTHCHECK": Healthcheck,
    "LABEL": Label,
    "MAINTAINER": Maintainer,
    "ONBUILD": OnBuild,
    "RUN": Run,
    "SHELL": Shell,
    "STOPSIGNAL": StopSignal,
    "USER": User,
    "VOLUME": Volume,
    "WORKDIR": Workdir,
}


class Stage(NamedTuple):
    """A FROM and what follows it."""

    number: int
    begin: From
    steps: list[Step]


class Plan(NamedTuple):
    """A Dockerfile as stages."""

    arguments: list[Arg]
    """ARGs before the first FROM."""
    stages: list[Stage]


def build(
    request: BuildRequest,
    store: ImageStore,
    progress: Progress,
    *,
    output: Callable[[bytes], None] | None = None,
    run: Runner | None = None,
) -> Image:
    """Build an image and give it the request's tags; raises `BuildError` with ``file:line``.

    `progress` gets the image's name, what is done, and how much of it is done. What RUN steps print goes
    line by line to `output`, which another thread calls; without it to `progress`.
    """
    name = references.parse(request.tags[0]).familiar if request.tags else os.path.basename(request.context)
    for tag in request.tags:
        references.parse(tag)

    def to_progress(line: bytes) -> None:
        progress(name, line.decode("utf-8", "replace"), None)

    if re.match(r"[a-z+]+://|git@", request.context):
        raise BuildError(
            f"building from an address is not supported yet: {request.context}", hint="clone it first"
        )
    text, shown, ignore_beside = _read(request)
    dockerfile = parse(text, shown)
    plan = plan_stages(dockerfile)
    with ExitStack() as stack:
        session = stack.enter_context(store.session())
        context = stack.enter_context(open_context(request.context, ignore_beside))
        digests = Digests(_digest_cache(store, request.context))
        builder = _Builder(plan, name, progress)
        builder.build = Build(
            request, store, session, context, digests, given_arguments(request.args), dockerfile.escape,
            run or default_runner(store.paths), output or to_progress, builder.source,
        )  # fmt: skip
        try:
            return builder.image()
        finally:
            digests.save()


def _read(request: BuildRequest) -> tuple[bytes, str, str | None]:
    """The Dockerfile, its name for messages, and its path if it is a file."""
    if request.dockerfile_inline is not None:
        return request.dockerfile_inline.encode(), "dockerfile_inline", None
    path = os.path.join(request.context, request.dockerfile or "Dockerfile")
    try:
        with open(path, "rb") as file:
            return file.read(), _short(path), path
    except OSError as error:
        raise BuildError(f"read {path}: {error.strerror}") from error


def _short(path: str) -> str:
    """`path` from the working directory if it lies below it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _digest_cache(store: ImageStore, context: str) -> str:
    import hashlib

    key = hashlib.sha256(os.fsencode(os.path.realpath(context))).hexdigest()[:32]
    return f"{store.paths.cache}/contexts/{key}.json"


def plan_stages(dockerfile: Dockerfile) -> Plan:
    """Sort instructions into stages and check each as far as that needs no variables; raises `BuildError`."""
    arguments: list[Arg] = []
    stages: list[Stage] = []
    for instruction in dockerfile.instructions:
        if instruction.name == "FROM":
            begin = From(instruction, dockerfile.escape)
            if begin.name and any(begin.name == stage.begin.name for stage in stages):
                raise instruction.place.error(f"there are two stages of the name {begin.name}")
            stages.append(Stage(len(stages), begin, []))
            continue
        step = STEPS[instruction.name](instruction, dockerfile.escape)
        if stages:
            stages[-1].steps.append(step)
        elif isinstance(step, Arg):
            arguments.append(step)
        else:
            raise instruction.place.error(
                f"{instruction.name} before the first FROM: only ARG may stand there"
            )
    if not stages:
        raise dockerfile.instructions[0].place.error("the Dockerfile has no FROM")
    return Plan(arguments, stages)


class _Builder:
    build: Build

    def __init__(self, plan: Plan, name: str, progress: Progress) -> None:
        self._plan = plan
        self._name = name
        self._progress = progress
        self._done: dict[int, StageState] = {}
        self._images: dict[str, Image] = {}
        self._under_way: list[int] = []
        self._declared: set[str] = set()
        self._step = 0
        self._global: dict[str, str] = {}
        self._total = 0

    def image(self) -> Image:
        """Build the target and what it needs, and store it."""
        self._global = platform_arguments()
        for argument in self._plan.arguments:
            self._declared.update(name for name, _ in argument.declared)
            self._global.update(argument.values(self._global.get, self.build.arguments, self._global))
        target = self._target()
        self._total = self._count(target, set())
        state = self._stage(target)
        if self.build.request.labels:
            known = state.config.get("Labels") or {}
            state.config["Labels"] = {**known, **self.build.request.labels}
        for name in unused_arguments(self.build.arguments, self._declared):
            self._progress(self._name, f"warning: no ARG asks for the build argument {name}", None)
        document = {**state.document, "created": state.created or _now(), "config": state.config}
        document["history"] = state.history
        image = self.build.session.add_image(document, state.layers, self.build.request.tags)
        self._progress(self._name, f"built {image.id[:19]}", 1.0)
        return image

    def _target(self) -> Stage:
        stages = self._plan.stages
        wanted = self.build.request.target
        if not wanted:
            return stages[-1]
        found = self._find_stage(wanted, len(stages))
        if found is None:
            names = ", ".join(stage.begin.name for stage in stages if stage.begin.name) or "none has a name"
            raise BuildError(f"{stages[0].begin.place.file}: no stage {wanted}", hint=f"stages: {names}")
        return found

    def _find_stage(self, name: str, before: int) -> Stage | None:
        """The stage of this name or number among the first `before`."""
        for stage in self._plan.stages[:before]:
            if stage.begin.name and stage.begin.name == name.lower():
                return stage
        if name.isdigit() and int(name) < before:
            return self._plan.stages[int(name)]
        return None

    def _count(self, stage: Stage, seen: set[int]) -> int:
        """How many steps the stage and the stages that it needs have."""
        if stage.number in seen:
            return 0
        seen.add(stage.number)
        needed = [stage.begin.expand(stage.begin.base, self._global)]
        needed += [step.from_name for step in stage.steps if isinstance(step, Copy) and step.from_name]
        total = len(stage.steps)
        for name in needed:
            found = self._find_stage(name, stage.number)
            if found is not None:
                total += self._count(found, seen)
        return total

    def _stage(self, stage: Stage) -> StageState:
        """The stage's state after its last step."""
        if stage.number in self._done:
            return self._done[stage.number]
        self._under_way.append(stage.number)
        state = self._begin(stage)
        steps = [*self._triggers(state, stage), *stage.steps]
        for step in steps:
            self._run_step(state, stage, step)
        self._under_way.pop()
        self._done[stage.number] = state
        return state

    def _begin(self, stage: Stage) -> StageState:
        begin = stage.begin
        self._check_platform(begin)
        base = begin.expand(begin.base, self._global)
        if not base:
            raise begin.place.error(f"FROM {begin.base}: the name is empty")
        inner = self._find_stage(base, stage.number) if not base.isdigit() else None
        if inner is not None:
            done = self._stage(inner)
            document = {**done.document, "config": done.config, "history": list(done.history)}
            state = StageState(self.build, document, list(done.layers), self._global)
            state.created = done.created
        elif base == "scratch":
            document = {"architecture": architecture(), "os": "linux"}
            state = StageState(self.build, document, [], self._global)
        else:
            image = self._image(base, begin.place)
            state = StageState(self.build, image.config, self.build.store.layers_of(image), self._global)
        return state

    def _check_platform(self, begin: From) -> None:
        wanted = begin.expand(begin.platform, self._global)
        if wanted and wanted not in (f"linux/{architecture()}", architecture(), "linux"):
            raise begin.place.error(f"--platform={wanted}: only linux/{architecture()} can be built here")

    def _image(self, name: str, place: Place) -> Image:
        if name in self._images:
            return self._images[name]
        session = self.build.session
        try:
            image = None if self.build.request.pull else session.find(name)
            if image is None:
                image = self._acquire(name, session)
        except ImageError as error:
            raise place.error(error.message, hint=error.hint) from error
        self._images[name] = image
        return image

    def _acquire(self, name: str, session: Session) -> Image:
        from compose.images import bootstrap
        from compose.images.acquire import acquire

        renew = self.build.request.pull and bootstrap.known(str(references.parse(name)))
        acquire(self.build.store, name, self._progress, renew=renew)
        found = session.find(name)
        if found is None:
            raise ImageError(f"the image {name} vanished from the store")
        return found

    def source(self, name: str, place: Place) -> Source:
        """What ``--from=name`` copies from: an earlier stage, or an image."""
        current = self._under_way[-1]
        stage = self._find_stage(name, current)
        if stage is not None:
            return Source(self._stage(stage).layers)
        if self._find_stage(name, len(self._plan.stages)) is not None:
            raise place.error(f"--from={name}: a stage can only copy from one that stands before it")
        image = self._image(name, place)
        return Source(self.build.store.layers_of(image))

    def _triggers(self, state: StageState, stage: Stage) -> list[Step]:
        """The ONBUILD steps that the base image recorded; they run once, here."""
        texts = state.config.pop("OnBuild", None) or []
        steps: list[Step] = []
        for text in texts:
            shown = f"{stage.begin.place} (ONBUILD of {stage.begin.base})"
            for instruction in parse(text.encode(), shown).instructions:
                if instruction.name in ("FROM", "ONBUILD", "MAINTAINER"):
                    raise stage.begin.place.error(f"the base image has ONBUILD {instruction.name}")
                steps.append(STEPS[instruction.name](instruction, "\\"))
        self._total += len(steps)
        return steps

    def _run_step(self, state: StageState, stage: Stage, step: Step) -> None:
        if isinstance(step, Arg):
            self._declared.update(name for name, _ in step.declared)
        self._step += 1
        step.prepare(state)
        label = stage.begin.name or str(stage.number)
        self._progress(
            self._name, f"[{label} {self._step}/{self._total}] {step.shown}", self._step / self._total
        )
        key = cache.key(
            layers=state.diff_ids,
            config=state.config,
            platform=f"linux/{architecture()}",
            step=step.key(state),
        )
        record = None if self.build.request.no_cache else self._cached(key)
        if record is None:
            layer = self._execute(state, step) if step.changes_files else None
            record = cache.Record(layer, _now())
            cache.save(self.build.store, key, record)
        elif step.changes_files:
            self._progress(self._name, f"[{label} {self._step}/{self._total}] cached", None)
        if record.layer is not None:
            state.layers.append(self.build.store.needed_layer(record.layer))
        step.commit(state)
        state.created = record.created
        entry: dict[str, Any] = {"created": record.created, "created_by": step.shown}
        if record.layer is None:
            entry["empty_layer"] = True
        state.history.append(entry)

    def _cached(self, key: str) -> cache.Record | None:
        """The record of a step whose layer is there (and stays for this build)."""
        record = cache.find(self.build.store, key)
        if record is None or (record.layer is not None and not self.build.session.lease([record.layer])):
            return None
        return record

    def _execute(self, state: StageState, step: Step) -> str | None:
        """Run the step on a fresh layer; its diff id, or None if it changed nothing."""
        directory = self.build.session.directory()
        tree = f"{directory}/layer/tree"
        _take_root_attributes(state.lower, tree)
        try:
            step.execute(state, directory)
        except BuildError:
            raise
        except ImageError as error:
            raise step.place.error(error.message, hint=error.hint) from error
        descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if is_empty(descriptor):
                return None
        finally:
            os.close(descriptor)
        return self.build.session.add_layer(directory).diff_id


def _take_root_attributes(lower: list[str], tree: str) -> None:
    """The root directory of an overlay is that of its upper layer: it must look like the one below."""
    if lower:
        status = os.stat(lower[-1])
        os.chown(tree, status.st_uid, status.st_gid)
        os.chmod(tree, status.st_mode & 0o7777)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
