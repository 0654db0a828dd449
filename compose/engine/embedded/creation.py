"""Making one container.

The order is what makes a kill at any moment harmless:

    row in the index           before anything else: from here on it is found and removed
    directories, spec.json
    namespace and links        derived from the id, made and removed in batches
    name service's sockets     given to the keeper
    state.json "created"       the last thing: without it the container is "half-made" and made anew
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from compose.errors import NetworkError, StateError
from compose.runtime import records
from compose.runtime.container import apparmor
from compose.runtime.spec import VERSION
from compose.state import events
from compose.state.files import replace, replace_json

from . import areas, blame, devices, files, furniture, networks, quota, service_record, sharing, sources
from .removal import remove
from .rows import anonymous_volumes, container_row, new_identity
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

    from .context import Context
    from .spec.mounts import Mounts

BUNDLE_CONFIG = "config.json"


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
        self._filled: list[str] = []

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
        writable = self.context.writable_areas() | areas.of_service(self.wanted.config)
        areas.pin(spec["oci"]["mounts"], writable)
        service_record.write(self.context.paths, self.id, self.wanted.config)
        if spec["oci"].get("hooks"):
            _write_bundle(spec)
            spec["filled"].append(BUNDLE_CONFIG)
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
        fixed = bool(service.get("read_only"))
        written = [WrittenFile(source, target, read_only=fixed) for source, target in files.given(directory)]
        for number, file in enumerate(found.files):
            source = f"{self.directory}/files/given-{number}"
            self._write(source, file.content, file.mode)
            os.chown(source, file.uid, file.gid)
            written.append(WrittenFile(source, file.target, read_only=True))
        return Attached(
            lower=[*reversed(self.image.layers), furniture.layer(self.context.paths)],
            mounts=found,
            volume_directories=directories,
            written=written,
            filled=[*self._filled, service_record.FILE],
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
            self._write(f"{self.directory}/files/{name}", text, 0o644)

    def _write(self, path: str, text: str, mode: int) -> None:
        """A file that is not synced, for there are many: whoever finds it empty knows that it was not."""
        replace(path, text.encode("utf-8", "surrogateescape"), mode=mode, durable=False)
        os.chmod(path, mode)
        if text:
            self._filled.append(os.path.relpath(path, self.directory))

    def complete(self, spec: ContainerSpec) -> None:
        """The container is whole."""
        records.write_state(self.context.paths, self.id, {"version": VERSION, "status": "created"})
        events.record(self.context.paths, spec, "create")


def _write_bundle(spec: ContainerSpec) -> None:
    """What hooks look for: an OCI bundle. Its root is where the overlay is mounted while they run."""
    oci = spec["oci"]
    root = {**(oci.get("root") or {}), "path": spec["rootfs"]["lower"][0]}
    replace_json(f"{spec['bundle']}/{BUNDLE_CONFIG}", {**oci, "root": root}, durable=False)


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
        try:
            await networks.connect(context, creation.wanted, spec)
        except NetworkError as error:
            _tell_place(context, action, spec["id"], error)
            raise
    await in_thread(creation.complete, spec)


def _tell_place(context: Context, action: CreateContainer, identity: str, error: NetworkError) -> None:
    """Say which value of the file is to blame; several containers are furnished at once, and this one's
    may be another's."""
    prefix = f"container {identity[:12]}: "
    if error.message.startswith(prefix):
        error.message = error.message.removeprefix(prefix)
        if action.oneoff or not blame.place(context.project, action.service, error):
            error.message = f"container {action.target}: {error.message}"
