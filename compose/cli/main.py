"""Global options, the table of commands, and the one place that turns errors into text and exit codes.

A command's module is imported only when that command is asked for: its arguments cost nothing to the others.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import signal
import sys

from compose.cli.settings import settle
from compose.errors import ComposeError, UsageError
from compose.ui.errors import complain
from compose.ui.streams import discard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

COMMANDS = {
    "attach": "Attach local standard input, output, and error streams to a service's running container",
    "boot": "Bring containers back when the machine was restarted",
    "build": "Build or rebuild services",
    "commit": "Create a new image from a service container's changes",
    "config": "Parse, resolve and render the compose file in canonical form",
    "cp": "Copy files/folders between a service container and the local filesystem",
    "create": "Create containers for services",
    "down": "Stop and remove containers and networks",
    "events": "Receive real time events from containers",
    "exec": "Execute a command in a running container",
    "export": "Export a service container's filesystem as a tar archive",
    "images": "List images used by the created containers",
    "kill": "Force containers of services to stop",
    "logs": "View output from containers",
    "ls": "List running compose projects",
    "oci": "Run bundles as an OCI runtime",
    "pause": "Pause services",
    "port": "Print the public port for a port binding",
    "ps": "List containers",
    "restart": "Restart containers of services",
    "rm": "Remove stopped containers of services",
    "run": "Run a one-off command on a service",
    "scale": "Scale services",
    "start": "Start services",
    "stats": "Display a live stream of container(s) resource usage statistics",
    "stop": "Stop services",
    "top": "Display the running processes",
    "unpause": "Unpause services",
    "up": "Create and start containers",
    "version": "Show the version",
    "volumes": "List volumes",
    "wait": "Block until containers of services stop",
}

_INTERRUPTED = 130
_TRUE = ("true", "True", "TRUE", "t", "T", "1")
_FALSE = ("false", "False", "FALSE", "f", "F", "0")
"""As the flags of docker take them."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Knows the terminal's width by itself: argparse would import shutil for it, 9 ms at every start."""

    def __init__(self, prog: str) -> None:
        try:
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        super().__init__(prog, width=(columns or 100) - 2)


class _Parser(argparse.ArgumentParser):
    """Errors are one line, as ours everywhere; what is on or off may be so in words: ``--all=false``."""

    def __init__(self, **options: Any) -> None:
        self._switches: list[argparse.Action] = []
        self._names: set[str] = set()
        super().__init__(**options)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        action = super().add_argument(*names, **options)
        self._names.update(names)
        if options.get("action") == "store_true":
            self._switches.append(action)
        return action

    def read(self, words: list[str], namespace: argparse.Namespace | None = None) -> argparse.Namespace:
        """The options in `words`; raises `UsageError`."""
        if any("=" in word for word in words):
            self._accept_values()
        return self.parse_args(words, namespace=namespace)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see '{self.prog} --help'")

    def _accept_values(self) -> None:
        for switch in self._switches:
            plain = [name for name in switch.option_strings if "=" not in name]
            for action, values in (("store_true", _TRUE), ("store_false", _FALSE)):
                spelt = (f"{name}={value}" for name in plain for value in values)
                names = [one for one in spelt if one not in self._names]  # some have a few of their own
                super().add_argument(*names, dest=switch.dest, action=action, help=argparse.SUPPRESS)
        self._switches = []


def main(arguments: Sequence[str]) -> int:
    """Run ``pycompose ARGUMENTS`` and return its exit code."""
    debug = False
    try:
        try:
            options = global_parser().read(list(arguments))
            debug = options.debug
            code = _run(options)
        except SystemExit as end:  # argparse has printed its help
            code = int(end.code or 0)
        sys.stdout.flush()  # at exit it would be too late to say that it failed
        return code
    except KeyboardInterrupt:
        # Threads may still wait for a build step or a download; these end with us, and so do we, now.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(_INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        return _report(_innermost(error))


def _innermost(error: Exception) -> Exception:
    """What a task group has wrapped."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _report(error: Exception) -> int:
    """Print an error; the exit code that it means."""
    if isinstance(error, BrokenPipeError):
        # Nobody reads us any more. Die as other programs do, and without a second complaint at exit.
        discard(1)
        return 128 + signal.SIGPIPE
    if isinstance(error, OSError):
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
        if error.errno in (errno.ENOSPC, errno.EIO):
            discard(1)
        error = ComposeError(f"{error.strerror or error}{where}")
    elif not isinstance(error, ComposeError):
        text = " ".join(str(error).split())
        error = ComposeError(
            f"internal error: {type(error).__name__}: {text}",
            hint="this is a defect of pycompose; run 'pycompose --debug ...' to see where, and report it",
        )
    complain(error)
    return error.exit_code


def _run(options: argparse.Namespace) -> int:
    settle(options)
    if options.version:
        options.command = ["version"]
    name, *rest = options.command or ["help"]
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    if name == "help":
        global_parser().print_help()
        return 0
    if name not in COMMANDS:
        import difflib

        close = difflib.get_close_matches(name, COMMANDS, 1)
        raise UsageError(
            f"no such command: {name}",
            hint=f"did you mean '{close[0]}'?" if close else "see 'pycompose --help'",
        )
    arguments = command_parser(name, dry_run=options.dry_run).read(rest, namespace=options)
    return int(importlib.import_module(f"compose.cli.{name}").run(arguments))


def command_parser(name: str, *, dry_run: bool = False) -> _Parser:
    """The options of a command, one of `COMMANDS`; `--dry-run` may stand before or behind its name."""
    parser = _Parser(
        prog=f"pycompose {name}", description=COMMANDS[name], formatter_class=_Formatter, allow_abbrev=False
    )
    parser.add_argument("--dry-run", action="store_true", default=dry_run, help=argparse.SUPPRESS)
    importlib.import_module(f"compose.cli.{name}").add_arguments(parser)
    return parser


def global_parser() -> _Parser:
    """The options before a command's name; the rest is ``command``."""
    lines = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    parser = _Parser(
        prog="pycompose",
        usage="pycompose [OPTIONS] COMMAND",
        description="Multi-container stacks from one YAML file, on an embedded container runtime.",
        epilog=f"commands:\n{lines}",
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "-f",
        "--file",
        action="append",
        default=[],
        metavar="FILE",
        help="compose file, '-' for stdin; repeatable",
    )
    add("-p", "--project-name", metavar="NAME", help="project name")
    add("--project-directory", metavar="PATH", help="base of relative paths (default: of the first file)")
    add("--env-file", action="append", default=[], metavar="FILE", help="another file than .env; repeatable")
    add("--profile", action="append", default=[], metavar="NAME", help="enable a profile; repeatable")
    add("--all-resources", action="store_true", help="also networks and volumes that no service uses")
    add("--compatibility", action="store_true", help="names with '_' instead of '-', as docker-compose 1 had")
    add("--parallel", type=int, metavar="N", help="at most N operations at once; -1: any number")
    add("--progress", metavar="auto|tty|plain|json|quiet", help="how progress is shown")
    add("--ansi", metavar="never|always|auto", help="whether to colour")
    add("--dry-run", action="store_true", help="print the plan and change nothing")
    add("--debug", action="store_true", help="show tracebacks")
    add("-v", "--version", action="store_true", help="show the version")
    add("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
