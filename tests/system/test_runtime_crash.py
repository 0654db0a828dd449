"""Any helper of a container may be killed at any moment: nothing is lost, doubled, invented or left."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from compose.errors import ContainerError
from compose.linux import sockets
from compose.runtime import records
from compose.runtime.client import Keeper
from compose.runtime.container.oci import default_oci
from compose.runtime.supervision.monitor import exits
from tests.support.containers import PROJECT, Stand, wait_for, wait_for_end
from tests.support.network_lab import until
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.runtime.spec import ContainerState, RestartPolicy


MANY = 300_000


class Listener:
    """A published port, as far as the keeper is concerned."""

    def __init__(self, stand: Stand, identity: str) -> None:
        self._address = f"\0pycompose-test-{identity}"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self._address)
            listening.listen(100)
            self.name = f"listen/{identity}/tcp/127.0.0.1/80/10.0.0.2/80"
            stand.keeper.put(self.name, [listening.fileno()])

    def netd(self) -> int:
        """The process that answers; a connection waits until one does."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(MOMENT)
            client.connect(self._address)
            number, project = client.recv(100).split()
            assert project.decode() == PROJECT
            return int(number)


def kill(pid: int) -> None:
    """kill -9, and wait until it is dead."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        wait_for_end([pid])


def other_monitor(former: int) -> Callable[[ContainerState], bool]:
    return lambda state: state["monitor_pid"] != former


def keeper_of(stand: Stand) -> int:
    """The keeper as keeper.json has it; 0 while there is none."""
    try:
        record = records.read(f"{stand.paths.project_run(PROJECT)}/keeper.json")
    except Exception:
        return 0
    return int(record["pid"]) if records.lives(record["pid"], record["start_time"]) else 0


def other_keeper(stand: Stand, former: int) -> None:
    """Wait until somebody else is the keeper."""
    wait_for(stand.paths.project_run(PROJECT), lambda: keeper_of(stand) not in (0, former))


def numbered(count: int) -> str:
    return f"i=0; while [ $i -lt {count} ]; do echo line $i; i=$((i+1)); done; exit 7"


WRITER = f"""
trap enough=1 USR1
i=0
while [ -z "$enough" ]; do
  echo line $i
  i=$((i+1))
  [ $i -gt {MANY} ] && [ $((i % 100)) = 0 ] && sleep 0.01
done
echo end
exit 7
"""
"""Numbered lines as fast as possible, until it is told that it is enough: however slow the test is, it must
not end before. After many lines it slows down, for the test has to read them."""


def end_writer(stand: Stand, identity: str, end: bytes = b"") -> int | None:
    """Let it end, and see that every line, with `end` behind each, has arrived once; the exit code."""
    stand.keeper.kill(identity, "USR1")
    state = stand.keeper.wait(identity)
    assert state["status"] == "exited"
    lines = stand.lines(identity)
    assert lines == [*(b"line %d%b" % (number, end) for number in range(len(lines) - 1)), b"end" + end]
    return state["exit_code"]


def test_killed_monitors_lose_and_double_no_line(stand: Stand) -> None:
    dice = random.Random(2026)
    identity = stand.shell(WRITER)
    for _ in range(12):
        monitor = stand.state(identity)["monitor_pid"]
        stand.until_size(identity, stand.size(identity) + dice.randrange(1, 150_000))
        kill(monitor)
        stand.until(identity, other_monitor(monitor))
    assert end_writer(stand, identity) == 7


def test_helpers_killed_in_any_order_while_a_container_writes(stand: Stand) -> None:
    dice = random.Random(1914)
    identity = stand.make("sh", "-c", WRITER)
    listener = Listener(stand, identity)
    stand.keeper.start(identity)
    victims = ["monitor", "keeper", "netd"] * 3
    dice.shuffle(victims)
    for victim in victims:
        monitor, keeper, netd = stand.state(identity)["monitor_pid"], keeper_of(stand), listener.netd()
        if victim == "monitor":
            kill(monitor)
            stand.until(identity, other_monitor(monitor))
        elif victim == "keeper":
            kill(keeper)
            other_keeper(stand, keeper)
            wait_for_end([netd])
        else:
            kill(netd)
        if victim != "monitor":
            assert listener.netd() != netd
    assert end_writer(stand, identity) == 7
    stand.keeper.drop(listener.name)


def kill_together(*pids: int) -> None:
    """kill -9 before any of them can act on the death of another."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        kill(pid)


def test_monitor_and_keeper_killed_together_lose_no_line(stand: Stand) -> None:
    dice = random.Random(2027)
    identity = stand.shell(WRITER)
    for _ in range(4):
        monitor = stand.state(identity)["monitor_pid"]
        stand.until_size(identity, stand.size(identity) + dice.randrange(1, 400_000))
        kill_together(stand.keeper_pid(), monitor)
        assert records.read_state(stand.paths, identity)["status"] == "running"  # it waits
        stand.ensure()
        stand.until(identity, other_monitor(monitor))
    assert end_writer(stand, identity) in ((7,) if kernel_keeps_exit_codes() else (7, None))


def test_what_is_lost_with_monitor_and_keeper_is_said_in_the_log(stand: Stand) -> None:
    terminal = stand.run("sleep", "1000", terminal=True)
    reader = stand.shell("cat; echo ended; exec sleep 1000", stdin_open=True)
    gone = stand.run("sleep", "1000")
    state = stand.state(gone)
    monitors = [stand.state(one)["monitor_pid"] for one in (terminal, reader, gone)]
    kill_together(stand.keeper_pid(), *monitors)
    kill(state["pid"])
    with contextlib.suppress(ChildProcessError):
        os.waitpid(state["pid"], 0)
    stand.ensure()
    said = b"pycompose: its monitor and keeper were killed together: "
    stand.until_written(terminal, said + b"the container's terminal is lost")
    stand.until_written(reader, said + b"the container's standard input has ended")
    stand.until_written(reader, b"ended")
    stand.until_written(gone, said + b"what the container wrote last may be missing")
    for identity in (terminal, reader):
        stand.keeper.stop(identity, grace=0)


def test_a_keepers_successor_watches_what_nobody_watches(stand: Stand) -> None:
    watched, other = stand.run("sleep", "1000"), stand.run("sleep", "1000")
    monitor, keeper = stand.state(watched)["monitor_pid"], stand.keeper_pid()
    kill_together(keeper, monitor)
    stand.until(watched, other_monitor(monitor))  # the other one's monitor has started a keeper
    other_keeper(stand, keeper)
    assert stand.state(other)["status"] == "running"
    assert stand.keeper.stop(watched)["status"] == "exited"


def test_killed_keepers_stay_no_zombies_of_monitors(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    for _ in range(3):
        keeper = stand.keeper_pid()
        kill(keeper)
        other_keeper(stand, keeper)
    monitor, pid = stand.state(identity)["monitor_pid"], stand.state(identity)["pid"]
    until(lambda: sorted(children_of(monitor)) == sorted([pid, keeper_of(stand)]))


def test_a_keeper_that_lives_is_not_replaced_for_want_of_a_connection(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = stand.keeper_pid()

    def refuse(_directory: str, _name: str) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    with monkeypatch.context() as patch:
        patch.setattr(sockets, "connect", refuse)
        with pytest.raises(ContainerError, match="reach the keeper of project testing"):
            stand.ensure()
        with pytest.raises(ContainerError, match="reach the keeper of project testing"):
            stand.keeper.shutdown()
    assert stand.keeper_pid() == keeper


def test_a_keeper_whose_socket_was_deleted_is_replaced_with_all_that_it_held(stand: Stand) -> None:
    identity = stand.shell("read line; exit 7", stdin_open=True)
    keeper = stand.keeper_pid()
    os.unlink(f"{stand.paths.project_run(PROJECT)}/keeper.sock")
    stand.ensure()
    other_keeper(stand, keeper)
    wait_for_end([keeper])
    writer = stand.writer(identity)
    assert writer is not None
    os.write(writer, b"go\n")
    os.close(writer)
    assert stand.keeper.wait(identity)["exit_code"] == 7


def test_an_exit_code_outlives_the_monitor(stand: Stand) -> None:
    identity = stand.shell("read line; exit 7", stdin_open=True)
    writer = stand.writer(identity)
    assert writer is not None
    keeper, state = stand.keeper_pid(), stand.state(identity)
    os.kill(keeper, signal.SIGSTOP)  # nobody takes over until the container has ended
    kill(state["monitor_pid"])
    os.write(writer, b"go\n")
    os.close(writer)
    wait_for_end([state["pid"]])
    os.kill(keeper, signal.SIGCONT)
    found = stand.until(identity, lambda state: state["status"] == "exited")
    assert found["exit_code"] == 7


def test_an_exit_code_outlives_monitor_and_keeper_or_is_unknown(stand: Stand) -> None:
    identity = stand.shell("read line; exit 7", stdin_open=True)
    writer = stand.writer(identity)
    assert writer is not None
    state = stand.state(identity)
    kill(stand.keeper_pid())  # the monitor starts another one
    other_keeper(stand, 0)
    kill(state["monitor_pid"])  # whose parent is neither: the container is orphaned to somebody else
    stand.until(identity, other_monitor(state["monitor_pid"]))
    os.write(writer, b"go\n")
    os.close(writer)
    found = stand.keeper.wait(identity)
    assert found["status"] == "exited"
    assert found["exit_code"] in ((7,) if kernel_keeps_exit_codes() else (7, None))


def kernel_keeps_exit_codes() -> bool:
    """Whether PIDFD_GET_INFO tells how a process ended (Linux 6.15)."""
    child = os.fork()
    if child == 0:
        os._exit(3)
    pidfd = os.pidfd_open(child)
    os.waitpid(child, 0)
    try:
        return exits.from_pidfd(pidfd) == 3
    finally:
        os.close(pidfd)


def test_a_container_without_any_helper_is_found_again(stand: Stand) -> None:
    identity = stand.shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    stand.until_written(identity, b"ready")
    state, keeper = stand.state(identity), stand.keeper_pid()
    os.kill(keeper, signal.SIGSTOP)
    kill(state["monitor_pid"])
    kill(keeper)
    assert records.read_state(stand.paths, identity)["status"] == "running"
    found = stand.keeper.stop(identity)
    assert found["status"] == "exited"
    assert found["exit_code"] in ((3,) if kernel_keeps_exit_codes() else (3, None))
    assert stand.lines(identity) == [b"ready", b"bye"]
    assert keeper_of(stand) not in (0, keeper)


def test_what_ended_without_a_witness_is_unknown_and_not_running(stand: Stand) -> None:
    identity = stand.shell("read line; exit 7", stdin_open=True)
    state, keeper = stand.state(identity), stand.keeper_pid()
    os.kill(keeper, signal.SIGSTOP)
    kill(state["monitor_pid"])
    kill(keeper)
    kill(state["pid"])
    with contextlib.suppress(ChildProcessError):
        os.waitpid(state["pid"], 0)
    found = records.read_state(stand.paths, identity)
    assert (found["status"], found["exit_code"]) == ("exited", None)
    assert "nobody watched" in found["error"]
    stand.ensure()
    stand.keeper.adopt(identity)  # cleans up what is left of it
    found = stand.until(identity, lambda state: state["status"] == "exited")
    assert found["exit_code"] is None


def test_a_stop_goes_on_when_the_monitor_dies_over_it(stand: Stand) -> None:
    script = "trap '' TERM; trap : USR1; echo ready; while :; do sleep 0.05; done"
    identity = stand.shell(script, stop_signal="USR1")
    stand.until_written(identity, b"ready")
    monitor = stand.state(identity)["monitor_pid"]
    child = os.fork()
    if child == 0:
        try:
            stand.keeper.stop(identity, grace=1.5)
        finally:
            os._exit(0)
    stand.until(identity, lambda state: state["stopped_by_user"])
    kill(monitor)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert stand.state(identity)["exit_code"] == 137


def test_an_exec_sessions_exit_code_outlives_the_monitor(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    read, write = os.pipe()
    what = default_oci(["sh", "-c", "read line; exit 5"])["process"]
    session = stand.keeper.exec(identity, what, [read, write, write])
    monitor = stand.state(identity)["monitor_pid"]
    kill(monitor)
    stand.until(identity, other_monitor(monitor))
    os.write(write, b"go\n")
    assert session.wait() == 5
    session.close()
    for descriptor in (read, write):
        os.close(descriptor)


def test_a_monitor_that_dies_while_it_waits_to_restart(stand: Stand) -> None:
    identity = stand.shell("echo try; exit 1", restart={"name": "on-failure", "max_attempts": 4})
    state = stand.until(identity, lambda state: state["restart_count"] == 2 and state["pid"] == 0)
    kill(state["monitor_pid"])
    state = stand.until(identity, lambda state: state["status"] == "exited")
    assert (state["restart_count"], state["exit_code"]) == (4, 1)
    assert stand.lines(identity) == [b"try"] * 5


def test_monitors_that_die_between_the_end_and_the_restart(stand: Stand) -> None:
    """At whatever moment: no start too few, none too many but for one that nobody had written down yet, and
    the count is that of the policy."""
    dice = random.Random(1848)
    policy: RestartPolicy = {"name": "on-failure", "max_attempts": 6}
    identity = stand.shell("echo try; exit 1", restart=policy)
    kills = 0
    while (state := stand.state(identity))["status"] != "exited":
        count = state.get("restart_count", 0)
        kill(state["monitor_pid"])
        kills += 1
        stand.until(identity, moved_on(state["monitor_pid"], count + dice.randrange(2)))
    assert (state["restart_count"], state["exit_code"]) == (6, 1)
    assert kills > 2
    assert 7 <= len(stand.lines(identity)) <= 7 + kills


def moved_on(monitor: int, count: int) -> Callable[[ContainerState], bool]:
    """Whether another monitor has restarted the container as often, or it has ended for good."""
    return lambda state: (
        (state["monitor_pid"] != monitor and state.get("restart_count", 0) >= count)
        or state["status"] == "exited"
    )


def test_a_restart_by_hand_is_finished_by_a_successor_once(stand: Stand) -> None:
    os.makedirs(stand.paths.events)
    script = "trap 'exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    identity = stand.shell(script, service="one", labels={})
    stand.until_written(identity, b"begun")
    for number in range(2, 6):
        former = stand.state(identity)
        child = os.fork()
        if child == 0:
            try:
                done = stand.keeper.restart(identity)
            finally:
                os._exit(0 if done else 1)
        stand.until(identity, lambda state: bool(state.get("restarting_by_hand")))
        kill(former["monitor_pid"])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        state = stand.state(identity)
        assert (state["status"], state["restart_count"]) == ("running", 0)
        assert state["pid"] != former["pid"]
        stand.until_lines(identity, number)
    # One that was killed before anybody had written it down may have begun too.
    assert set(stand.lines(identity)) == {b"begun"}
    assert starts(stand, identity) <= 5


def starts(stand: Stand, identity: str) -> int:
    """How often the container was started, by its events."""
    with open(f"{stand.paths.events}/{PROJECT}.jsonl") as file:
        events = [json.loads(line) for line in file]
    return sum(one["action"] == "start" and one["id"] == identity for one in events)


def test_a_monitor_that_dies_while_it_starts_leaves_nothing_running(stand: Stand) -> None:
    for moment in range(8):
        identity = stand.make("sleep", "1000")
        child = os.fork()
        if child == 0:
            with contextlib.suppress(Exception):
                stand.keeper.start(identity)
            os._exit(0)
        directory = stand.paths.container_run(identity)
        os.makedirs(directory, exist_ok=True)
        wait_for(directory, lambda: os.path.exists(f"{directory}/monitor.sock"))  # noqa: B023
        for _step in range(moment):
            os.sched_yield()
        for monitor in children_of(stand.keeper_pid()):
            kill(monitor)
        os.waitpid(child, 0)
        state = stand.until(identity, lambda state: "error" in state or state["status"] == "running")
        if state["status"] == "running":
            stand.keeper.stop(identity, grace=0)
        else:
            assert state["status"] == "created"


def children_of(pid: int) -> list[int]:
    """The children of all of its threads."""
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children") as file:
            found += map(int, file.read().split())
    return found


def test_a_probe_of_a_dead_monitor_is_ended(stand: Stand) -> None:
    check = {"test": ["CMD-SHELL", "echo $$ > /probe; exec sleep 1000"], "interval": 30.0, "timeout": 30.0}
    check |= {"retries": 3, "start_period": 0.0, "start_interval": 5.0}
    identity = stand.run("sleep", "1000", healthcheck=check)
    upper = f"{stand.paths.container(identity)}/upper"
    wait_for(upper, lambda: os.path.exists(f"{upper}/probe") and os.path.getsize(f"{upper}/probe"))
    monitor = stand.state(identity)["monitor_pid"]
    probe_and_nurse = [pid for pid in children_of(monitor) if pid != stand.state(identity)["pid"]]
    assert len(probe_and_nurse) == 2
    kill(monitor)
    wait_for_end(probe_and_nurse)


def test_a_terminals_output_survives_the_monitor(stand: Stand) -> None:
    identity = stand.run("sh", "-c", WRITER, terminal=True)
    for goal in (5_000, 50_000, 100_000):
        monitor = stand.state(identity)["monitor_pid"]
        stand.until_size(identity, goal)
        kill(monitor)
        stand.until(identity, other_monitor(monitor))
    assert end_writer(stand, identity, b"\r") == 7


def test_a_stopping_project_replaces_nothing(stand: Stand) -> None:
    identity = stand.make("sleep", "1000")
    listener = Listener(stand, identity)
    stand.keeper.start(identity)
    keeper, netd = stand.keeper_pid(), listener.netd()
    stand.keeper.set_stopping(True)
    kill(netd)
    until(lambda: children_of(keeper) == [stand.state(identity)["monitor_pid"]])
    kill(keeper)
    state = stand.keeper.stop(identity)  # the monitor is there, and enough
    assert state["status"] == "exited"
    assert keeper_of(stand) == 0
    assert Keeper.find(stand.paths, PROJECT) is None


def test_a_project_may_begin_to_stop_without_a_keeper(stand: Stand) -> None:
    identity = stand.run("sleep", "1000", restart={"name": "always", "max_attempts": 0})
    keeper, state = stand.keeper_pid(), stand.state(identity)
    os.kill(state["monitor_pid"], signal.SIGSTOP)  # it shall not start another one first
    kill(keeper)
    stand.keeper.set_stopping(True)
    os.kill(state["monitor_pid"], signal.SIGCONT)
    os.kill(state["pid"], signal.SIGKILL)
    state = stand.keeper.wait(identity)
    assert (state["status"], state["restart_count"]) == ("exited", 0)
    assert keeper_of(stand) == 0


def test_a_start_over_a_container_that_runs_without_helpers_adopts_it(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    keeper, state = stand.keeper_pid(), stand.state(identity)
    os.kill(keeper, signal.SIGSTOP)
    kill(state["monitor_pid"])
    kill(keeper)
    stand.ensure()
    with pytest.raises(ContainerError, match="running already"):
        stand.keeper.start(identity)
    assert stand.state(identity)["pid"] == state["pid"]
    assert stand.keeper.stop(identity)["status"] == "exited"


def test_a_full_disk_makes_the_container_wait(stand: Stand, busybox_root: str) -> None:
    from compose.linux.mount import MNT_DETACH, mount, umount2

    identity = stand.make("sh", "-c", numbered(100_000))
    log = f"{stand.paths.container(identity)}/log"
    os.makedirs(log)
    mount("tmpfs", log, "tmpfs", 0, "size=400k")
    try:
        with open(f"{log}/filler", "wb") as filler:
            filler.write(b"x" * 200_000)
        stand.keeper.start(identity)
        wait_for(log, lambda: os.statvfs(log).f_bavail == 0)
        assert stand.state(identity)["status"] == "running"
        mount(None, log, None, 32, "size=40m")  # MS_REMOUNT
        assert stand.keeper.wait(identity)["exit_code"] == 7
        assert stand.lines(identity) == [b"line %d" % number for number in range(100_000)]
    finally:
        umount2(log, MNT_DETACH)
