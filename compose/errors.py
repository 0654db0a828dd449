"""Every error that a user may see.

    ComposeError                    exit code 1: what failed on what and why, then a hint that can be typed
    ├── UsageError                  exit code 2: the command line
    ├── ModelError                  a compose file: says file:line:column
    ├── PlanError                   the plan cannot be made or carried out
    ├── StateError                  our own records: locks, index, damaged files
    ├── ImageError                  store, bootstrap, layers
    │   └── BuildError              a Dockerfile: says file:line
    ├── ContainerError              one container: launch, exec, stop
    ├── NetworkError                namespaces, links, addresses, ports
    └── VolumeError                 named volumes and their content

The message is one line without a final full stop. `hint` is what the user can do about it, best as
something to type. The command line is the only place that turns an error into text and an exit code.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs 10 ms; type checkers take any variable of this name for true
if TYPE_CHECKING:
    from typing import ClassVar


class ComposeError(Exception):
    """A failure that the user is told about in one line."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(ComposeError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class ModelError(ComposeError):
    """A compose file is wrong; the message begins with ``file:line:column: `` where that is known."""


class PlanError(ComposeError):
    """What the project asks for cannot be reached."""


class StateError(ComposeError):
    """Our own records are locked, damaged or of a version that we do not know."""


class ImageError(ComposeError):
    """An image cannot be found, fetched, verified, unpacked or stored."""


class BuildError(ImageError):
    """A Dockerfile is wrong or one of its steps failed."""


class ContainerError(ComposeError):
    """A container cannot be launched, entered or stopped."""

    reason = ""
    """Why a program could not be executed: ``not found``, ``permission``, or something else."""


class NetworkError(ComposeError):
    """A namespace, link, address, rule or port cannot be had."""


class VolumeError(ComposeError):
    """A volume cannot be made, filled or removed."""
