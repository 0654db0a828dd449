"""``pycompose logs``."""

from __future__ import annotations

from compose.cli.log_lines import label, log_printer
from compose.errors import ContainerError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from compose.state.index import ContainerRow
    from compose.state.paths import Paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-f", "--follow", action="store_true", help="go on with what is written from now on")
    add("-n", "--tail", default="all", metavar="N", help="only the last N lines of each container")
    add("-t", "--timestamps", action="store_true", help="print when a line was written")
    add("--since", default="", metavar="TIME", help="only lines after this time, or of the last 10m")
    add("--until", default="", metavar="TIME", help="only lines before this time")
    add("--index", type=int, default=0, metavar="N", help="only this container of the service")
    add("--no-color", action="store_true", help="no colours")
    add("--no-log-prefix", action="store_true", help="do not print which container a line is from")


def run(arguments: argparse.Namespace) -> int:
    """Print what the project's containers have written."""
    from compose.cli.scope import Scope
    from compose.runtime.output import logs
    from compose.ui.times import moment

    if arguments.index and len(arguments.services) != 1:
        raise UsageError("--index wants one service", hint="pycompose logs --index 1 SERVICE")
    scope = Scope(arguments)
    scope.check(arguments.services)
    paths, name = scope.paths, scope.name
    known = scope.project.services.items() if scope.project else ()
    unattached = {service for service, config in known if config.get("attach") is False}

    def wanted(row: ContainerRow) -> bool:
        return (
            not row.oneoff  # what `run` shows is its caller's, as under docker compose
            and (row.service in arguments.services if arguments.services else row.service not in unattached)
            and (not arguments.index or row.number == arguments.index)
        )

    unkept: dict[str, bool] = {}

    def kept(row: ContainerRow) -> bool:
        """Whether there is a log to show: the driver none keeps output for those who are attached only."""
        if row.id not in unkept:
            unkept[row.id] = _is_unkept(paths, row)
        return not unkept[row.id]

    chosen = [row for row in scope.rows if wanted(row)]
    if arguments.index and not chosen:
        raise ContainerError(f"service {arguments.services[0]} has no container #{arguments.index}")
    tail = _tail(arguments.tail)
    scope.watch(scope.rows)
    since, until = moment(arguments.since), moment(arguments.until)
    printer = log_printer(arguments, name, chosen)
    if arguments.follow:
        from compose.cli.following import Following

        with Following(paths, name, printer, wanted, shown=kept, since=since, until=until) as following:
            following.add(chosen, tail=tail)
            following.run()
        return 0
    everything = [
        (
            label(name, row),
            logs.read(f"{paths.container(row.id)}/log", tail=tail, since=since, until=until),
        )
        for row in chosen
        if kept(row)
    ]
    for key, time_ns, _stream, line in logs.merge(everything):
        printer.line(key, time_ns, line)
    return 0


def _is_unkept(paths: Paths, row: ContainerRow) -> bool:
    from compose.runtime.records import find_spec
    from compose.ui.errors import warn

    spec = find_spec(paths, row.id)
    found = spec is not None and spec["logging"]["driver"] == "none"
    if found:
        warn(f"container {row.name} keeps no log: its logging.driver is none")
    return found


def _tail(text: str) -> int | None:
    """How many lines; None: all of them, as docker compose takes every word that is no number, and -1."""
    if text.removeprefix("+").isdecimal():
        return int(text)
    if text not in ("", "all") and not text.removeprefix("-").isdecimal():
        from compose.ui.errors import warn

        warn(f"--tail {text}: neither a number nor 'all': all lines are shown")
    return None
