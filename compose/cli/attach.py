"""``pycompose attach``."""

from __future__ import annotations

import os
import sys

from compose.cli.switch import add_switch
from compose.errors import ContainerError
from compose.ui.streams import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_UNKNOWN = 255
"""The exit code when the container's own cannot be learnt."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--detach-keys", metavar="KEYS", help="the keys that detach (default ctrl-p,ctrl-q)")
    add("--index", type=int, default=0, help="which container of the service (default: the first)")
    add("--no-stdin", action="store_true", help="do not pass standard input on")
    add_switch(parser, "sig-proxy", default=True, help="pass signals on to the process (default)")
    add("service", metavar="SERVICE")


def run(arguments: argparse.Namespace) -> int:
    """Join this terminal with the main process of a service, and end as it ends."""
    from compose.cli.scope import Scope
    from compose.runtime.attachment import Attachment
    from compose.ui import console, keys

    detacher = keys.Detacher(keys.parse(arguments.detach_keys or keys.DEFAULT))
    scope = Scope(arguments)
    container = scope.running(arguments.service, arguments.index)
    if arguments.dry_run:
        sys.stdout.write(f"attach to {container.row.name}\n")
        return 0
    stdin = not arguments.no_stdin and bool(container.spec.get("stdin_open"))
    if container.spec["oci"]["process"].get("terminal") and stdin and not os.isatty(0):
        raise ContainerError("the input device is not a TTY", hint="pycompose attach --no-stdin")
    attachment = Attachment(scope.keeper, container.row.id)
    passed_on = arguments.sig_proxy and not (attachment.terminal and stdin)  # a closed window ends us alone
    proxied = console.PROXIED if passed_on else ()
    try:
        code = console.follow(attachment, stdin=stdin, detacher=detacher, proxied=proxied)
    except console.Detached:
        say("read escape sequence\n")
        return 1
    finally:
        attachment.close()
    return _UNKNOWN if code is None else code
