"""Hooks before a container starts: ``pre_start``, each in a container of its own."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING

from compose.engine.embedded import service_record
from compose.engine.embedded.spec.process import arguments
from compose.engine.embedded.spec.process import environment as variables
from compose.errors import ContainerError, StateError
from compose.linux.beneath import remove_path
from compose.linux.inotify import DELETE, DELETE_SELF, Inotify
from compose.runtime import protocol, records
from compose.runtime.client import run_once
from compose.runtime.container.oci import device_rules, environment, tmpfs
from compose.runtime.spec import SHARED_SHM
from compose.state.files import read_json, replace_json

from .common import HookError, Output, adapt, failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from compose.images.catalogue import Catalogue, Image
    from compose.runtime.spec import ContainerSpec
    from compose.state.index import ContainerRow
    from compose.state.paths import Paths

    from .common import Detail


class Preparation:
    """The ``pre_start`` hooks of a project in one command; containers of a service take turns."""

    def __init__(self, paths: Paths, project: str, images: Catalogue, detail: Detail) -> None:
        self.again = False
        """Whether hooks run that have succeeded before, once each."""
        self._paths = paths
        self._path = _record_of(paths, project)
        self._images = images
        self._detail = detail
        self._guard = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._run_by_us: set[str] = set()

    def before_start(self, row: ContainerRow) -> None:
        """Run what has to run before this container starts. Blocks; raises `HookError`."""
        hooks = service_record.read(self._paths, row.id).get("pre_start") or ()
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
        name = str(hook.get("image") or records.read_spec(self._paths, row.id)["image"])
        image = self._images.find(name)
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
        directory = f"{self._paths.container(row.id)}/hook"
        remove_path(directory)
        for name in ("upper", "work"):
            os.makedirs(f"{directory}/{name}", mode=0o755)
        output = Output(self._detail, key)
        read, write = os.pipe2(os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        reader = threading.Thread(target=_read_all, args=(read, output), daemon=True)
        try:
            spec = self._spec(row, hook, key, image, directory)
            reader.start()
            with _removal(self._paths, row) as removal:
                code = run_once(self._paths, spec, null, write, write, cancel=removal)
        except (ContainerError, StateError) as error:
            if isinstance(error, ContainerError) and error.reason == protocol.CANCELLED:
                raise HookError(f"{key}: {row.name} was removed before the hook ended") from None
            raise HookError(f"{key}: {error}", hint=error.hint) from None
        finally:
            os.close(write)
            os.close(null)
            if reader.ident is not None:
                reader.join()
            os.close(read)
            remove_path(directory)
        if code != 0:
            raise HookError(f"{failure(key, code, output.last)}; {row.name} is not started")

    def _spec(
        self, row: ContainerRow, hook: Mapping[str, Any], key: str, image: Image, directory: str
    ) -> ContainerSpec:
        """The service's container with the hook's command, image and rights, and a root of its own."""
        spec: ContainerSpec = copy.deepcopy(records.read_spec(self._paths, row.id))
        service = service_record.read(self._paths, row.id)
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
        adapt(process, hook)
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


@contextlib.contextmanager
def _removal(paths: Paths, row: ContainerRow) -> Iterator[int]:
    """A descriptor that becomes readable when a container begins to be removed; -1 where there is none."""
    try:
        watcher = Inotify()
    except OSError:  # a user has 128 of them by default
        yield -1
        return
    try:
        watcher.add(paths.container(row.id), DELETE | DELETE_SELF)
        yield watcher.descriptor
    finally:
        watcher.close()


def _share_nothing_but_the_network(spec: ContainerSpec) -> None:
    """A hook has processes and memory of its own, also where its service has another container's."""
    shared = spec.pop("shared", None) or {}
    oci = spec["oci"]
    oci["linux"]["namespaces"] += [{"type": kind} for kind in ("pid", "ipc") if kind in shared]
    oci["mounts"] = [
        tmpfs("/dev/shm", ["mode=1777"]) if mount.get("type") == SHARED_SHM else mount
        for mount in oci["mounts"]
    ]


def _read_all(read: int, output: Output) -> None:
    while data := os.read(read, 65536):
        output.take(data)
    output.end()


def forget(paths: Paths, project: str) -> None:
    """The project is taken down: its ``pre_start`` hooks have not run any more."""
    remove_path(_record_of(paths, project))


def _record_of(paths: Paths, project: str) -> str:
    return f"{paths.hooks}/{project}.json"
