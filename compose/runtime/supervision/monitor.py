"""The monitor: one process a container, from its start until it has ended for good.

It is forked by the keeper, moves output, waits for process 1, runs health probes, starts the container again
as its restart policy says, and serves the requests of clients (control.py). Everything that has to outlive
it is held by the keeper as well: the read ends of output, the listening socket, the pidfd, standard input,
the terminal.

A monitor that takes over (`adopt`) finds in state.json what its predecessor had done. That one was killed

    status            while it                        what the successor does
    created, exited   started it for a client         ends whatever is in the control group
    restarting        waited, or started it again     the same, then waits again
    running, paused   watched it, or after its end    goes on, or records the end
"""

from __future__ import annotations

import os
import time

from compose.errors import ComposeError, ContainerError
from compose.linux import process, sockets
from compose.runtime import protocol, records
from compose.runtime.container import sharing
from compose.runtime.output.attachment import Attachments
from compose.runtime.output.streams import Streams
from compose.runtime.spec import VERSION
from compose.runtime.supervision import adopt, children, hold
from compose.runtime.supervision.checkup import Checkup
from compose.runtime.supervision.control import Control
from compose.runtime.supervision.follow import Follower
from compose.runtime.supervision.group import Group
from compose.runtime.supervision.link import Link
from compose.runtime.supervision.loop import Loop
from compose.runtime.supervision.restarter import Restarter, exit_code_of
from compose.runtime.supervision.stop import DEFAULT_GRACE, SIGKILL, SIGTERM, Stopper, signal_number
from compose.state import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from compose.linux.sockets import Socket
    from compose.runtime.container.host_hooks import HostHooks
    from compose.runtime.output.shipping.shipper import Shipper
    from compose.runtime.spec import ContainerSpec, ContainerState, Process
    from compose.runtime.supervision.loop import Timer
    from compose.state.paths import Paths

_KEPT_HERE = ("json-file", "local", "none")
"""Log drivers of which nothing is sent anywhere."""
_RETRY_OUTPUT = 1.0
_RETRY_KILL = 0.1
_MOST_KILLS = 100
_LAST_BREATH = 2.0
_LOOK = 0.2
"""Seconds within which whoever only looks at the lock has let go of it."""
_STARTING_ERROR = "its monitor died while it started the container"


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
        monitor.adopt()
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
        self.link.on_end = self.end_now
        self.link.on_reconnect = self._be_found
        self.spec: ContainerSpec = {}
        self.state: ContainerState = {"version": VERSION, "status": "created"}
        self.streams = Streams(self.loop, self.link, self.paths, self.identity)
        self.attachments = Attachments(self.loop)
        self.streams.on_output = self._moved
        self.files = Follower(self.loop, self.link)
        self.control: Control | None = None
        self._checkup = Checkup(self)
        self.pid = 0
        self.pidfd = -1
        self.group = Group(self.loop, context.isolation, context.base, self.paths.host_name(context.project))
        self._stopper: Stopper | None = None
        self._kill_timer: Timer | None = None
        self._kills = 0
        self._stopped = False
        """Whether somebody wants this run ended."""
        self._closed = False
        self.restarter = Restarter(self)
        self._shipper: Shipper | None = None
        self._host_hooks: HostHooks | None = None

    def _moved(self) -> None:
        """Something was written to the log."""
        self.attachments.wake()
        if self._shipper is not None:
            self._shipper.wake()

    # beginning ----------------------------------------------------------------------------------------------

    def start(self, connection: Socket) -> None:
        """Start the container for a client, which is answered when process 1 has been executed."""
        if not self._is_the_only_one(seconds=_LOOK):  # a monitor of a former keeper is at it
            text = f"container {self.identity[:12]} is running already"
            protocol.refuse(connection, protocol.refusal(text, protocol.RUNNING))
            connection.close()
            return
        try:
            self.spec = records.read_spec(self.paths, self.identity)
            former = records.recorded_state(self.paths, self.identity)
            self.state = {"version": VERSION, "status": former.get("status", "created"), "restart_count": 0}
            if "finished_at" in former:
                self.state["finished_at"] = former["finished_at"]
            self._prepare()
            if former.get("status") in ("running", "paused") and self._still_runs(former):
                text = f"container {self.identity[:12]} is running already"
                protocol.refuse(connection, protocol.refusal(text, protocol.RUNNING))
                connection.close()
                self._go_on(former)
                return
            warnings = self.launch()
        except (ComposeError, OSError, KeyError, TypeError, ValueError) as error:
            self._failed(error)
            protocol.refuse(connection, error)
            connection.close()
            self._close()
            return
        pid = self.pid

        def tell(told: list[str]) -> None:
            protocol.answer(connection, pid=pid, warnings=told)
            connection.close()

        self.begun(warnings, tell)

    def adopt(self) -> None:
        """Take over from a monitor that died, at whatever moment.

        Errors end this process: the keeper tries again later, and the container runs on. Only one whose
        records are gone is given up, and one whose monitor lives, although nobody reaches it, is left to it.
        """
        if not os.path.isdir(self.paths.container(self.identity)):
            self._close()
            return
        self.spec = records.read_spec(self.paths, self.identity)
        if not self._is_the_only_one(seconds=_LAST_BREATH):  # a channel ends before its monitor does
            return
        self.state = records.recorded_state(self.paths, self.identity)
        self._checkup.end_left_probe()
        alone = not self.link.own_names("")  # the keeper is not the one that held what there was
        self._prepare()
        if alone and self.state.get("status") in ("running", "paused"):
            self.streams.tell_losses(runs=self._still_runs(self.state))
        self._go_on(self.state)

    def _is_the_only_one(self, *, seconds: float) -> bool:
        """Whether there is no other monitor for the container, and from now on there will be none; if there
        is, this process ends without a trace."""
        directory = self.paths.container(self.identity)
        if not os.path.isdir(directory) or hold.hold(directory, seconds=seconds) >= 0:
            return True
        self.link.done()
        self.loop.stop()
        return False

    @staticmethod
    def _still_runs(state: ContainerState) -> bool:
        same_boot = state.get("boot_id") == records.boot_id()
        return same_boot and records.lives(state.get("pid", 0), state.get("start_time", 0))

    def _go_on(self, state: ContainerState) -> None:
        """Do what the predecessor would have done next."""
        self.state = state
        self.group.find(self.spec)
        status = state.get("status")
        if status in ("running", "paused"):
            self._take_over()
            return
        self.group.end_stragglers()
        if status == "restarting":
            self.restarter.plan()
            return
        self._failed(ContainerError(_STARTING_ERROR))
        self._close()

    def _take_over(self) -> None:
        """The container runs, or ran when it was last heard of."""
        self.pid = self.state.get("pid", 0)
        self.pidfd = self._own_pidfd()
        if self.pidfd >= 0:
            self.group.enter_again(self.spec)
        self.group.kills_before = self.state.get("oom_kills", 0)
        self.write()
        if self.pidfd < 0 or self.state.get("exit_code") is not None:  # the predecessor had learnt it
            self._ended(self.state.get("exit_code"))
            return
        self.loop.reader(self.pidfd, self._exited)
        self._watch_memory()
        self.files.resume(self.spec["oci"].get("mounts") or (), self.state.get("files") or {})
        self.files.begin(self.pidfd)
        self._checkup.begin(resumed=True)
        if self.state.get("status") == "paused":
            self._checkup.pause(paused=True)
        if self.state.get("restarting_unhealthy") or self.state.get("restarting_by_hand"):
            self.end_run()
        if self.state.get("poststart_due"):
            self.begun([], lambda _told: None)

    def _own_pidfd(self) -> int:
        """The keeper's pidfd of process 1, else one of the process that state.json proves to be it, or -1."""
        held = self.link.own("process")
        if held:
            return held[0]
        if self.state.get("boot_id") != records.boot_id() or self.pid <= 0:
            return -1
        try:
            pidfd = process.pidfd_open(self.pid)
        except OSError:
            return -1
        if records.start_time(self.pid) == self.state.get("start_time"):
            self.link.put_own({"process": [pidfd]})
            return pidfd
        os.close(pidfd)
        return -1

    def _prepare(self) -> None:
        """Everything that lies around the container, new or from the predecessor; the keeper holds it too."""
        directory = self.paths.container_run(self.identity)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self.streams.prepare(self.spec)
        logging = self.spec.get("logging")
        if logging and logging["driver"] not in _KEPT_HERE:
            from compose.runtime.output import shipping

            self._shipper = shipping.make(self.loop, f"{self.paths.container(self.identity)}/log", self.spec)
            self._moved()
        held = self.link.own("socket")
        listener = sockets.adopt(os.dup(held[0])) if held else self._listen()
        self.control = Control(self, listener)
        self._be_found()

    def _listen(self) -> Socket:
        """Listen where clients look for us; the keeper holds it too. Raises `OSError`."""
        directory = self.paths.container_run(self.identity)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        listener = sockets.listen(directory, protocol.MONITOR_SOCKET)
        self.link.release("socket")
        self.link.put_own({"socket": [os.dup(listener.fileno())]})
        return listener

    def _be_found(self) -> None:
        """Listen anew where the run directory was deleted under us."""
        path = f"{self.paths.container_run(self.identity)}/{protocol.MONITOR_SOCKET}"
        if self.control is None or self._closed or os.path.exists(path):
            return
        try:
            self.control.listen(self._listen())
        except OSError:  # the next keeper's death is another opportunity
            return

    # running ------------------------------------------------------------------------------------------------

    def launch(self) -> list[str]:
        """Start process 1; returns warnings. Raises `ContainerError`, `OSError`; nothing of it runs then."""
        isolation = self.context.isolation
        cgroup = self.group.make(self.spec)
        descriptors, fresh = self.streams.open()
        joined: dict[str, int] = {}
        try:
            joined = sharing.open_all(self.paths, self.spec)
            files = self.files.open(self.spec["oci"].get("mounts") or ())
            stdio = isolation.Stdio(*descriptors)
            launched = isolation.launch(self.spec, stdio, cgroup, joined, files)
        except BaseException:
            self.group.end_stragglers()
            self.files.end()
            self.streams.drain()  # what hooks have said
            for number in fresh.get("stdin", ()):
                os.close(number)
            if self._has_hooks("poststop"):
                self._hooks_of_host().run_at_once("poststop")
            raise
        finally:
            sharing.close_all(joined)
            for number in set(descriptors):
                os.close(number)
        self.pid, self.pidfd = launched.pid, launched.pidfd
        fresh["process"] = [launched.pidfd]
        if launched.master is not None:
            fresh["terminal"] = [launched.master]
        self.link.put_own(fresh)
        self._record_start()
        if launched.master is not None:
            self.streams.read_terminal(launched.master)
        self.loop.reader(self.pidfd, self._exited)
        self._watch_memory()
        not_followed = self.files.begin(self.pidfd)
        self._checkup.begin(resumed=False)
        return [*launched.warnings, *self.group.warnings(), *not_followed]

    def begun(self, warnings: list[str], tell: Callable[[list[str]], None]) -> None:
        """A run has begun: tell so, with warnings, when the hooks that follow it have been run."""
        self._run_hooks("poststart", lambda failed: self._hooks_followed([*warnings, *failed], tell))

    def _hooks_followed(self, warnings: list[str], tell: Callable[[list[str]], None]) -> None:
        if self.state.pop("poststart_due", False):
            self.write()
        tell(warnings)

    def _run_hooks(self, kind: str, then: Callable[[list[str]], None]) -> None:
        """Run hooks of the host; `then` gets what failed."""
        if not self._has_hooks(kind):
            then([])
            return
        self._hooks_of_host().run(kind, then)

    def _hooks_of_host(self) -> HostHooks:
        if self._host_hooks is None:
            from compose.runtime.container.host_hooks import HostHooks  # few containers have any

            self._host_hooks = HostHooks(self)
        return self._host_hooks

    def _has_hooks(self, kind: str) -> bool:
        return bool((self.spec["oci"].get("hooks") or {}).get(kind))

    def _watch_memory(self) -> None:
        if not self.state.get("oom_killed"):
            self.group.watch_memory(self._memory_ran_out)

    def _memory_ran_out(self) -> None:
        """One process was killed; when it was process 1 the end of the run will say so again."""
        self.state["oom_killed"] = True
        self.write()
        self.event("oom")

    def _record_start(self) -> None:
        for key in ("error", "exit_code", "finished_at", "resume_at_boot", "restarting_unhealthy"):
            self.state.pop(key, None)  # type: ignore[misc]
        self.state.update(
            {
                "status": "running",
                "pid": self.pid,
                "start_time": records.start_time(self.pid),
                "started_at": time.time_ns(),
                "exit_code": None,
                "oom_killed": False,
                "stopped_by_user": False,
                "health": None,
                "oom_kills": self.group.kills_before,
                "files": self.files.paths(),
            }
        )
        if self._has_hooks("poststart"):
            self.state["poststart_due"] = True
        check = self.spec.get("healthcheck")
        if check:
            self.state["health"] = {"status": "starting", "failing_streak": 0, "log": []}
        self.write()
        records.reserve_state(self.paths, self.identity)
        self.event("start")

    def write(self, *, durable: bool = False) -> None:
        """Replace state.json. A full disk must not end a container, so that failing is no error here."""
        pid = os.getpid()
        self.state["boot_id"] = records.boot_id()
        self.state["monitor_pid"] = pid
        self.state["monitor_start_time"] = records.start_time(pid)
        try:
            records.write_state(self.paths, self.identity, self.state, durable=durable)
        except OSError:
            self.loop.after(_RETRY_OUTPUT, self.write)

    def event(self, action: str, **attributes: object) -> None:
        """Write down what has happened, for whoever watches."""
        events.record(self.paths, self.spec, action, **attributes)

    def enter(self, what: Process, stdin: int, stdout: int, stderr: int) -> Any:
        """Put one more process into the container. Raises `ContainerError`."""
        if self.pidfd < 0:
            raise ContainerError(f"container {self.identity[:12]} is not running")
        isolation = self.context.isolation
        stdio = isolation.Stdio(stdin, stdout, stderr)
        seccomp = self.spec.get("seccomp") or ""
        return isolation.enter(
            self.pid, what, stdio, pidfd=self.pidfd, cgroup=self.group.cgroup, seccomp=seccomp
        )

    # ending -------------------------------------------------------------------------------------------------

    def stop(self, signal: str | int | None, grace: float | None, *, resume: bool = False) -> None:
        """Stop the container on a user's behalf; `Control` hears of its end.

        With `resume` the machine goes down, and the next boot brings the container back.
        """
        number = self._stop_signal() if signal is None else signal_number(signal)
        if grace is None:
            grace = self.spec.get("stop_grace_period", DEFAULT_GRACE)
        self.state["resume_at_boot" if resume else "stopped_by_user"] = True
        if self.restarter.cancel():
            self.finish_for_good()
            return
        if self.pidfd < 0:
            return
        self.write()
        self._stopped = True
        self._end(number, grace)

    def end_run(self, grace: float | None = None) -> None:
        """Stop the container for its restarter, which starts it again."""
        if self.pidfd >= 0 and self._stopper is None:
            self.write()
            self._stopped = True
            if grace is None:
                grace = self.spec.get("stop_grace_period", DEFAULT_GRACE)
            self._end(self._stop_signal(), grace)

    def restart(self, grace: float | None) -> None:
        """Stop the container and start it; `Control` hears of it. Its ports stay open meanwhile."""
        self.restarter.by_hand(grace)

    def runs_since(self, pid: int, started: int) -> bool:
        """Whether the container runs, and has been started after the run of that process 1."""
        return self.pidfd >= 0 and started > 0 and (pid, started) != (self.pid, self.state.get("start_time"))

    def answer_restart(self, warnings: list[str]) -> None:
        """It runs again."""
        if self.control is not None:
            self.control.answer_restarting(warnings)

    def refuse_restart(self, error: Exception) -> None:
        """It could not be started again."""
        if self.control is not None:
            self.control.refuse_restarting(error)

    def _end(self, signal: int, grace: float) -> None:
        if self._stopper is not None:
            self._stopper.cancel()
        self.event("kill", signal=signal)
        self._stopper = Stopper(self.loop, self.pid, self.pidfd, signal, grace, self.kill_everything)
        if self.state.get("status") == "paused":
            self.pause(paused=False)

    def _stop_signal(self) -> int:
        """The container's own; SIGTERM for one that does not exist: whatever runs can be stopped."""
        try:
            return signal_number(self.spec.get("stop_signal"))
        except ContainerError:
            return SIGTERM

    def kill(self, signal: str | int) -> None:
        """Send a signal to process 1. Raises `ContainerError`."""
        number = signal_number(signal)
        if self.pidfd < 0:
            raise ContainerError(f"container {self.identity[:12]} is not running")
        fatal = number in (SIGKILL, self._stop_signal())
        if fatal:
            self.state["stopped_by_user"] = True
            self.write()
        process.pidfd_send_signal(self.pidfd, number)
        self.event("kill", signal=number)
        if fatal and self.state.get("status") == "paused":
            self.pause(paused=False)

    def kill_everything(self) -> None:
        """SIGKILL to the whole tree, until it is gone."""
        self._kill_timer = None
        if self.pidfd < 0:
            return
        try:
            process.pidfd_send_signal(self.pidfd, SIGKILL)
            assert self.group.cgroup is not None
            self.group.cgroup.kill()
        except (OSError, ContainerError):
            pass
        self._kills += 1
        if self._kills == 1:
            self.event("kill", signal=SIGKILL)
        if self._kills % _MOST_KILLS == 0 and self.control is not None:
            self.control.give_up_stopping(
                ContainerError(f"container {self.identity[:12]}: the kernel cannot end its processes yet")
            )
        self._kill_timer = self.loop.after(_RETRY_KILL, self.kill_everything)

    def end_now(self) -> None:
        """The project is shut down by force."""
        self.stop("KILL", 0)

    def attach(self, connection: Socket) -> None:
        """Give a client what writes to process 1, and tell it from now on what comes out of it."""
        writers = self.link.own("terminal") or self.link.own("stdin")
        self.attachments.add(connection, self.streams.output, writers, terminal=self.streams.terminal)

    def pause(self, *, paused: bool) -> None:
        """Freeze or thaw every process of the container. Raises `ContainerError`, `OSError`."""
        assert self.group.cgroup is not None
        self.group.cgroup.freeze(frozen=paused)
        self.state["status"] = "paused" if paused else "running"
        self._checkup.pause(paused=paused)
        self.write()
        self.event("pause" if paused else "unpause")

    def _exited(self) -> None:
        """Process 1 has ended, and with it every process of its pid namespace."""
        started = self.state.get("start_time", 0)
        code = adopt.how_it_ended(self.link, self.pid, started, self.pidfd)
        if code is not None:
            self.state["exit_code"] = code
            self.write()  # from here on it cannot be lost
        adopt.reap(self.pid)
        self._ended(code)

    def _ended(self, code: int | None) -> None:
        """Record the end of one run, and start the next one where the restart policy wants that."""
        for timer in (self._stopper, self._kill_timer):
            if timer is not None:
                timer.cancel()
        self._stopper = self._kill_timer = None
        self._kills = 0
        self._checkup.end()
        out_of_memory = self.group.ran_out_of_memory()
        self.group.end_stragglers()
        self.files.end()
        self.streams.drain()
        self._moved()
        self.attachments.end(code)
        self.link.release("process", "stdin", "terminal", "probe")
        self.pidfd, self.pid = -1, 0
        told = self.state.get("oom_killed")
        self.state.update(
            {
                "pid": 0,
                "exit_code": code,
                "oom_killed": out_of_memory,
                "finished_at": time.time_ns(),
                "health": None,
            }
        )
        if code is None:
            self.state["error"] = "how the container ended could not be learnt"
        if out_of_memory and not told:
            self.event("oom")
        self.event("die", exitCode="unknown" if code is None else code)
        if self._stopped:
            self._stopped = False
            self.event("stop")
        self._run_hooks("poststop", lambda _failed: self.restarter.ended(code))

    def _failed(self, error: Exception) -> None:
        """The container could not be started."""
        self.state["status"] = "exited" if "finished_at" in self.state else "created"
        self.state.update({"error": str(error), "pid": 0, "health": None})
        self.state["exit_code"] = exit_code_of(error)
        self.link.free_ports()
        self.write(durable=True)

    def finish_for_good(self) -> None:
        """The container is not started again: leave only its records."""
        self.link.free_ports()  # before anybody can read that it has ended, and start it again
        self.state["status"] = "exited"
        self.state["health"] = None
        self.write(durable=True)
        self._close()

    def _close(self) -> None:
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
        directory = self.paths.container_run(self.identity)
        if self.control is not None:
            self.control.close()
        for name in (protocol.MONITOR_SOCKET, "stdout", "stderr"):
            children.remove_file(f"{directory}/{name}")
        try:
            os.rmdir(directory)
        except OSError:
            pass
        self.link.done()
        if self.control is not None:
            self.control.answer_waiting()
        self.loop.stop()
