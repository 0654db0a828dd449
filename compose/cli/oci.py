"""``pycompose oci``: the command line of an OCI runtime, for bundles and for those who drive runtimes."""

from __future__ import annotations

import argparse
import os
import sys

from compose.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_CODE = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from compose.runtime.container.reexec import forget_environment; forget_environment(); "
    "from compose.state.files import loads; from compose.oci.main import main; "
    "sys.exit(main(loads(sys.argv.pop(1).encode())))"
)
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PATHS = ("root", "log", "pid_file", "console_socket")
_ENTERING = ("create", "run", "exec")
"""Operations whose process goes into a container, through a copy of the interpreter (container/reexec.py)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--root", metavar="DIR", help="where the state of containers is (default: oci in the run directory)")
    add("--log", metavar="FILE", help="also write warnings and errors to a file")
    add("--log-format", choices=("text", "json"), default="text", help="form of that file")
    add("--systemd-cgroup", action="store_true", help="read cgroupsPath as SLICE:PREFIX:NAME")
    add("-v", "--version", action="version", version=_version(), help="show the version")
    add("operation", choices=sorted(_PARSERS), metavar="OPERATION", help=", ".join(sorted(_PARSERS)))
    add("arguments", nargs=argparse.REMAINDER, help="see 'pycompose oci OPERATION --help'")


def _version() -> str:
    from compose import __version__

    return f"pycompose-oci version {__version__}"


def run(arguments: argparse.Namespace) -> int:
    """Carry out one operation."""
    options = _options(arguments)
    if options["operation"] in _ENTERING:
        options["listen_fds"] = _listening()
        options["preserve_fds"] += options["listen_fds"]
        _check_preserved(options["preserve_fds"])
        _execute_protected(options)
    from compose.oci.main import main

    return main(options)


def program() -> int:
    """The program ``pycompose-oci``, for those who want a path without arguments."""
    from compose.cli.main import main

    return main(["oci", *sys.argv[1:]])


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    parser = _Parser(prog=f"pycompose oci {arguments.operation}", allow_abbrev=False)
    _PARSERS[arguments.operation](parser)
    parsed = vars(parser.parse_args(arguments.arguments))
    own = {key: getattr(arguments, key) for key in ("operation", "log", "log_format", "systemd_cgroup")}
    found = {**own, "root": arguments.root or _default_root(), **parsed}
    for key in _PATHS:  # creating goes on in the bundle
        if found.get(key):
            found[key] = os.path.abspath(found[key])
    return found


def _default_root() -> str:
    from compose.state.paths import Paths

    return f"{Paths.from_environment().run}/oci"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see '{self.prog} --help'")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: not a number")
    return int(text)


def _listening() -> int:
    """How many sockets the service manager has given us, which are for the container (sd_listen_fds(3))."""
    count = os.environ.get("LISTEN_FDS", "")
    return int(count) if count.isdecimal() and os.environ.get("LISTEN_PID") == str(os.getpid()) else 0


def _check_preserved(count: int) -> None:
    """Refuse to pass on what the caller has not opened: numbers above would be descriptors of our own."""
    for descriptor in range(3, 3 + count):
        try:
            os.fstat(descriptor)
        except OSError:
            text = f"--preserve-fds {count}: descriptor {descriptor} is not open"
            raise UsageError(text, hint="open it, or pass on fewer") from None


def _launching(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--console-socket", default="", metavar="PATH", help="who gets the terminal")
    add("--pid-file", default="", metavar="FILE", help="where the number of the process is written")
    add("--preserve-fds", type=_count, default=0, metavar="N", help="pass on N descriptors from 3 on")


def _creating(parser: argparse.ArgumentParser) -> None:
    _launching(parser)
    parser.add_argument(
        "-b", "--bundle", default=".", metavar="DIR", help="where config.json is (default: .)"
    )
    parser.add_argument(
        "--no-new-keyring", action="store_true", help="leave it the session keyring of the caller"
    )
    parser.add_argument("id", metavar="ID")


def _running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--detach", action="store_true", help="do not wait for its end")
    parser.add_argument("--keep", action="store_true", help="do not delete it when it has ended")
    parser.add_argument("--no-subreaper", action="store_true", help="has no effect: there never is one")
    _creating(parser)


def _executing(parser: argparse.ArgumentParser) -> None:
    _launching(parser)
    add = parser.add_argument
    add("-p", "--process", default="", metavar="FILE", help="JSON of the process")
    add("-d", "--detach", action="store_true", help="do not wait for its end")
    add("-t", "--tty", action="store_true", help="give it a terminal")
    add("--cwd", default="", metavar="DIR")
    add("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    add("-u", "--user", default="", metavar="USER[:GROUP]")
    add("-g", "--additional-gids", type=_count, action="append", default=[], metavar="GROUP")
    add("-c", "--cap", action="append", default=[], metavar="CAP_NAME", help="one more capability")
    add("--no-new-privs", action="store_true", help="it can gain no privileges")
    add("--apparmor", default="", metavar="PROFILE", help="confine it with this profile")
    add("id", metavar="ID")
    add("args", nargs=argparse.REMAINDER, metavar="COMMAND")


def _naming(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID")


def _killing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="to every process in it")
    _naming(parser)
    parser.add_argument("signal", nargs="?", default="SIGTERM", metavar="SIGNAL")


def _deleting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="kill what runs of it first")
    _naming(parser)


def _updating(parser: argparse.ArgumentParser) -> None:
    text = "a JSON file of linux.resources; - is standard input"
    parser.add_argument("-r", "--resources", required=True, metavar="FILE", help=text)
    _naming(parser)


def _listing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="names only")
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table")


def _nothing(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


_PARSERS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "create": _creating,
    "start": _naming,
    "run": _running,
    "exec": _executing,
    "state": _naming,
    "kill": _killing,
    "delete": _deleting,
    "pause": _naming,
    "resume": _naming,
    "update": _updating,
    "list": _listing,
    "features": _nothing,
}


def _execute_protected(options: dict[str, Any]) -> NoReturn:
    """Become an interpreter that nobody in a container can overwrite, and go on there."""
    from compose.runtime.container.reexec import interpreter
    from compose.state.files import dumps

    arguments = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _CODE, _ROOT, dumps(options).decode()]
    with interpreter() as protected:
        os.execve(protected.path, arguments, {**os.environ, **protected.environment})
    raise AssertionError("execve returned")
