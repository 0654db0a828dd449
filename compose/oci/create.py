"""create, start, exec: everything that puts a process into a container.

Runs on the protected copy of the interpreter (runtime/container/reexec.py), in a single thread.
"""

from __future__ import annotations

import os
import time

from compose.errors import ContainerError
from compose.linux import sockets
from compose.linux.namespaces import reset_pid_namespace
from compose.oci import bundle, group, shape
from compose.oci.container import SECCOMP_FILE, Container
from compose.runtime import cgroups, records
from compose.runtime.container import child, hardening, host_hooks, launch, steps
from compose.runtime.container.child import Stdio
from compose.runtime.container.enter import enter
from compose.runtime.container.gate import SOCKET, Gate
from compose.state import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from compose.runtime.container.child import Launched
    from compose.runtime.spec import ContainerSpec, OciConfig, Process

    Options = dict[str, Any]
    Warn = Callable[[str], None]


def create(options: Options, warn: Warn) -> Launched:
    """Make a container whose process 1 waits for `start`; nothing is left when that fails."""
    directory = os.path.realpath(options["bundle"])
    config = bundle.read(directory)
    config["process"] = bundle.without_unknown_capabilities(config["process"], warn)
    _check_console(config["process"], options)
    container = Container.make(options["root"], options["id"])
    os.chdir(directory)  # where hooks begin
    try:
        with container:
            launched = _create(container, config, directory, options, warn)
            _hand_over(launched, options)
            return launched
    except BaseException:
        _undo(container, config, warn)
        raise


def _create(
    container: Container, config: OciConfig, directory: str, options: Options, warn: Warn
) -> Launched:
    names = bundle.bounding_set(config)
    program = bundle.seccomp_program(config, names)
    files.replace(f"{container.directory}/{SECCOMP_FILE}", program, durable=False)
    process: Process = {**config["process"], "preservedDescriptors": options["preserve_fds"]}
    if options["listen_fds"]:
        listening = [f"LISTEN_FDS={options['listen_fds']}", "LISTEN_PID=1"]
        process["env"] = [*(process.get("env") or ()), *listening]
    process["callersKeyring"] = options["no_new_keyring"]
    config["process"] = process
    spec: ContainerSpec = {"version": 1, "id": container.id, "oci": config, "network_namespace": ""}
    spec["seccomp"] = f"{container.directory}/{SECCOMP_FILE}" if program else ""
    spec["bundle"] = directory
    container.record = _record(container.id, config, directory, process)
    by_systemd: bool = options["systemd_cgroup"]
    container.record["cgroup"] = path = group.path_of(config, container.id, by_systemd=by_systemd)
    container.write()
    with group.there(path, by_systemd=by_systemd):
        launched = _launch(container, spec, warn)
    for text in launched.warnings:
        warn(text)
    container.record.update(pid=launched.pid, start_time=records.start_time(launched.pid))
    container.write()
    return launched


def _launch(container: Container, spec: ContainerSpec, warn: Warn) -> Launched:
    base, _, name = container.record["cgroup"].rpartition("/")
    own = cgroups.create(base, name, (spec["oci"].get("linux") or {}).get("resources"))
    explain(own, warn)
    listener = sockets.listen(container.directory, SOCKET)
    try:
        return launch.launch(spec, Stdio(0, 1, 2), own, gate=Gate(listener))
    finally:
        listener.close()
        reset_pid_namespace()  # for hooks, and because the container's may be over


def explain(own: cgroups.Cgroup, warn: Warn) -> None:
    """Say which limits cannot be kept here, and what to do."""
    if own.unavailable:
        from compose.runtime.cgroups import missing

        for line in missing.explain(own.unavailable, own.path):
            warn(line)


def _record(identity: str, config: OciConfig, directory: str, process: Process) -> dict[str, Any]:
    own = os.getpid()
    return {
        "version": 1,
        "id": identity,
        "oci_version": config.get("ociVersion"),
        "bundle": directory,
        "rootfs": config["root"]["path"],
        "annotations": config.get("annotations") or {},
        "boot_id": records.boot_id(),
        "creator": own,
        "creator_start_time": records.start_time(own),
        "pid": 0,
        "start_time": 0,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "started": False,
        "process": process,
        "hooks": config.get("hooks") or {},
        "words": _words(config),
    }


def _words(config: OciConfig) -> dict[str, list[str]]:
    """The names that messages of `start` need, by the number of the step."""
    items = hardening.Program(config["process"], b"").items()
    found = {str(step): list(names) for step, names in items.items()}
    configured: dict[str, list[dict[str, Any]]] = config.get("hooks") or {}
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer")
    found[str(steps.HOOK)] = [hook["path"] for kind in kinds for hook in configured.get(kind) or ()]
    return found


def _check_console(process: Any, options: Options) -> None:
    wanted = bool(process.get("terminal"))
    if wanted and not options["console_socket"]:
        raise ContainerError("process.terminal: nobody would have the terminal", hint="use --console-socket")
    if options["console_socket"] and not wanted:
        raise ContainerError("--console-socket: the process has no terminal", hint="set process.terminal")


def _hand_over(launched: Launched, options: Options) -> None:
    """Give the terminal to whoever waits at the console socket, then write the pid file."""
    if launched.master is not None:
        try:
            sockets.send_to(options["console_socket"], b"/dev/ptmx", launched.master)
        except OSError as error:
            text = f"--console-socket {options['console_socket']}: {error.strerror}"
            raise ContainerError(text) from None
        finally:
            os.close(launched.master)
            launched.master = None
    if options["pid_file"]:
        try:
            files.replace(options["pid_file"], str(launched.pid).encode(), mode=0o644, durable=False)
        except OSError as error:
            raise ContainerError(f"--pid-file {options['pid_file']}: {error.strerror}") from None


def _undo(container: Container, config: OciConfig, warn: Warn) -> None:
    """Take away what a failed `create` has made; hooks of the end belong to it."""
    container.end()
    state = {**container.state(), "status": "stopped"}
    host_hooks.run("poststop", _hooks(config, "poststop"), state, warn)
    container.remove()


def _hooks(config: Any, kind: str) -> list[dict[str, Any]]:
    return list((config.get("hooks") or {}).get(kind) or ())


def start(options: Options, warn: Warn) -> None:
    """Let process 1 execute its program; returns when it has."""
    with Container(options["root"], options["id"]) as container:
        status = container.status
        if status != "created":
            raise ContainerError(f"container {container.id} cannot be started: it is {status}")
        try:
            connection = sockets.connect(*container.connect_path())
        except OSError as error:
            text = f"container {container.id} cannot be started: {error.strerror}"
            raise ContainerError(text) from None
        words = {int(step): names for step, names in container.record["words"].items()}
        try:
            child.listen(connection, words)
        finally:
            connection.close()
        os.chdir(container.record["bundle"])  # where hooks begin
        container.record["started"] = True
        container.write()
        os.unlink(f"{container.directory}/{SOCKET}")
        host_hooks.run("poststart", _hooks(container.record, "poststart"), container.state(), warn)


def execute(options: Options, warn: Warn) -> Launched:
    """Put one more process into a running container."""
    container = Container(options["root"], options["id"]).read()
    status = container.status
    if status not in ("created", "running"):
        raise ContainerError(f"container {container.id}: nothing can be executed in it: it is {status}")
    process = _process(container, options, warn)
    _check_console(process, options)
    with open(f"{container.directory}/{SECCOMP_FILE}", "rb") as file:
        program = file.read()
    launched = enter(container.pid, process, Stdio(0, 1, 2), cgroup=container.cgroup(), seccomp=program)
    for text in launched.warnings:
        warn(text)
    _hand_over(launched, options)
    return launched


def _process(container: Container, options: Options, warn: Warn) -> Process:
    """From --process, or that of the container with what the options change."""
    own: Process = {**container.record["process"]}  # type: ignore[typeddict-item]
    if options["process"]:
        value = bundle.read_object(options["process"])
        own = bundle.check_process(shape.checked(value, shape.PROCESS, "process"))
    else:
        own["args"] = options["args"]
        own["terminal"] = bool(options["tty"])
        own["env"] = [*(own.get("env") or ()), *options["env"]]
        own["cwd"] = options["cwd"] or own["cwd"]
        if options["user"]:
            own["user"] = {"username": options["user"]}
        if options["additional_gids"]:
            own["user"] = {**(own.get("user") or {}), "additionalGids": options["additional_gids"]}
        bundle.check_process(own)  # type: ignore[arg-type]
    _add_rights(own, options)
    own["preservedDescriptors"] = options["preserve_fds"]
    return bundle.without_unknown_capabilities(own, warn)


def _add_rights(process: Process, options: Options) -> None:
    """What --cap, --no-new-privs and --apparmor say."""
    if options["cap"]:
        sets = process.get("capabilities") or {}
        grown = ("bounding", "effective", "permitted")
        process["capabilities"] = {
            **sets,
            **{name: [*(sets.get(name) or ()), *options["cap"]] for name in grown},
        }
    if options["no_new_privs"]:
        process["noNewPrivileges"] = True
    if options["apparmor"]:
        process["apparmorProfile"] = options["apparmor"]
