"""What can be done, as data: one class an action.

`target` names the object as the user knows it; the engine finds ids, paths and addresses itself. `WORDS` says
how an action is spoken of: ``create container shop-web-1`` in a plan, ``Container shop-web-1  Created`` when
it is done.
"""

from __future__ import annotations

from typing import NamedTuple


class BuildImage(NamedTuple):
    """Build the image `target` from the build section of `service`."""

    target: str
    service: str


class FetchImage(NamedTuple):
    """Get the image `target`, which is not in the store; also when it is, with `renew`."""

    target: str
    renew: bool = False


class RemoveImage(NamedTuple):
    """Take away the name `target` of an image, and the image with its last one, unless somebody uses it."""

    target: str


class CreateNetwork(NamedTuple):
    """Make the network `target`, called `key` in the compose file; again, when only its record is there."""

    target: str
    key: str


class RemoveNetwork(NamedTuple):
    target: str


class CreateVolume(NamedTuple):
    """Make the volume `target`, called `key` in the compose file."""

    target: str
    key: str


class RemoveVolume(NamedTuple):
    target: str


class CreateContainer(NamedTuple):
    """Make the container `target` of a service; it does not run yet.

    With `replaces` the container of that name is removed first; its addresses go on, and its anonymous
    volumes do unless `fresh_volumes` is set.
    """

    target: str
    service: str
    number: int
    replaces: str | None = None
    fresh_volumes: bool = False
    oneoff: bool = False


class ReconnectContainer(NamedTuple):
    """Give the container `target` its network again, which a restart of the machine took."""

    target: str


class StartContainer(NamedTuple):
    target: str


class StopContainer(NamedTuple):
    """Stop the container `target`; `grace_period` in seconds, None for the container's own.

    With `resume` the machine goes down: the container does not count as stopped by hand. With `regardless` a
    failing `pre_stop` hook does not keep it running.
    """

    target: str
    grace_period: float | None = None
    resume: bool = False
    regardless: bool = False


class RestartContainer(NamedTuple):
    """Stop the container `target` as `StopContainer` does, when it runs, and start it."""

    target: str
    grace_period: float | None = None


class KillContainer(NamedTuple):
    """Send a signal to process 1 of the container `target`; after SIGKILL wait for its end."""

    target: str
    signal: str = "SIGKILL"


class PauseContainer(NamedTuple):
    """Freeze every process of the container `target`, which runs and is not paused."""

    target: str


class UnpauseContainer(NamedTuple):
    """Thaw every process of the container `target`, which is paused."""

    target: str


class RemoveContainer(NamedTuple):
    """Remove the stopped container `target`, with its anonymous volumes where `volumes` is set."""

    target: str
    volumes: bool = False


class WaitHealthy(NamedTuple):
    """Wait until the container `target` is healthy; fail as soon as it cannot become so.

    Without `required` a container that has no health check only has to run.
    """

    target: str
    required: bool = True


class WaitCompleted(NamedTuple):
    """Wait until the container `target` has exited with code 0; fail with any other."""

    target: str


class RemoveSandbox(NamedTuple):
    """Take away the network namespace and the helper processes of the project `target`."""

    target: str


class LeaveSandbox(NamedTuple):
    """End the helper processes of the project `target`; its namespace stays, for networks that others use."""

    target: str
    recorded: bool = False
    """Whether the project keeps its record, so that nobody takes those networks away unused."""


Action = (
    BuildImage
    | FetchImage
    | RemoveImage
    | CreateNetwork
    | RemoveNetwork
    | CreateVolume
    | RemoveVolume
    | CreateContainer
    | ReconnectContainer
    | StartContainer
    | StopContainer
    | RestartContainer
    | KillContainer
    | PauseContainer
    | UnpauseContainer
    | RemoveContainer
    | WaitHealthy
    | WaitCompleted
    | RemoveSandbox
    | LeaveSandbox
)


class Words(NamedTuple):
    """How an action is spoken of."""

    kind: str
    does: str
    doing: str
    done: str


WORDS: dict[type, Words] = {
    BuildImage: Words("Image", "build image", "Building", "Built"),
    FetchImage: Words("Image", "fetch image", "Fetching", "Fetched"),
    RemoveImage: Words("Image", "remove image", "Removing", "Removed"),
    CreateNetwork: Words("Network", "create network", "Creating", "Created"),
    RemoveNetwork: Words("Network", "remove network", "Removing", "Removed"),
    CreateVolume: Words("Volume", "create volume", "Creating", "Created"),
    RemoveVolume: Words("Volume", "remove volume", "Removing", "Removed"),
    CreateContainer: Words("Container", "create container", "Creating", "Created"),
    ReconnectContainer: Words("Container", "reconnect container", "Connecting", "Connected"),
    StartContainer: Words("Container", "start container", "Starting", "Started"),
    StopContainer: Words("Container", "stop container", "Stopping", "Stopped"),
    RestartContainer: Words("Container", "restart container", "Restarting", "Started"),
    KillContainer: Words("Container", "kill container", "Killing", "Killed"),
    PauseContainer: Words("Container", "pause container", "Pausing", "Paused"),
    UnpauseContainer: Words("Container", "unpause container", "Unpausing", "Unpaused"),
    RemoveContainer: Words("Container", "remove container", "Removing", "Removed"),
    WaitHealthy: Words("Container", "wait for health of", "Waiting", "Healthy"),
    WaitCompleted: Words("Container", "wait for completion of", "Waiting", "Exited"),
    RemoveSandbox: Words("Project", "remove sandbox of", "Removing", "Removed"),
    LeaveSandbox: Words("Project", "leave sandbox of", "Leaving", "Left"),
}
