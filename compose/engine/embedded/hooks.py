"""Commands around the life of a container (Compose specification, services, lifecycle hooks).

    pre_start     before it starts, each in a container of its own that shares its volumes and networks; must
                  exit with 0, or the container does not start
    post_start    in it, once it runs; the first one that fails ends the command, and the container runs on
    pre_stop      in it, before it is stopped; one that fails leaves it running

What a hook writes is told as a detail of the operation; the last line goes into the error. ``pre_start`` runs
once a service and again when its definition or image changes, after a failure, and with --force-recreate;
with ``per_replica`` that holds for each container. What has succeeded stands in DATA/hooks/PROJECT.json.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import select
import threading
from typing import TYPE_CHECKING

from compose.errors import ContainerError, StateError
from compose.linux.beneath import remove_path
from compose.runtime import records
from compose.runtime.client import Keeper, run_once
from compose.runtime.container.capabilities import select as select_capabilities
from compose.runtime.container.mounts import SHARED_SHM
from compose.runtime.container.oci import device_rules, environment, tmpfs
from compose.state.files import read_json, replace_json

from .context import SERVICE_FILE
from .spec.process import arguments
from .spec.process import environment as variables
from .waiting import ended

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.images.catalogue import Image
    from compose.runtime.spec import ContainerSpec, Process
    from compose.state.index import ContainerRow

    from .context import Context

_LONGEST_LINE = 65536
_KILLED = 137
_LAST_MOMENT = 0.5
"""Seconds within which process 1 ends that has taken its hook along."""


class HookError(ContainerError):
    """A hook has failed."""


class _Output:
    """The lines of a hook as they come, told to whoever listens; the last one is kept."""

    def __init__(self, context: Context, what: str) -> None:
        self._context = context
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
        self._context.detail(self._what, text, None)


def service_of(context: Context, identity: str) -> Mapping[str, Any]:
    """The configuration that a container was made from; empty where its record cannot be read."""
    try:
        found = read_json(f"{context.paths.container(identity)}/{SERVICE_FILE}")
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


# In the running container -----------------------------------------------------------------------------------


def run_inside(context: Context, row: ContainerRow, kind: str) -> None:
    """Run the hooks of one kind, `post_start` or `pre_stop`, one after the other.

    Blocks. Raises `HookError` at the first one that fails; what it has started in the container goes on.
    """
    hooks: Sequence[Mapping[str, Any]] = service_of(context, row.id).get(kind) or ()
    if not hooks:
        return
    spec = records.read_spec(context.paths, row.id)
    for number, hook in enumerate(hooks):
        what = f"{row.name} {kind}[{number}]"
        output = _Output(context, what)
        try:
            code = _execute(context, row, _inner_process(spec, hook, what), output)
        except HookError:
            raise
        except (ContainerError, OSError) as error:
            _check_for_end(context, row, what)
            hint = error.hint if isinstance(error, ContainerError) else None
            raise HookError(f"{what}: {error}", hint=hint) from None
        if code == _KILLED:
            _check_for_end(context, row, what)
        if code != 0:
            raise HookError(_failure(what, code, output.last))


def _check_for_end(context: Context, row: ContainerRow, what: str) -> None:
    """Raise `HookError` when the container has ended, and with it the hook, or the chance to run it."""
    try:
        state = records.recorded_state(context.paths, row.id)
        records.wait_for_end(state.get("pid", 0), state.get("start_time", 0), seconds=_LAST_MOMENT)
        state = records.read_state(context.paths, row.id)
    except StateError:
        return
    if state.get("status") not in ("running", "paused"):
        text = f"{what}: {row.name} {ended(state)} before the hook did"
        raise HookError(text, hint=f"pycompose logs {row.service}")


def _failure(what: str, code: int | None, last: str) -> str:
    number = "an unknown exit code" if code is None else str(code)
    return f"{what} failed: it exited with {number}{f': {last[:300]}' if last else ''}"


def _inner_process(spec: ContainerSpec, hook: Mapping[str, Any], what: str) -> Process:
    """The container's own process with the hook's command; what the hook does not say is inherited."""
    process: Process = {**spec["oci"]["process"], "args": _command(hook, what), "terminal": False}
    _adapt(process, hook)
    return process


def _command(hook: Mapping[str, Any], what: str) -> list[str]:
    command = [str(word) for word in hook.get("command") or ()]
    if not command:
        raise HookError(f"{what} has no command", hint='write command: ["program", "argument"]')
    return command


def _adapt(process: Process, hook: Mapping[str, Any]) -> None:
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


def _execute(context: Context, row: ContainerRow, process: Process, output: _Output) -> int | None:
    """Run one process in the container to its end. Others may hold its output: only the process counts."""
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            session = Keeper(context.paths, context.name).exec(row.id, process, [null, write, write])
        finally:
            os.close(write)
            os.close(null)
        try:
            _relay(read, session.fileno(), output)
            return session.wait()
        finally:
            session.close()
    finally:
        os.close(read)
        output.end()


def _relay(read: int, ended: int, output: _Output) -> None:
    """Pass on what can be read until `ended` is readable, and what is there then."""
    os.set_blocking(read, False)
    poll = select.poll()
    for descriptor in (read, ended):
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _events in poll.poll()}
        if read in ready and not _take(read, output):
            poll.unregister(read)
        if ended in ready:
            while _take(read, output):
                pass
            return


def _take(read: int, output: _Output) -> bool:
    try:
        data = os.read(read, 65536)
    except BlockingIOError:
        return False
    output.take(data)
    return bool(data)


def before_start(context: Context, row: ContainerRow) -> None:
    """Run what has to run before a container starts. Blocks; raises `HookError`."""
    if service_of(context, row.id).get("pre_start"):
        context.preparation().before_start(row)


# Before it starts -------------------------------------------------------------------------------------------


class Preparation:
    """The ``pre_start`` hooks of a project in one command; containers of a service take turns."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._path = f"{context.paths.hooks}/{context.name}.json"
        self._guard = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self.again = context.rerun_hooks
        self._run_by_us: set[str] = set()

    def before_start(self, row: ContainerRow) -> None:
        """Run what has to run before this container starts. Blocks; raises `HookError`."""
        hooks = service_of(self._context, row.id).get("pre_start") or ()
        if not hooks:
            return
        with self._guard:
            turn = self._turns.setdefault(row.service, threading.Lock())
        with turn:
            for number, hook in enumerate(hooks):
                self._run(row, number, hook)

    def _run(self, row: ContainerRow, number: int, hook: Mapping[str, Any]) -> None:
        whose = row.name if hook.get("per_replica") else row.service
        key = f"{whose} pre_start[{number}]"
        image = self._image(hook, row, key)
        digest = hashlib.sha256(json.dumps([hook, image.id], sort_keys=True).encode()).hexdigest()
        if (key in self._run_by_us or not self.again) and self._done().get(key) == digest:
            return
        self._record(key, None)
        self._once(row, hook, key, image)
        self._record(key, digest)
        self._run_by_us.add(key)

    def _image(self, hook: Mapping[str, Any], row: ContainerRow, key: str) -> Image:
        name = str(hook.get("image") or records.read_spec(self._context.paths, row.id)["image"])
        image = self._context.images.find(name)
        if image is None:
            raise HookError(f"{key}: no image {name} in the store", hint="pycompose up -d fetches it")
        return image

    def _done(self) -> dict[str, Any]:
        try:
            found = read_json(self._path)
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _record(self, key: str, digest: str | None) -> None:
        """Write down what has succeeded; None takes it back."""
        with self._guard:
            done = {name: value for name, value in self._done().items() if name != key}
            if digest is not None:
                done[key] = digest
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            replace_json(self._path, done, durable=True)

    def _once(self, row: ContainerRow, hook: Mapping[str, Any], key: str, image: Image) -> None:
        """Run one hook in a container of its own, which is gone afterwards."""
        directory = f"{self._context.paths.container(row.id)}/hook"
        remove_path(directory)
        for name in ("upper", "work"):
            os.makedirs(f"{directory}/{name}", mode=0o755)
        output = _Output(self._context, key)
        read, write = os.pipe2(os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        reader = threading.Thread(target=_read_all, args=(read, output), daemon=True)
        try:
            spec = self._spec(row, hook, key, image, directory)
            reader.start()
            code = run_once(self._context.paths, spec, null, write, write)
        except (ContainerError, StateError) as error:
            raise HookError(f"{key}: {error}", hint=error.hint) from None
        finally:
            os.close(write)
            os.close(null)
            if reader.ident is not None:
                reader.join()
            os.close(read)
            remove_path(directory)
        if code != 0:
            raise HookError(f"{_failure(key, code, output.last)}; {row.name} is not started")

    def _spec(
        self, row: ContainerRow, hook: Mapping[str, Any], key: str, image: Image, directory: str
    ) -> ContainerSpec:
        """The service's container with the hook's command, image and rights, and a root of its own."""
        spec: ContainerSpec = copy.deepcopy(records.read_spec(self._context.paths, row.id))
        service = service_of(self._context, row.id)
        own_image = image.id == spec["image"]
        inherited = dict(service) if own_image else {**service, "entrypoint": None, "working_dir": None}
        if hook.get("command") is not None:
            inherited["command"] = hook["command"]
        process = spec["oci"]["process"]
        process["terminal"] = False
        process["args"] = arguments(inherited, image.settings, key)
        process["env"] = environment(variables(service, image.settings))
        process["cwd"] = str(inherited.get("working_dir") or image.settings.get("WorkingDir") or "/")
        process["user"]["username"] = str(service.get("user") or image.settings.get("User") or "")
        _adapt(process, hook)
        if hook.get("privileged"):
            linux = spec["oci"]["linux"]
            linux["maskedPaths"], linux["readonlyPaths"], spec["seccomp"] = [], [], ""
            linux.setdefault("resources", {})["devices"] = device_rules(privileged=True)
        _share_nothing_but_the_network(spec)
        spec["id"] = os.urandom(32).hex()
        spec["rootfs"] = {
            "lower": list(reversed(image.layers)),
            "upper": f"{directory}/upper",
            "work": f"{directory}/work",
        }
        return spec


def _share_nothing_but_the_network(spec: ContainerSpec) -> None:
    """A hook has processes and memory of its own, also where its service has another container's."""
    shared = spec.pop("shared", None) or {}
    oci = spec["oci"]
    oci["linux"]["namespaces"] += [{"type": kind} for kind in ("pid", "ipc") if kind in shared]
    oci["mounts"] = [
        tmpfs("/dev/shm", ["mode=1777"]) if mount.get("type") == SHARED_SHM else mount
        for mount in oci["mounts"]
    ]


def _read_all(read: int, output: _Output) -> None:
    while data := os.read(read, 65536):
        output.take(data)
    output.end()


def forget(context: Context) -> None:
    """The project is taken down: its ``pre_start`` hooks have not run any more."""
    remove_path(f"{context.paths.hooks}/{context.name}.json")
