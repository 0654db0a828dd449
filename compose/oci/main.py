"""The operations of the OCI runtime command line, and how their errors are told.

Errors are one line on standard error and, with --log, one entry in that file, as text or as JSON:
``{"level": "error", "msg": ..., "time": ...}``. The exit code is 1; of exec 255, so that
it is none of the common ones of what is executed.
"""

from __future__ import annotations

import os
import sys
import time

from compose.errors import ComposeError, ContainerError
from compose.linux import process, signals
from compose.oci import create
from compose.oci.container import Container, all_in
from compose.runtime import cgroups
from compose.runtime.container import host_hooks
from compose.runtime.supervision.monitor.stop import signal_number
from compose.state import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Options = dict[str, Any]

_SIGKILL = 9
_FORWARDED = (1, 2, 3, 10, 12, 15)  # HUP, INT, QUIT, USR1, USR2, TERM


def main(options: Options) -> int:
    """Carry out ``options["operation"]``; its exit code."""
    try:
        return _OPERATIONS[options["operation"]](options)
    except ComposeError as error:
        hint = f" ({error.hint})" if error.hint else ""
        _tell(options, "error", f"{error.message}{hint}")
    except OSError as error:
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
        _tell(options, "error", f"{options['operation']}: {error.strerror or error}{where}")
    return 255 if options["operation"] == "exec" else 1


def _tell(options: Options, level: str, text: str) -> None:
    """Say something to the user and to the log."""
    sys.stderr.write(f"pycompose oci: {level}: {text}\n")
    if not options["log"]:
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if options["log_format"] == "json":
        line = files.dumps({"level": level, "msg": text, "time": now}).decode()
    else:
        line = f"time={now} level={level} msg={files.dumps(text).decode()}"
    try:
        with open(options["log"], "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        sys.stderr.write(f"pycompose oci: --log {options['log']}: {error.strerror}\n")


def _warner(options: Options) -> Callable[[str], None]:
    return lambda text: _tell(options, "warning", text)


def _create(options: Options) -> int:
    os.close(create.create(options, _warner(options)).pidfd)
    return 0


def _start(options: Options) -> int:
    create.start(options, _warner(options))
    return 0


def _run(options: Options) -> int:
    signals.block_all()  # until there is somebody to pass them on to
    launched = create.create(options, _warner(options))
    try:
        create.start(options, _warner(options))
    except ComposeError:
        _delete({**options, "force": True})
        raise
    if options["detach"]:
        return 0
    code = _wait(launched.pid, launched.pidfd)
    if not options["keep"]:
        _delete({**options, "force": True})
    return code


def _exec(options: Options) -> int:
    launched = create.execute(options, _warner(options))
    return 0 if options["detach"] else _wait(launched.pid, launched.pidfd)


def _wait(pid: int, pidfd: int) -> int:
    """Pass signals on to a child until it has ended; its exit code."""
    import signal

    def forward(number: int, _frame: object) -> None:
        try:
            process.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            return

    for number in _FORWARDED:
        signal.signal(number, forward)
    signals.set_mask()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(pidfd)
    return code if code >= 0 else 128 - code


def _state(options: Options) -> int:
    _print({"pid": 0, **Container(options["root"], options["id"]).read().state()})
    return 0


def _print(value: Any) -> None:
    sys.stdout.buffer.write(files.readable(value))


def _kill(options: Options) -> int:
    # 0 asks whether it could be signalled, kill(2)
    number = 0 if options["signal"] == "0" else signal_number(options["signal"])
    container = Container(options["root"], options["id"]).read()
    status = container.status
    if options["all"] and status != "creating":
        for pid in container.cgroup().pids():
            _signal(pid, number)
        return 0
    if status not in ("created", "running", "paused"):
        raise ContainerError(f"container {container.id} cannot be signalled: it is {status}")
    pidfd = process.pidfd_open(container.pid or -1)
    try:
        if container.status not in ("created", "running", "paused"):
            raise ContainerError(f"container {container.id} cannot be signalled: it has ended")
        process.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)
    return 0


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _delete(options: Options) -> int:
    try:
        container = Container(options["root"], options["id"]).__enter__()
    except ContainerError:
        if options["force"]:
            return 0  # what is not there needs no deletion
        raise
    try:
        status = container.status
        if status != "stopped" and not options["force"]:
            raise ContainerError(
                f"container {container.id} cannot be deleted: it is {status}",
                hint="kill it first, or use --force",
            )
        container.end()
        state = {**container.state(), "status": "stopped"}
        state.pop("pid", None)
        container.remove()
    finally:
        container.__exit__()
    found = (container.record.get("hooks") or {}).get("poststop") or ()
    host_hooks.run("poststop", found, state, _warner(options))
    return 0


def _pause(options: Options) -> int:
    return _freeze(options, frozen=True)


def _resume(options: Options) -> int:
    return _freeze(options, frozen=False)


def _freeze(options: Options, *, frozen: bool) -> int:
    with Container(options["root"], options["id"]) as container:
        status, verb = container.status, "paused" if frozen else "resumed"
        if status != ("running" if frozen else "paused"):
            raise ContainerError(f"container {container.id} cannot be {verb}: it is {status}")
        container.cgroup().freeze(frozen=frozen)
    return 0


def _update(options: Options) -> int:
    from compose.oci import bundle

    resources = bundle.read_resources(options["resources"])
    with Container(options["root"], options["id"]) as container:
        if (status := container.status) not in ("created", "running", "paused"):
            raise ContainerError(f"container {container.id} cannot be updated: it is {status}")
        group = container.cgroup()
        group.update(resources)
    create.explain(group, _warner(options))
    return 0


def _list(options: Options) -> int:
    states = [{"pid": 0, **container.state()} for container in all_in(options["root"])]
    if options["quiet"]:
        sys.stdout.write("".join(f"{state['id']}\n" for state in states))
    elif options["format"] == "json":
        _print(states)
    else:
        rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED")]
        rows += [(one["id"], str(one["pid"]), one["status"], one["bundle"], one["created"]) for one in states]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            words = (word.ljust(width) for word, width in zip(row, widths, strict=True))
            sys.stdout.write("  ".join(words).rstrip() + "\n")
    return 0


def _features(_options: Options) -> int:
    from compose.oci.features import features

    _print(features(cgroups.version()))
    return 0


_OPERATIONS: dict[str, Callable[[Options], int]] = {
    "create": _create,
    "start": _start,
    "run": _run,
    "exec": _exec,
    "state": _state,
    "kill": _kill,
    "delete": _delete,
    "pause": _pause,
    "resume": _resume,
    "update": _update,
    "list": _list,
    "features": _features,
}
