"""Making, starting, stopping and removing one container.

The order is what makes a kill at any moment harmless:

    row in the index           before anything else: from here on it is found and removed
    directories, spec.json
    namespace and links        derived from the id, made and removed in batches
    name service's sockets     given to the keeper
    state.json "created"       the last thing: without it the container is "half-made" and made anew
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING

from compose.errors import ContainerError, StateError
from compose.linux.beneath import remove_path
from compose.linux.files import spread_directories
from compose.runtime import protocol, records
from compose.runtime.client import Keeper
from compose.runtime.container import apparmor
from compose.runtime.records import read_state
from compose.runtime.spec import STATE_FILE, VERSION
from compose.runtime.supervision.stop import SIGKILL, signal_number
from compose.state import events
from compose.state.files import replace, replace_json

from . import devices, files, hooks, networks, ports, quota, sharing, sources, volumes
from .context import SERVICE_FILE
from .seccomp import program
from .spec.build import Attached, WrittenFile, container_spec
from .spec.identity import Identity
from .spec.mounts import mounts
from .spec.namespaces import has_own_network, mode
from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compose.images.catalogue import Image
    from compose.plan.actions import CreateContainer
    from compose.plan.target import Wanted
    from compose.runtime.spec import ContainerSpec, Endpoint
    from compose.state.index import ContainerRow
    from compose.state.paths import Paths

    from .context import Context
    from .spec.mounts import Mounts


def make_home(paths: Paths) -> None:
    """The directory in which each container gets one."""
    os.makedirs(paths.containers, mode=0o700, exist_ok=True)
    spread_directories(paths.containers)


def new_identity() -> str:
    """A container's id: 64 hexadecimal digits."""
    return os.urandom(32).hex()


# Create -----------------------------------------------------------------------------------------------------


class Creation:
    """One container on its way into being; each method is one step."""

    def __init__(
        self, context: Context, action: CreateContainer, image: Image, inherited: dict[str, str]
    ) -> None:
        self.context = context
        self.action = action
        self.image = image
        self.inherited = inherited
        self.wanted: Wanted = context.wanted(action.service)
        self.id = context.identities[action.target]
        self.directory = context.paths.container(self.id)

    def record_anonymous_volumes(self) -> Mounts:
        """Sort out what is mounted; anonymous volumes are written down before they are made."""
        found = mounts(
            self.wanted.config,
            self.image.config.get("config") or {},
            self.context.definitions(),
            inherited=self.inherited,
            new_name=new_identity,
            borrow=lambda found: sharing.borrow(self.context, self.wanted.config, found),
        )
        anonymous = [use for use in found.volumes if use.anonymous]
        if anonymous:
            with self.context.index.change() as transaction:
                for use in anonymous:
                    labels = json.dumps(use.labels or {})
                    transaction.execute(
                        "INSERT INTO volumes VALUES (?, ?, ?, ?, 'local', ?, '', ?)"
                        " ON CONFLICT (name) DO NOTHING",
                        (use.name, self.context.name, use.target, self.id, labels, time.time_ns()),
                    )
        return found

    def write(self, found: Mounts) -> ContainerSpec:
        """Directories, volumes with their first content, the files that we keep, spec.json."""
        for name in ("upper", "work", "files"):
            os.makedirs(f"{self.directory}/{name}", mode=0o755, exist_ok=True)
        os.chmod(self.directory, 0o700)
        if self.wanted.config.get("storage_opt"):
            quota.limit(self.wanted.config, self.directory, self.id, self.context.warn)
        for source in found.sources:
            sources.prepare(source)
        self._find_images(found)
        directories = {}
        for number, use in enumerate(found.volumes):
            directories[use.name] = self.context.volumes.create(use.name)
            if self.context.volumes.is_read_only(use.name):
                found.volumes[number] = use._replace(read_only=True)
            if use.copy:
                self.context.volumes.fill(use.name, self._copier(use.target))
        project = self.context.project
        assert project is not None
        spec = container_spec(
            self.wanted, project, self.image, self._identity(), self._attached(found, directories)
        )
        replace_json(f"{self.directory}/{SERVICE_FILE}", dict(self.wanted.config), durable=False)
        if spec["oci"].get("hooks"):
            _write_bundle(spec)
        records.write_spec(self.context.paths, spec)
        return spec

    def _find_images(self, found: Mounts) -> None:
        """Complete the mounts of images; those that are taken over from others are."""
        for mount in found.oci:
            if mount["type"] == "image" and "layers" not in mount:
                image = self.context.images.find(mount["source"])
                if image is None:
                    raise StateError(f"image {mount['source']} is no longer in the store")
                mount.update(layers=list(reversed(image.layers)), image=image.id)

    def _copier(self, target: str) -> Callable[[str], object]:
        from compose.images.content import copy_content

        return lambda into: copy_content(self.context.images, self.image, target, into)

    def _identity(self) -> Identity:
        return Identity(
            self.id,
            self.action.target,
            self.context.name,
            self.action.number,
            time.time_ns(),
            self.directory,
            self.action.replaces is not None,
        )

    def _attached(self, found: Mounts, directories: dict[str, str]) -> Attached:
        service = self.wanted.config
        endpoints = networks.endpoints(self.context, self.wanted, self.action.number)
        owner = sharing.network_owner(self.context, service)
        if owner is not None:
            namespace, hostname = owner.namespace, owner.hostname
            directory = self.context.paths.container(owner.id)
        else:
            own = has_own_network(service)
            namespace = self.context.paths.container_namespace(self.id) if own else ""
            hostname = sharing.hostname_of(service, self.id)
            directory = self.directory
            self._write_own_files(endpoints, hostname)
        written = [WrittenFile(source, target, read_only=False) for source, target in files.given(directory)]
        for number, file in enumerate(found.files):
            source = f"{self.directory}/files/given-{number}"
            replace(source, file.content.encode("utf-8", "surrogateescape"), mode=file.mode, durable=False)
            os.chmod(source, file.mode)
            os.chown(source, file.uid, file.gid)
            written.append(WrittenFile(source, file.target, read_only=True))
        return Attached(
            lower=list(reversed(self.image.layers)),
            mounts=found,
            volume_directories=directories,
            written=written,
            endpoints=endpoints,
            namespace=namespace,
            shared=sharing.owners(self.context, service),
            lenders=sharing.lender_ids(self.context, service),
            hostname=hostname,
            seccomp=program(self.context.paths, service, self._project_directory()),
            ports=list(self.wanted.config.get("ports") or ()),
            devices=devices.find(self.wanted.config),
            apparmor=apparmor.default(),
        )

    def _project_directory(self) -> str:
        assert self.context.project is not None
        return self.context.project.directory

    def _write_own_files(self, endpoints: Sequence[Endpoint], hostname: str) -> None:
        """Write hostname, hosts and resolv.conf."""
        service = self.wanted.config
        addresses = [one for each in endpoints for one in (each["ipv4"], each.get("ipv6")) if one]
        bare = [address.partition("/")[0] for address in addresses]
        first = ""
        if mode(service, "network_mode") == "host":
            first = files.of_host("/etc/hosts")
        texts = {
            "hostname": hostname + "\n",
            "hosts": files.hosts(
                hostname,
                str(service.get("domainname") or ""),
                bare,
                [str(entry) for entry in service.get("extra_hosts") or ()],
                networks.gateway(self.context),
                first=first,
            ),
            "resolv.conf": files.resolv_conf(
                service, files.of_host("/etc/resolv.conf"), own_names=bool(endpoints)
            ),
        }
        for name, text in texts.items():
            source = f"{self.directory}/files/{name}"
            replace(source, text.encode("utf-8", "surrogateescape"), mode=0o644, durable=False)
            os.chmod(source, 0o644)

    def complete(self) -> None:
        """The container is whole."""
        records.write_state(self.context.paths, self.id, {"version": VERSION, "status": "created"})
        note(self.context, self.id, "create")


def _write_bundle(spec: ContainerSpec) -> None:
    """What hooks look for: an OCI bundle. Its root is where the overlay is mounted while they run."""
    oci = spec["oci"]
    root = {**(oci.get("root") or {}), "path": spec["rootfs"]["lower"][0]}
    replace_json(f"{spec['bundle']}/config.json", {**oci, "root": root}, durable=False)


async def create(context: Context, action: CreateContainer) -> None:
    """Make the container; what it replaces is removed first."""
    if action.replaces is not None:
        old = context.index.container_named(action.replaces)
        if old is not None:
            await remove(context, old, with_volumes=False, successor=action)
        else:
            with context.index.change() as transaction:
                transaction.execute(*container_row(context, action))
        networks.tell_name_services(context, action)
    image = context.image(context.wanted(action.service).image)
    if image is None:
        raise StateError(f"image {context.wanted(action.service).image} is no longer in the store")
    creation = Creation(context, action, image, anonymous_volumes(context, context.identities[action.target]))
    found = creation.record_anonymous_volumes()
    spec = await in_thread(creation.write, found)
    if has_own_network(creation.wanted.config):
        await networks.connect(context, creation.wanted, spec)
    await in_thread(creation.complete)


def container_row(context: Context, action: CreateContainer) -> tuple[str, tuple[object, ...]]:
    """The statement that writes a container down."""
    wanted = context.wanted(action.service)
    image = context.images.find(wanted.image)
    values = (
        context.identities[action.target],
        action.target,
        context.name,
        action.service,
        action.number,
        int(action.oneoff),
        wanted.config_hash,
        image.id if image is not None else "",
        time.time_ns(),
    )
    return "INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values


def anonymous_volumes(context: Context, identity: str) -> dict[str, str]:
    """Target -> name of a container's anonymous volumes, by the index: they outlive its spec.json."""
    rows = context.index.volumes(context.name)
    return {row.key: row.name for row in rows if row.container == identity}


def readable_spec(context: Context, identity: str) -> ContainerSpec | None:
    """A container's spec.json; None when there is none that can be read, as in one that is half-made."""
    try:
        return records.read_spec(context.paths, identity)
    except StateError:
        return None


def note(context: Context, identity: str, event: str) -> None:
    """Write down what has happened to a container, for `events`."""
    spec = readable_spec(context, identity)
    if spec is not None:
        events.record(context.paths, spec, event)


# Start and stop ---------------------------------------------------------------------------------------------


async def start(context: Context, name: str) -> None:
    """Start a container; its published ports are open before its first instruction.

    Its `pre_start` hooks run before, its `post_start` hooks when it runs.
    """
    row = context.row(name)
    spec = readable_spec(context, row.id)
    await in_thread(volumes.mount, context, spec)
    if spec is not None and spec["oci"]["process"].get("apparmorProfile"):
        await in_thread(apparmor.make_ready, spec["oci"]["process"])
    service = hooks.service_of(context, row.id)
    if service.get("pre_start"):
        await in_thread(hooks.before_start, context, row)
    taken = context.listeners.pop(name, None)
    needs = [f"dns/{row.id}"] if (spec or {}).get("endpoints") else []

    def work() -> None:
        listeners = ports.take_late(context, row.id, name) if taken is None else taken
        try:
            keeper = context.keeper()
            if listeners:
                keeper.put_all({listener.name: [listener.fileno()] for listener in listeners})
                ports.record(context, row.id, listeners)
            keeper.start(row.id, context.warn, needs=needs)
        finally:
            ports.release(listeners)

    try:
        await in_thread(work)
    except ContainerError as error:
        if error.reason == protocol.LOST and spec is not None:
            await networks.connect_again(context, spec)
            await start(context, name)
            return
        if error.reason != protocol.RUNNING:  # a command that was killed may have got as far as this
            if not error.message.startswith("container "):
                error.message = f"container {name}: {error.message}"
            raise
    if service.get("post_start"):
        await in_thread(hooks.run_inside, context, row, "post_start")


async def stop(
    context: Context,
    name: str,
    grace_period: float | None,
    *,
    resume: bool = False,
    regardless: bool = False,
) -> None:
    """Stop a container and free its ports; one that does not run is left alone.

    With `resume` it does not count as stopped by hand. Its `pre_stop` hooks run before; where one fails it is
    stopped only if that has to be, `regardless`, and the failure is raised in any case.
    """
    row = context.row(name)
    failure = await _before_stop(context, row)
    if failure is None or regardless:
        await in_thread(_stop, context, row, grace_period, resume)
    if failure is not None:
        raise failure


async def _before_stop(context: Context, row: ContainerRow) -> hooks.HookError | None:
    """Run the `pre_stop` hooks of a container that runs; the failure, if there is one."""
    if not hooks.service_of(context, row.id).get("pre_stop"):
        return None
    try:
        if (await in_thread(read_state, context.paths, row.id)).get("status") == "running":
            await in_thread(hooks.run_inside, context, row, "pre_stop")
    except hooks.HookError as error:
        return error
    return None


def _stop(context: Context, row: ContainerRow, grace_period: float | None, resume: bool) -> None:
    Keeper(context.paths, context.name).stop(row.id, grace=grace_period, resume=resume)
    drop(context, row.id, "listen/")


async def restart(context: Context, name: str, grace_period: float | None) -> None:
    """Stop a container and start it again, with its hooks; one that does not run is only started."""
    row = context.row(name)
    failure = await _before_stop(context, row)
    if failure is not None:
        raise failure
    keeper = Keeper(context.paths, context.name)
    if await in_thread(keeper.restart, row.id, grace_period, context.warn):
        if hooks.service_of(context, row.id).get("post_start"):
            await in_thread(hooks.run_inside, context, row, "post_start")
    else:
        await start(context, name)


async def kill(context: Context, name: str, signal: str) -> None:
    """Send a signal to process 1. SIGKILL cannot be refused: its effect is waited for, as Docker does."""
    row = context.row(name)
    keeper = Keeper(context.paths, context.name)

    def work() -> None:
        deadly = signal_number(signal) == SIGKILL
        if deadly and records.read_state(context.paths, row.id).get("status") == "restarting":
            keeper.stop(row.id, grace=0)  # nothing runs that a signal could be sent to
            return
        keeper.kill(row.id, signal)
        if deadly:
            keeper.wait(row.id)

    await in_thread(work)


async def pause(context: Context, name: str, *, paused: bool) -> None:
    """Freeze or thaw a container; raises `ContainerError` when that is what it is already."""
    row = context.row(name)
    keeper = Keeper(context.paths, context.name)

    def work() -> None:
        status = records.read_state(context.paths, row.id).get("status", "created")
        if status != ("running" if paused else "paused"):
            wrong = "paused already" if status == "paused" else status if paused else "not paused"
            raise ContainerError(f"container {name} is {wrong}")
        (keeper.pause if paused else keeper.unpause)(row.id)

    await in_thread(work)


def drop(context: Context, identity: str, *prefixes: str) -> None:
    """Let the keeper close what it holds for a container."""
    keeper = context.found_keeper()
    if keeper is None:
        return
    names = [name for name in keeper.names() if name.startswith(tuple(f"{p}{identity}" for p in prefixes))]
    if names:
        keeper.drop(*names)


# Remove -----------------------------------------------------------------------------------------------------


async def remove(
    context: Context, row: ContainerRow, *, with_volumes: bool, successor: CreateContainer | None = None
) -> None:
    """Remove a container, whole or half-made, running or not; the row goes last, also so that a full disk has
    room for that again.

    A `successor` gets its address and, unless it wants fresh ones, its anonymous volumes; it is written down
    in the same moment, so that there is always somebody who has them.
    """
    spec = readable_spec(context, row.id)
    with contextlib.suppress(StateError):  # damaged records; whatever runs has been stopped even so
        await in_thread(_stop, context, row, 0, False)
    if spec is not None and spec.get("cgroup_parent"):
        from compose.runtime.supervision import leftovers

        await in_thread(leftovers.remove_of_container, context.paths, spec)
    await in_thread(_spoil, context, row)
    keep_address = successor is not None and _wants_address(context, row)
    await networks.disconnect(context, row, spec, keep_address=keep_address)
    await in_thread(_remove_files, context, row)
    unused = volumes.unused(context, row, spec) if with_volumes else []
    for name in unused:
        await in_thread(context.volumes.remove, name)
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM containers WHERE id = ?", (row.id,))
        if not keep_address:
            transaction.execute("DELETE FROM endpoints WHERE slot = ?", (networks.slot_of(row),))
        transaction.executemany("DELETE FROM volumes WHERE name = ?", [(name,) for name in unused])
        if successor is not None:
            transaction.execute(*container_row(context, successor))
            if not successor.fresh_volumes:
                new = context.identities[successor.target]
                transaction.execute("UPDATE volumes SET container = ? WHERE container = ?", (new, row.id))
    if spec is not None:
        events.record(context.paths, spec, "destroy")


def _wants_address(context: Context, row: ContainerRow) -> bool:
    """Whether a container of the service and number is wanted; its name may have gone to another one."""
    services = context.target.services if context.target is not None else ()
    return any(row.service == wanted.name and row.number <= wanted.scale for wanted in services)


def _spoil(context: Context, row: ContainerRow) -> None:
    """Make a container half-made, so that nobody starts what a killed removal has left of it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{context.paths.container(row.id)}/{STATE_FILE}")


def _remove_files(context: Context, row: ContainerRow) -> None:
    quota.release(context.paths.container(row.id))
    for directory in (context.paths.container_run(row.id), context.paths.container(row.id)):
        remove_path(directory)
