"""What goes wrong in processes that have nobody to tell: RUN/projects/PROJECT/errors.log."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.state.paths import Paths


def complain(paths: Paths, project: str, who: str, error: BaseException) -> None:
    """Leave a trace of an error in a process that has nobody to tell; at most 64 KiB of them a project."""
    text = f"{type(error).__name__}: {error}\n"
    try:
        import traceback

        text = "".join(traceback.format_exception(error))
    except (OSError, MemoryError):  # want of descriptors may be just what is complained of
        pass
    path = f"{paths.project_run(project)}/errors.log"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < 65536:
                os.write(descriptor, f"{who}: {text}".encode("utf-8", "replace"))
        finally:
            os.close(descriptor)
    except OSError:
        pass
