"""The monitor: one process a container, from its start until it has ended for good.

It is forked by the keeper and serves one container over all of its runs. Everything that has to outlive it is
held by the keeper as well: the read ends of output, the listening socket, the pidfd, standard input, the
terminal. This module is a run's beginning, its watching and what follows its end; the rest are parts:

    takeover.py       a container whose monitor died
    ending.py         stop, kill
    restarter.py      what happens between two runs
    checkup.py        health probes
    door.py           the way into the container
    control.py        requests of clients; sessions.py: exec
    group.py          the control group
    reopening.py      ports and name sockets that nobody holds any more
    follow.py         mounted files that follow those of the host
    hook_runner.py    hooks of the host
    account.py        what state.json says
"""

from __future__ import annotations

import os

from compose.errors import ComposeError, ContainerError
from compose.runtime import protocol, records
from compose.runtime.container import sharing
from compose.runtime.loop import Loop
from compose.runtime.output.attachments import Attachments
from compose.runtime.output.streams import Streams
from compose.runtime.spec import VERSION
from compose.runtime.supervision import children
from compose.runtime.supervision.complaints import complain
from compose.runtime.supervision.monitor import account, exits, takeover
from compose.runtime.supervision.monitor.checkup import Checkup
from compose.runtime.supervision.monitor.control import Control
from compose.runtime.supervision.monitor.door import Door
from compose.runtime.supervision.monitor.ending import Ending
from compose.runtime.supervision.monitor.follow import Follower
from compose.runtime.supervision.monitor.group import Group
from compose.runtime.supervision.monitor.hook_runner import HookRunner
from compose.runtime.supervision.monitor.link import Link
from compose.runtime.supervision.monitor.reopening import Reopening
from compose.runtime.supervision.monitor.restarter import Restarter
from compose.state import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from compose.linux.sockets import Socket
    from compose.runtime.container.birth import Birth
    from compose.runtime.loop import Timer
    from compose.runtime.output.shipping.shipper import Shipper
    from compose.runtime.spec import ContainerSpec, ContainerState, Process
    from compose.runtime.supervision.monitor.door import Arrived, Entering
    from compose.state.paths import Paths

_REFUSALS = (ComposeError, OSError, KeyError, TypeError, ValueError)
"""What is the fault of a spec, or of the host, and told to whoever wanted the container started."""
_KEPT_HERE = ("json-file", "local", "none")
"""Log drivers of which nothing is sent anywhere."""
_RETRY_WRITE = 1.0
_SETTLING = 2.0
"""Seconds that those who are entering a container have for that before it is frozen."""
_LOOK = 0.2
"""Seconds within which whoever only looks at the lock has let go of it."""


class Context:
    """What a monitor is told by the keeper that forks it."""

    __slots__ = ("base", "identity", "isolation", "paths", "project")

    def __init__(self, paths: Paths, project: str, identity: str, isolation: Any, base: str) -> None:
        self.paths = paths
        self.project = project
        self.identity = identity
        self.isolation = isolation
        """The module `compose.runtime.supervision.isolation`, or a test's."""
        self.base = base
        """The control group below which the project's containers have theirs."""


def main(
    context: Context, channel: Socket, connection: Socket | None, held: dict[str, list[int]], task: str
) -> None:
    """A monitor's life. `task` is "start", for the client at `connection`, or "adopt"."""
    monitor = Monitor(context, channel, held)
    if task == "start":
        assert connection is not None
        monitor.start(connection)
    else:
        takeover.adopt(monitor)
    monitor.loop.run()


class Monitor:
    """The process. Everything in it happens in callbacks of one loop."""

    def __init__(self, context: Context, channel: Socket, held: dict[str, list[int]]) -> None:
        self.context = context
        self.paths = context.paths
        self.identity = context.identity
        self.loop = Loop()
        self.link = Link(self.loop, context.paths, context.project, context.identity, channel)
        self.link.held = held
        self.spec: ContainerSpec = {}
        self.state: ContainerState = {"version": VERSION, "status": "created"}
        self.pid = 0
        self.pidfd = -1
        self.group = Group(self.loop, context.isolation, context.base, self.paths.host_name(context.project))
        self.streams = Streams(self.loop, self.link, self.paths, self.identity)
        self.streams.on_output = self._moved
        self.attachments = Attachments(self.loop)
        self.files = Follower(self.loop, self.link)
        self.checkup = Checkup(self)
        self.door = Door(self.loop)
        self.ending = Ending(self)
        self.link.on_end = self.ending.end_now
        self.restarter = Restarter(self)
        self.reopening = Reopening(self)
        self.link.on_change = self.reopening.changed
        self.control: Control | None = None
        self._hooks = HookRunner(self)
        self._shipper: Shipper | None = None
        self._closed = False
        self._rewrite: Timer | None = None
        self._is_unwritten = False
        """Whether it has been told that state.json cannot be written."""
        self.entering: Entering | None = None
        """Process 1, as long as others can hold it up on its way."""

    # beginning ----------------------------------------------------------------------------------------------

    def start(self, connection: Socket) -> None:
        """Start the container for a client, which is answered when process 1 has been executed."""
        if not takeover.is_the_only_one(self, seconds=_LOOK):  # a monitor of a former keeper is at it
            self._refuse_second_start(connection)
            return
        try:
            self.spec = records.read_spec(self.paths, self.identity)
            former = records.recorded_state(self.paths, self.identity)
            self.state = account.anew(former)
            self.prepare()
            if takeover.runs_unwatched(former):
                self._refuse_second_start(connection)
                takeover.go_on(self, former)
                return
        except _REFUSALS as error:
            self._start_failed(connection, error)
            return

        def begun(warnings: list[str]) -> None:
            pid = self.pid

            def tell(told: list[str]) -> None:
                protocol.answer(connection, pid=pid, warnings=told)
                connection.close()

            self.begun(warnings, tell)

        self.launch(begun, lambda error: self._start_failed(connection, error))

    def _start_failed(self, connection: Socket, error: Exception) -> None:
        self.failed(error)
        protocol.refuse(connection, error)
        connection.close()
        self.close()

    def _refuse_second_start(self, connection: Socket) -> None:
        text = f"container {self.identity[:12]} is running already"
        protocol.refuse(connection, protocol.refusal(text, protocol.RUNNING))
        connection.close()

    def prepare(self) -> None:
        """Everything that lies around the container, new or from a predecessor; the keeper holds it too.

        Raises `OSError`.
        """
        os.makedirs(self.paths.container_run(self.identity), mode=0o700, exist_ok=True)
        self.streams.prepare(self.spec)
        logging = self.spec.get("logging")
        if logging and logging["driver"] not in _KEPT_HERE:
            from compose.runtime.output import shipping

            self._shipper = shipping.make(self.loop, f"{self.paths.container(self.identity)}/log", self.spec)
            self._moved()
        self.control = Control(self)
        self.link.on_reconnect = self.control.be_found

    def _moved(self) -> None:
        """Something was written to the log."""
        self.attachments.wake()
        if self._shipper is not None:
            self._shipper.wake()

    # a run --------------------------------------------------------------------------------------------------

    def launch(self, begun: Callable[[list[str]], None], failed: Callable[[Exception], None]) -> None:
        """Start process 1. `begun` is called with warnings when it runs, or `failed` with why it does not.

        Who shares the pid namespace of another container can be stopped in there on his way, so that he is
        waited for in a thread, until he has arrived or `entering` is killed.
        """
        isolation = self.context.isolation
        descriptors: Sequence[int] = ()
        fresh: dict[str, list[int]] = {}
        joined: dict[str, int] = {}

        def arrived(launched: Any, error: Exception | None) -> None:
            self.entering = None
            sharing.close_all(joined)
            for number in set(descriptors):
                os.close(number)
            if error is not None:
                self._clean_after_launch(fresh)
            elif launched is not None:
                try:
                    warnings = self._launched(launched, fresh)
                except _REFUSALS as late:
                    error = late
                else:
                    begun(warnings)
                    return
            if not isinstance(error, _REFUSALS):
                raise error or AssertionError
            failed(error)

        try:
            cgroup = self.group.make(self.spec)
        except _REFUSALS as error:
            failed(error)
            return
        try:
            descriptors, fresh = self.streams.open()
            joined = sharing.open_all(self.paths, self.spec)
            files = self.files.open(self.spec["oci"].get("mounts") or ())
            stdio = isolation.Stdio(*descriptors)
            if "pid" in (self.spec.get("shared") or ()):
                self.entering = self.door.enter(
                    lambda birth: isolation.launch(self.spec, stdio, cgroup, joined, files, birth=birth),
                    arrived,
                )
                return
            launched = isolation.launch(self.spec, stdio, cgroup, joined, files)
        except Exception as error:
            arrived(None, error)
            return
        arrived(launched, None)

    def _clean_after_launch(self, fresh: dict[str, list[int]]) -> None:
        """Nothing of it runs; `fresh` are the descriptors that were made for it."""
        self.group.end_stragglers()
        self.files.end()
        self.streams.drain()  # what hooks have said
        for number in fresh.get("stdin", ()):
            os.close(number)
        self._hooks.run_at_once("poststop")

    def _launched(self, launched: Any, fresh: dict[str, list[int]]) -> list[str]:
        """Process 1 has executed its program; returns warnings."""
        self.pid, self.pidfd = launched.pid, launched.pidfd
        fresh["process"] = [launched.pidfd]
        if launched.master is not None:
            fresh["terminal"] = [launched.master]
        self.link.put_own(fresh)
        self._record_start()
        if launched.master is not None:
            self.streams.read_terminal(launched.master)
        not_followed = self.watch(resumed=False)
        return [*launched.warnings, *self.group.warnings(), *not_followed]

    def _record_start(self) -> None:
        started, kills = records.start_time(self.pid), self.group.kills_before
        account.run_began(self.state, self.spec, pid=self.pid, started=started, oom_kills=kills)
        self.state["files"] = self.files.paths()
        if self._hooks.has("poststart"):
            self.state["poststart_due"] = True
        self.reopening.record()
        self.write()
        records.reserve_state(self.paths, self.identity)
        self.event("start")

    def watch(self, *, resumed: bool) -> list[str]:
        """Watch the run that has begun, or that a predecessor has watched; returns warnings."""
        self.loop.reader(self.pidfd, self._exited)
        if not self.state.get("oom_killed"):
            self.group.watch_memory(self._memory_ran_out)
        not_followed = self.files.begin(self.pidfd)
        self.checkup.begin(resumed=resumed)
        return not_followed

    def begun(self, warnings: list[str], tell: Callable[[list[str]], None]) -> None:
        """A run has begun: tell so, with warnings, when the hooks that follow it have been run."""
        self._hooks.run("poststart", lambda failed: self._hooks_followed([*warnings, *failed], tell))

    def _hooks_followed(self, warnings: list[str], tell: Callable[[list[str]], None]) -> None:
        if self.state.pop("poststart_due", False):
            self.write()
        tell(warnings)

    def _memory_ran_out(self) -> None:
        """One process was killed; when it was process 1 the end of the run will say so again."""
        self.state["oom_killed"] = True
        self.write()
        self.event("oom")

    def runs_since(self, pid: int, started: int) -> bool:
        """Whether the container runs, and has been started after the run of that process 1."""
        return self.pidfd >= 0 and started > 0 and (pid, started) != (self.pid, self.state.get("start_time"))

    def enter(
        self, what: Process, descriptors: Sequence[int], arrived: Arrived, *, again: bool = False
    ) -> Entering:
        """Put one more process into the container, with three descriptors that stay open until it has
        `arrived`; `again` for what is put there again and again. Raises `ContainerError`."""
        if self.pidfd < 0:
            raise ContainerError(f"container {self.identity[:12]} is not running")
        isolation, pid, cgroup = self.context.isolation, self.pid, self.group.cgroup
        stdio, seccomp = isolation.Stdio(*descriptors), self.spec.get("seccomp") or ""
        held = os.dup(self.pidfd)  # the thread may come too late for ours

        def go(birth: Birth) -> Any:
            try:
                return isolation.enter(
                    pid, what, stdio, pidfd=held, cgroup=cgroup, seccomp=seccomp, birth=birth
                )
            finally:
                os.close(held)

        return (self.door.enter_again if again else self.door.enter)(go, arrived)

    def attach(self, connection: Socket) -> None:
        """Give a client what writes to process 1, and tell it from now on what comes out of it."""
        writers = self.link.own("terminal") or self.link.own("stdin")
        self.attachments.add(connection, self.streams.output, writers, terminal=self.streams.terminal)

    def pause(self, *, paused: bool) -> None:
        """Freeze or thaw every process of the container. Raises `ContainerError`, `OSError`."""
        assert self.group.cgroup is not None
        if paused:
            self.door.settle(_SETTLING)
            self.checkup.settle(_SETTLING)
        self.group.cgroup.freeze(frozen=paused)
        self.state["status"] = "paused" if paused else "running"
        self.checkup.pause(paused=paused)
        self.write()
        self.event("pause" if paused else "unpause")

    # what is written down -----------------------------------------------------------------------------------

    def write(self, *, durable: bool = False) -> None:
        """Replace state.json. A full disk must not end a container, so that failing is no error here: it is
        told once (`ps` tells it as long as it is so), and tried again every second."""
        if self._rewrite is not None:
            self._rewrite.cancel()
            self._rewrite = None
        pid = os.getpid()
        self.state["boot_id"] = records.boot_id()
        self.state["monitor_pid"] = pid
        self.state["monitor_start_time"] = records.start_time(pid)
        try:
            records.write_state(self.paths, self.identity, self.state, durable=durable)
        except OSError as error:
            self._rewrite = self.loop.after(_RETRY_WRITE, lambda: self.write(durable=durable))
            if not self._is_unwritten:
                complain(self.paths, self.context.project, f"monitor {self.identity[:12]}", error)
            self._is_unwritten = True
        else:
            self._is_unwritten = False

    def event(self, action: str, **attributes: object) -> None:
        """Write down what has happened, for whoever watches."""
        events.record(self.paths, self.spec, action, **attributes)

    # its end ------------------------------------------------------------------------------------------------

    def _exited(self) -> None:
        """Process 1 has ended, and with it every process of its pid namespace."""
        started = self.state.get("start_time", 0)
        code = exits.how_it_ended(self.link, self.pid, started, self.pidfd)
        if code is not None:
            self.state["exit_code"] = code
            self.write()  # from here on it cannot be lost
        exits.reap(self.loop, self.pid)
        self.run_ended(code)

    def run_ended(self, code: int | None) -> None:
        """Record the end of one run, and start the next one where the restart policy wants that."""
        wanted = self.ending.over()
        self.checkup.end()
        out_of_memory = self.group.ran_out_of_memory()
        self.group.end_stragglers()
        self.files.end()
        self.streams.drain()
        self._moved()
        self.attachments.end(code)
        self.link.release("process", "stdin", "terminal", "probe")
        self.pidfd, self.pid = -1, 0
        told = self.state.get("oom_killed")
        account.run_ended(self.state, code, out_of_memory=out_of_memory)
        if out_of_memory and not told:
            self.event("oom")
        self.event("die", exitCode="unknown" if code is None else code)
        if wanted:
            self.event("stop")
        self._hooks.run("poststop", lambda _failed: self.restarter.ended(code))

    def failed(self, error: Exception) -> None:
        """The container could not be started for a client."""
        account.start_failed(self.state, error)
        self.reopening.end()
        self.link.free_ports()
        self.write(durable=True)

    def finish_for_good(self) -> None:
        """The container is not started again: leave only its records."""
        self.reopening.end()
        self.link.free_ports()  # before anybody can read that it has ended, and start it again
        self.state["status"] = "exited"
        self.state["health"] = None
        self.write(durable=True)
        self.close()

    def close(self) -> None:
        """Leave nothing but the log and state.json; then tell the keeper, then those who wait, and end."""
        if self._closed:
            return
        self._closed = True
        try:
            self.group.remove()
        except (OSError, ContainerError) as error:
            self.state["error"] = f"remove the control group: {error}"
            self.write()
        if self._shipper is not None:
            self._shipper.finish()
        self.streams.close()
        if self.control is not None:
            self.control.close()
        self._remove_run_directory()
        self.link.done()
        if self.control is not None:
            self.control.answer_waiting()
        self.loop.stop()

    def _remove_run_directory(self) -> None:
        directory = self.paths.container_run(self.identity)
        for name in (protocol.MONITOR_SOCKET, "stdout", "stderr"):
            children.remove_file(f"{directory}/{name}")
        try:
            os.rmdir(directory)
        except OSError:
            pass
