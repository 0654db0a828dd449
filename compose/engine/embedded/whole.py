"""A container's file system as a whole: as a tar archive, and as a new image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.errors import ContainerError
from compose.images import trees
from compose.images.overlay import mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from compose.images.store import ImageStore
    from compose.runtime.spec import ContainerSpec

_OWN_LABELS = "com.docker.compose."


def export(store: ImageStore, spec: ContainerSpec, output: Callable[[bytes], object]) -> None:
    """Write everything but what is mounted (volumes, /proc, ...) to `output`, layers merged.

    The container's own changes are looked at as one more read-only layer, whether it runs or not.
    """
    layers = [*reversed(spec["rootfs"]["lower"]), upper_of(spec)]
    with mounted(store.root, layers) as root:
        pairs = trees.walk(root, b"", b"")
        next(pairs)  # the root itself
        trees.write(pairs, output)


def upper_of(spec: ContainerSpec) -> str:
    """The directory with what a container has changed."""
    upper = spec["rootfs"].get("upper")
    if not upper:
        raise ContainerError(f"container {spec['name']} cannot change anything")
    return upper


def settings(spec: ContainerSpec, image: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an image that starts as the container does: its command, environment, user, ports.

    `image` are those that it was made from. What an entry point was and what its arguments is not on record:
    if the command begins with the image's entry point, that is it.
    """
    process = spec["oci"]["process"]
    entrypoint, words = list(image.get("Entrypoint") or ()), list(process["args"])
    if words[: len(entrypoint)] != entrypoint:
        entrypoint = []
    own = ("HOSTNAME", "TERM") if process.get("terminal") else ("HOSTNAME",)
    kept = [entry for entry in process.get("env") or () if entry.partition("=")[0] not in own]
    user = process.get("user") or {}
    labels = {key: text for key, text in spec["labels"].items() if not key.startswith(_OWN_LABELS)}
    return {
        "Entrypoint": entrypoint or None,
        "Cmd": words[len(entrypoint) :],
        "Env": kept,
        "User": user.get("username") or (str(user["uid"]) if user.get("uid") else image.get("User") or ""),
        "WorkingDir": process.get("cwd") or "/",
        "Labels": {**(image.get("Labels") or {}), **labels},
        "ExposedPorts": {**(image.get("ExposedPorts") or {}), **{port: {} for port in spec["exposed"]}},
    }
