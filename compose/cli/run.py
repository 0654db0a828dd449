"""``pycompose run``: one more container of a service, for one command."""

from __future__ import annotations

import os
import sys

from compose.cli.switch import add_switch
from compose.errors import ComposeError, UsageError
from compose.ui.errors import complain
from compose.ui.streams import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from compose.engine.embedded.context import Context
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.model import Project
    from compose.model.oneoff import Changes
    from compose.network.setup.client import SetupClient
    from compose.plan.plan import Plan
    from compose.plan.target import OneOff, Target
    from compose.runtime.attachment import Attachment
    from compose.runtime.output.pieces import Pieces
    from compose.state.index import Index
    from compose.state.paths import Paths
    from compose.ui.progress import Plain, Terminal, Unmentioned

_UNKNOWN = 255
"""The exit code when the container's own cannot be learnt."""
_EXIT_CODES = {"not found": 127, "permission": 126}
"""Those of a program that could not be executed, as a shell has them."""
_FIRST = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from compose.cli.up import PULL

    add = parser.add_argument
    add("-d", "--detach", action="store_true", help="run in the background and print the container's id")
    add("--rm", action="store_true", help="remove the container when it has ended")
    add("--name", metavar="NAME", help="the container's name")
    add("--entrypoint", metavar="COMMAND", help="instead of the image's or the service's entry point")
    add("-e", "--env", action="append", default=[], metavar="KEY=VALUE", help="set a variable")
    add("--env-from-file", action="append", default=[], metavar="FILE", help="set the variables of a file")
    add("-l", "--label", action="append", default=[], metavar="KEY=VALUE", help="add a label")
    add("-u", "--user", metavar="USER", help="as this user")
    add("-w", "--workdir", metavar="PATH", help="in this directory")
    add("-v", "--volume", action="append", default=[], metavar="VOLUME", help="mount one more volume")
    add("-p", "--publish", action="append", default=[], metavar="PORT", help="publish a port")
    add("-P", "--service-ports", action="store_true", help="publish the service's ports")
    add("--use-aliases", action="store_true", help="answer to the names of the service")
    add("--cap-add", action="append", default=[], metavar="CAPABILITY", help="add a capability")
    add("--cap-drop", action="append", default=[], metavar="CAPABILITY", help="drop a capability")
    add("--no-deps", action="store_true", help="do not start what the service depends on")
    add("--build", action="store_true", help="build the image first")
    add(
        "--pull",
        choices=PULL,
        default="policy",
        help="whether to get the image anew, whatever pull_policy says",
    )
    add_switch(parser, "tty", "-t", default=None, help="with a terminal; the default where there is one")
    add_switch(parser, "no-tty", "--no-TTY", "-T", default=False, help="no terminal, even if there is one")
    add_switch(parser, "interactive", "-i", default=True, help="pass standard input on (the default)")
    add(
        "--remove-orphans", action="store_true", help="remove containers of services that are not in the file"
    )
    add("-q", "--quiet", action="store_true", help="print nothing of our own")
    add("--quiet-build", action="store_true", help="do not show the steps of builds")
    add("--quiet-pull", action="store_true", help="do not show how images are got")
    add("words", nargs="A...", metavar="SERVICE")  # argparse.PARSER: what follows is as it stands, `--` too


def run(arguments: argparse.Namespace) -> int:
    """Start what the service depends on, run one command in a container of its own, end as it ends."""
    from compose.network.setup.client import fork_setup
    from compose.state.paths import Paths

    words = arguments.words[arguments.words[0] == "--" :]
    if not words:
        raise UsageError("run needs a service", hint="see 'pycompose config --services'")
    arguments.service, *arguments.args = words
    if arguments.publish and arguments.service_ports:
        raise UsageError("--service-ports and --publish exclude each other")
    arguments.services = [arguments.service]
    paths = Paths.from_environment()
    network = fork_setup(paths)
    try:
        run = _Run(arguments, paths)
        code = run.begin(network)
    finally:
        network.close()
    if code is not None:
        return code
    return run.detached() if arguments.detach else run.follow()


class _Run:
    """One ``run``, from its plan to the end of its container."""

    def __init__(self, arguments: argparse.Namespace, paths: Paths) -> None:
        from compose.cli import project as projects

        self.arguments = arguments
        self.paths = paths
        self.project: Project = projects.load(arguments)
        if arguments.service not in self.project.services:
            raise UsageError(
                f"no such service: {arguments.service}", hint="see 'pycompose config --services'"
            )
        if self.project.services[arguments.service].get("provider"):
            at = self.project.where(("services", arguments.service, "provider"))
            raise ComposeError(
                f"{at}: service {arguments.service}: a provider makes it: no command can be run in it",
                hint="run the command in a service that depends on it",
            )
        self.tty = _wants_terminal(arguments)
        self.name = ""
        self.identity = ""
        self.output: Pieces | None = None

    # beginning ----------------------------------------------------------------------------------------------

    def begin(self, network: SetupClient) -> int | None:
        """Bring the container to life; an exit code when there is nothing more to do."""
        from compose.cli import project as projects
        from compose.cli.up import bring_up_outside
        from compose.engine.embedded.context import Context
        from compose.engine.embedded.engine import EmbeddedEngine
        from compose.state.lock import making_lock
        from compose.ui.progress import reporter

        progress = reporter("run", "quiet" if self.arguments.quiet else self.arguments.progress)
        if not self.arguments.no_deps:
            bring_up_outside(self.arguments, self.paths, self.project, progress)
        name = self.project.name
        with making_lock(self.paths, name, "run", projects.waiting):
            context = Context(
                self.paths,
                name,
                project=self.project,
                network=network,
                detail=progress.detail,
                warn=projects.warn,
            )
            try:
                context.target = self._target(context.index)
                return self._carry_out(context, EmbeddedEngine(context), progress)
            finally:
                progress.close()
                context.close()

    def _target(self, index: Index) -> Target:
        """The one-off container, after all that it depends on."""
        from compose.cli import targets
        from compose.model.oneoff import changed

        service = self.arguments.service
        oneoff: OneOff = self._oneoff(index)
        self._warn_of_options()
        config = changed(self.project.services[service], self._changes(), os.getcwd())
        self.project.services[service] = config  # type: ignore[assignment]
        self._declare_volumes(config, index)
        target = targets.target(self.project, [service])
        kept = []
        for wanted in target.services:
            if wanted.name == service:
                kept.append(wanted._replace(scale=0, container_name=None, oneoff=oneoff))
            elif not self.arguments.no_deps:
                kept.append(wanted)
        return targets.alone(target, kept)

    def _oneoff(self, index: Index) -> OneOff:
        from compose.plan.target import FIRST_ONEOFF, OneOff
        from compose.ui.terminal import window_size

        arguments = self.arguments
        rows = index.containers(self.project.name)
        taken = {row.number for row in rows if row.service == arguments.service}
        number = next(number for number in range(FIRST_ONEOFF, 2 * FIRST_ONEOFF) if number not in taken)
        separator = self.project.separator
        slug = os.urandom(32).hex()
        parts = (self.project.name, arguments.service, "run", slug[:12])
        name = arguments.name or separator.join(parts)
        if len(name) < 2 or name[0] not in _FIRST or set(name) - set(_FIRST + "_.-"):
            raise ComposeError(
                f"--name {name}: not a name", hint="write letters, digits, '_', '.' or '-', two at least"
            )
        size = window_size() if self.tty else {}
        return OneOff(name, number, arguments.rm, arguments.use_aliases, slug, size)

    def _changes(self) -> Changes:
        from compose.model.oneoff import Changes

        arguments = self.arguments
        return Changes(
            command=arguments.args,
            entrypoint=arguments.entrypoint,
            environment=_environment(arguments),
            labels=arguments.label,
            user=arguments.user,
            working_dir=arguments.workdir,
            volumes=arguments.volume,
            publish=arguments.publish,
            service_ports=arguments.service_ports,
            cap_add=arguments.cap_add,
            cap_drop=arguments.cap_drop,
            tty=self.tty,
            interactive=arguments.interactive,
            use_aliases=arguments.use_aliases,
        )

    def _warn_of_options(self) -> None:
        from compose.cli.project import warn
        from compose.model.short import unknown_options

        for spec in self.arguments.volume:
            for option in unknown_options(spec):
                warn(f"--volume {spec}: ignored: there is no option `{option}`")

    def _declare_volumes(self, config: Mapping[str, object], index: Index) -> None:
        """Volumes that only the command line names: those that are there, or new ones of the project."""
        volumes = config["volumes"]
        assert isinstance(volumes, list)
        for one in volumes:
            key = one.get("source")
            if one["type"] == "volume" and key and key not in self.project.volumes:
                there = index.volume_named(key) is not None
                self.project.volumes[key] = {"name": key, "external": there}

    def _carry_out(self, context: Context, engine: EmbeddedEngine, progress: Plain | Terminal) -> int | None:
        from compose.cli.project import waiting
        from compose.state.lock import project_lock

        code = self._images(context, engine, progress)
        if code:
            return code
        with project_lock(self.paths, self.project.name, "run", waiting) as lock:
            context.hold(lock)
            return self._change(context, engine, progress)

    def _change(self, context: Context, engine: EmbeddedEngine, progress: Plain | Terminal) -> int | None:
        from compose.cli.project import wants_orphans_removed
        from compose.plan.reconcile import UpOptions, plan_up
        from compose.ui.progress import Unmentioned

        assert context.target is not None
        options = UpOptions(
            remove_orphans=wants_orphans_removed(self.arguments),
            known=frozenset({*self.project.services, *self.project.disabled}),
        )
        plan = plan_up(context.target, engine.observe(), options)
        if self.arguments.dry_run:
            sys.stdout.write(f"{plan}\n")
            return 0
        engine.prepare(plan)
        first, start = plan.without_last()
        code = self._execute(first, engine, Unmentioned(progress, start.operations[0].action.target))
        if code:
            return code
        return self._start(context, engine, start)

    def _images(self, context: Context, engine: EmbeddedEngine, progress: Plain | Terminal) -> int:
        from compose.cli.up import hiding
        from compose.plan.observed import Observed
        from compose.plan.reconcile import plan_images

        target, arguments = context.target, self.arguments
        assert target is not None
        own = target._replace(services=tuple(s for s in target.services if s.oneoff is not None))
        observed = Observed(images=engine.images())
        plans = [plan_images(own, observed, build=arguments.build, pull=arguments.pull)]
        plans.append(plan_images(target._replace(services=target.services[:-1]), observed))
        for plan in plans:
            if plan and arguments.dry_run:
                sys.stdout.write(f"{plan}\n")
            elif plan:
                context.detail = hiding(arguments, plan, progress)
                code = self._execute(plan, engine, progress)
                if code:
                    return code
        return 0

    def _execute(self, plan: Plan, engine: EmbeddedEngine, progress: Plain | Terminal | Unmentioned) -> int:
        from compose.cli.running import carry_out

        return carry_out(plan, engine, progress, parallel=self.arguments.parallel)

    def _start(self, context: Context, engine: EmbeddedEngine, plan: Plan) -> int | None:
        """Start the container; nothing that it writes from its first moment on is missed."""
        import anyio

        from compose.runtime.output.pieces import Pieces

        action = plan.operations[0].action
        self.name, self.identity = action.target, context.identities[action.target]
        if not self.arguments.detach:
            self.output = Pieces.held(f"{self.paths.container(self.identity)}/log")
        try:
            anyio.run(engine.perform, action)
        except ComposeError as error:
            complain(error)
            if self.arguments.rm:
                _remove(context, engine, self.name)
            return _EXIT_CODES.get(getattr(error, "reason", ""), error.exit_code)
        return None

    # the rest of its life -----------------------------------------------------------------------------------

    def detached(self) -> int:
        """It goes on by itself."""
        self._left_alone()
        sys.stdout.write(f"{self.identity}\n")
        return 0

    def _left_alone(self) -> None:
        """Nobody of us sees its end."""
        if self.arguments.rm:
            from compose.cli.waiter import start

            start(self.paths, self.project.name, self.identity)

    def follow(self) -> int:
        """Be its terminal until it has ended; its exit code."""
        from compose.runtime.attachment import Attachment
        from compose.runtime.client import Keeper
        from compose.ui import console, keys

        keeper = Keeper(self.paths, self.project.name)
        attachment = Attachment(keeper, self.identity, pieces=self.output)
        interactive = self.arguments.interactive
        try:
            if interactive:
                attachment.own_input()
            detacher = keys.Detacher(keys.parse(keys.DEFAULT)) if self.tty else None
            code = console.follow(
                attachment,
                stdin=interactive,
                detacher=detacher,
                terminal=self.tty,
                end_input=True,
                redraw=False,
                send=lambda number: _send(attachment, number),
            )
        except console.Detached:
            say("read escape sequence\n")
            self._left_alone()
            return 0
        except BrokenPipeError:
            keeper.stop(self.identity, grace=0)  # as SIGPIPE would have ended it, had nobody stood between
            self._ended()
            raise
        finally:
            attachment.close()
        self._ended()
        if code is None:
            say("pycompose: the exit code of the command is unknown\n")
            return _UNKNOWN
        return code

    def _ended(self) -> None:
        if self.arguments.rm:
            from compose.cli.waiter import remove

            remove(self.paths, self.project.name, self.identity)


def _wants_terminal(arguments: argparse.Namespace) -> bool:
    """Whether the container gets a terminal. Raises ComposeError where there is none for ``-t``."""
    if arguments.no_tty or arguments.detach or arguments.tty is False:
        return False
    if arguments.tty and arguments.interactive and not sys.stdin.isatty():
        raise ComposeError("the input device is not a TTY", hint="run without -t, or with -T")
    return bool(arguments.tty) or (sys.stdin.isatty() and sys.stdout.isatty())


def _send(attachment: Attachment, number: int) -> None:
    """Pass a signal on. One that is to end process 1, which does not hear it, ends it even so."""
    import signal
    import threading

    if number in (signal.SIGINT, signal.SIGTERM):
        threading.Thread(target=attachment.interrupt, args=(number,), daemon=True).start()
    else:
        attachment.kill(number)


def _remove(context: Context, engine: EmbeddedEngine, name: str) -> None:
    import anyio

    from compose.plan.actions import RemoveContainer

    context.listeners.pop(name, None)
    anyio.run(engine.perform, RemoveContainer(name, volumes=True))


def _environment(arguments: argparse.Namespace) -> dict[str, str]:
    """The variables of files, then the single ones; one without a value is the caller's, if he has it."""
    found: dict[str, str] = {}
    for path in arguments.env_from_file:
        from compose.model.dotenv import parse

        try:
            with open(path, "rb") as file:
                parse(file.read(), path, os.environ.get, found)
        except OSError as error:
            raise UsageError(f"--env-from-file {path}: {error.strerror}") from None
    for entry in arguments.env:
        key, equals, value = entry.partition("=")
        if not key:
            raise UsageError(f"--env {entry}: no name", hint="write NAME=value")
        if not equals and key not in os.environ:
            continue
        found[key] = value if equals else os.environ[key]
    return found
