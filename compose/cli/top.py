"""``pycompose top``."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from compose.cli.scope import Container
    from compose.runtime.processes import Process

_HEADER = ("SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_DAY = 86_400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("services", nargs="*", metavar="SERVICE")


def run(arguments: argparse.Namespace) -> int:
    """List the processes of the project's containers."""
    from compose.cli.scope import Scope
    from compose.runtime.processes import of_container, users
    from compose.ui.table import table

    names = users(_user_name)
    now = time.time()
    rows = [
        (found.row.service, _number(found), *_cells(process, names(process.user), now))
        for found in Scope(arguments).containers(arguments.services)
        if found.runs
        for process in of_container(found.state.get("pid", 0))
    ]
    if rows:
        sys.stdout.write(table(_HEADER, rows, minimum=4, space=2))
    return 0


def _number(container: Container) -> str:
    """Which one of the service; nothing for one that `run` made."""
    return "" if container.row.oneoff else str(container.row.number)


def _cells(process: Process, user: str, now: float) -> tuple[str, ...]:
    from compose.runtime.processes import terminal_name
    from compose.ui.terminal import printable

    return (
        user,
        str(process.pid),
        str(process.parent),
        str(int(100 * process.cpu / max(1.0, now - process.started))),
        _started(process.started, now),
        terminal_name(process.terminal),
        _time(int(process.cpu)),
        printable(process.command),
    )


def _user_name(uid: int) -> str:
    """The host's name of a user, as ps would say it; the number where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _started(when: float, now: float) -> str:
    """The time of today, the day of this year, or the year."""
    then, today = time.localtime(when), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    return time.strftime("%b%d" if then.tm_year == today.tm_year else "%Y", then)


def _time(seconds: int) -> str:
    days, rest = divmod(seconds, _DAY)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock
