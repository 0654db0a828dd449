"""``pycompose exec``."""

from __future__ import annotations

import contextlib
import os
import sys

from compose.cli.switch import add_switch
from compose.errors import ContainerError, UsageError
from compose.ui.errors import complain
from compose.ui.streams import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from compose.runtime.client import ExecSession, Keeper
    from compose.runtime.spec import ContainerSpec, Process
    from compose.ui.pump import Pipes

_UNKNOWN = 255
"""The exit code when the process's own cannot be learnt."""
_EXIT_CODES = {"not found": 127, "permission": 126, "other": 126}
"""Those of a program that is not there, or could not be started, as a shell and docker have them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-d", "--detach", action="store_true", help="run in the background")
    add("-e", "--env", action="append", default=[], metavar="KEY=VALUE", help="set a variable")
    add_switch(parser, "interactive", "-i", default=True, help="pass standard input on (default)")
    add_switch(parser, "tty", "-t", default=True, help="with a terminal, where there is one (default)")
    add("--index", type=int, default=0, help="which container of the service (default: the first)")
    add_switch(parser, "no-tty", "--no-TTY", "-T", default=False, help="no terminal, even if there is one")
    add("--privileged", action="store_true", help="with every capability")
    add("-u", "--user", metavar="USER", help="as this user")
    add("-w", "--workdir", metavar="PATH", help="in this directory")
    add("service", metavar="SERVICE")
    add("args", nargs="...", metavar="COMMAND")


def run(arguments: argparse.Namespace) -> int:
    """Run one more process in a container and end as it ends."""
    from compose.cli.scope import Scope

    if not arguments.args:
        raise UsageError("exec needs a command", hint=f"pycompose exec {arguments.service} sh")
    scope = Scope(arguments)
    container = scope.running(arguments.service, arguments.index)
    wanted = arguments.tty and not arguments.no_tty and not arguments.detach
    tty = wanted and sys.stdin.isatty() and sys.stdout.isatty()
    process = _process(container.spec, arguments, tty=tty)
    if arguments.dry_run:
        sys.stdout.write(f"run {' '.join(process['args'])} in {container.row.name}\n")
        return 0
    try:
        return _execute(scope.keeper, container.row.id, process, arguments, tty=tty)
    except ContainerError as error:
        if error.reason not in _EXIT_CODES:
            raise
        complain(error)
        return _EXIT_CODES[error.reason]


def _execute(
    keeper: Keeper, identity: str, process: Process, arguments: argparse.Namespace, *, tty: bool
) -> int:
    if tty:
        from compose.ui.console import relay

        return _code(relay(keeper.exec(identity, process, tty=True), stdin=arguments.interactive))
    if arguments.detach:
        null = os.open(os.devnull, os.O_RDWR)
        keeper.exec(identity, process, [null, null, null]).close()
        return 0
    from compose.ui.pump import Pipes

    with Pipes(stdin=arguments.interactive) as pipes:
        session = keeper.exec(identity, process, pipes.theirs)
        return _wait(session, pipes)


def _process(spec: ContainerSpec, arguments: argparse.Namespace, *, tty: bool) -> Process:
    """The container's own process with another command; same user, variables and rights unless told."""
    from compose.runtime.container.capabilities import select
    from compose.runtime.container.oci import environment

    process: Process = {**spec["oci"]["process"], "args": list(arguments.args), "terminal": tty}
    for entry in arguments.env:
        if not entry.partition("=")[0]:
            raise UsageError(f"--env {entry}: no name", hint="write NAME=value")
    variables = [entry if "=" in entry else _of_caller(entry) for entry in arguments.env]
    terminal = ["TERM=" + os.environ.get("TERM", "xterm")] if tty else []
    if tty:
        from compose.ui.terminal import window_size

        process["consoleSize"] = window_size()  # there before the first look at it
    process["env"] = environment([*process.get("env", []), *terminal, *variables])
    if arguments.user:
        process["user"] = {"username": arguments.user}
    if arguments.workdir:
        process["cwd"] = arguments.workdir
    if arguments.privileged:
        names = select(privileged=True)
        process["capabilities"] = {"bounding": names, "effective": names, "permitted": names}
    return process


def _of_caller(name: str) -> str:
    """A variable as the caller has it; the name alone, which takes it away, when there is none."""
    value = os.environ.get(name)
    return name if value is None else f"{name}={value}"


def _wait(session: ExecSession, pipes: Pipes) -> int:
    """Wait for the end; an interrupt goes to the process, which decides what it means."""
    import select
    import signal

    from compose.ui.heard import Heard

    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN)
    with contextlib.closing(session), Heard((signal.SIGINT, signal.SIGTERM)) as heard:
        pipes.begin()
        poll.register(heard.fileno(), select.POLLIN)
        while session.fileno() not in dict(poll.poll()):
            for number in heard.take():
                with contextlib.suppress(OSError):  # it has just ended
                    session.signal(number)
        code = session.wait()
    whole = pipes.finish()
    return _code(code) if whole or code else 1


def _code(code: int | None) -> int:
    if code is None:
        say("pycompose: the exit code of the command is unknown\n")
        return _UNKNOWN
    return code
