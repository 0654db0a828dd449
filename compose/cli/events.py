"""``pycompose events``."""

from __future__ import annotations

import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from compose.cli.scope import Scope
    from compose.state.events import Reader

_LOOK_AGAIN = 1.0
"""Seconds after which to look by ourselves, whatever the kernel says."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("--json", action="store_true", help="a JSON object a line")
    add("--since", default="", metavar="TIME", help="begin with events after this time, or of the last 10m")
    add("--until", default="", metavar="TIME", help="end with this time")


def run(arguments: argparse.Namespace) -> int:
    """Print what happens to the project's containers, until Ctrl-C or the time given."""
    from compose.cli.scope import Scope
    from compose.state.events import Reader
    from compose.ui.times import moment

    scope = Scope(arguments)
    scope.check(arguments.services)
    since, until = moment(arguments.since), moment(arguments.until)
    reader = Reader(scope.paths, scope.name, from_now=not since)
    scope.watch(scope.rows)
    _follow(scope, reader, arguments, since, until)
    return 0


def _follow(scope: Scope, reader: Reader, arguments: argparse.Namespace, since: int, until: int) -> None:
    import os

    from compose.linux import inotify

    os.makedirs(scope.paths.events, mode=0o700, exist_ok=True)
    watch = inotify.Inotify()
    watch.add(scope.paths.events, inotify.MODIFY | inotify.CREATE | inotify.ONLYDIR)
    poll = select.poll()
    poll.register(watch.descriptor, select.POLLIN)
    while True:
        for event in reader.read():
            if event["time"] >= since and not (until and event["time"] >= until):
                _print(event, arguments)
        left = (until - time.time_ns()) / 1e9 if until else _LOOK_AGAIN
        if left <= 0:
            return
        poll.poll(1000 * min(left, _LOOK_AGAIN))
        watch.read()


def _print(event: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.services and event.get("service") not in arguments.services:
        return
    sys.stdout.write((_json(event) if arguments.json else _line(event)) + "\n")
    sys.stdout.flush()


def _line(event: dict[str, Any]) -> str:
    """``2026-01-02 15:04:05.123456 container start ID (image=..., name=...)``, in local time."""
    from compose.ui.terminal import printable

    seconds, rest = divmod(event["time"], 10**9)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) + f".{rest // 1000:06d}"
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(event["attributes"].items()))
    return printable(f"{when} container {event['action']} {event['id']} ({attributes})")


def _json(event: dict[str, Any]) -> str:
    """As docker compose has it: keys in alphabetical order, time in RFC 3339."""
    import json

    from compose.ui.logs import timestamp

    shown = {**event, "time": timestamp(event["time"]), "type": "container"}
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
