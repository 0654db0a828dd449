"""Keeper, monitor and client without privileges: containers are plain processes here
(support/fake_isolation)."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from compose.errors import ContainerError, StateError
from compose.linux import sockets
from compose.runtime import protocol, records
from compose.runtime.client import Keeper, read_state
from compose.runtime.output.follower import Follower
from compose.runtime.spec import health_of
from tests.support import fake_isolation
from tests.support.containers import PROJECT, Stand, wait_for, wait_for_end
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compose.state.paths import Paths

LIGHT = r"""
import sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
from compose.runtime.supervision import isolation, keeper, once
from compose.runtime.supervision.monitor import monitor
print("\n".join(set(sys.modules) - before))
"""
FORBIDDEN = {
    *("asyncio", "anyio", "dataclasses", "enum", "inspect", "json", "logging", "pathlib", "pyroute2", "re"),
    *("selectors", "signal", "socket", "subprocess", "tempfile", "threading", "traceback", "typing"),
}
MOST_MODULES = 24
"""Those of the standard library; our own are not counted."""


@pytest.mark.parametrize("driver", ["syslog", "journald", "gelf", "fluentd"])
def test_log_drivers_load_little(driver: str) -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    more = f"import compose.runtime.output.shipping.shipper, compose.runtime.output.shipping.{driver}\nprint("
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LIGHT.replace("print(", more), root],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] != "compose"}
    assert not FORBIDDEN & loaded
    assert len(loaded) <= MOST_MODULES, sorted(loaded)


def test_helpers_load_little() -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LIGHT, root], capture_output=True, text=True, check=True
    )
    loaded = {name for name in done.stdout.split() if name.partition(".")[0] != "compose"}
    assert not FORBIDDEN & loaded
    assert len(loaded) <= MOST_MODULES, sorted(loaded)


def test_a_container_runs_and_its_records_can_be_read(stand: Stand) -> None:
    identity = stand.shell("echo out; echo err >&2; exit 3")
    state = stand.keeper.wait(identity)
    assert (state["status"], state["exit_code"]) == ("exited", 3)
    assert sorted(stand.lines(identity)) == [b"err", b"out"]
    assert read_state(stand.paths, identity) == state
    with open(f"{stand.paths.container(identity)}/state.json") as file:
        assert '\n "status": "exited",\n' in file.read()


def test_helpers_keep_nothing_open_of_who_started_them(paths: Paths) -> None:
    """As ``flock FILE pycompose up -d``: the lock goes with the command."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    stand = Stand(paths, "/", isolation="tests.support.fake_isolation")
    try:
        stand.run("sleep", "1000")
        os.close(writer)
        assert select.select([reader], [], [], 0)[0]  # nobody has the other end
    finally:
        os.close(reader)
        stand.close()


def test_the_keeper_holds_descriptors_by_name(stand: Stand) -> None:
    read, write = os.pipe()
    stand.keeper.put_all({f"name/{number}": [write] * 3 for number in range(200)})
    assert len(stand.keeper.names()) == 200
    os.close(write)
    stand.keeper.drop(*(f"name/{number}" for number in range(200)))
    assert os.read(read, 1) == b""  # the last copy was closed, in netd too
    assert stand.keeper.names() == []
    os.close(read)


def test_other_versions_and_unknown_requests_are_refused(stand: Stand) -> None:
    with pytest.raises(ContainerError, match="does not know the request 'dance'"):
        stand.keeper._ask("dance")
    wrong = (b'{"v":99,"op":"ping"}', b"{", b"[]", b'{"v":1,"op":"start"}', b'{"v":1,"op":"put","names":5}')
    for packet in wrong:
        connection = sockets.connect(stand.paths.project_run(PROJECT), protocol.KEEPER_SOCKET)
        sockets.send(connection, packet)
        with pytest.raises(ContainerError):
            protocol.check(protocol.receive(connection)[0])
        connection.close()
    assert stand.keeper_pid()


def test_a_monitor_refuses_what_it_does_not_know(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    with pytest.raises(ContainerError, match="does not know the request"):
        stand.keeper._tell(identity, "dance")
    with pytest.raises(ContainerError, match="no such signal"):
        stand.keeper.stop(identity, signal="SIGNOTHING")
    assert stand.state(identity)["status"] == "running"


def test_damaged_records_are_told_and_hurt_nobody_else(stand: Stand) -> None:
    good = stand.run("sleep", "1000")
    bad = stand.make("true")
    path = f"{stand.paths.container(bad)}/spec.json"
    for text in ("", "{", '{"version": 99}', '{"version": 1}'):
        with open(path, "w") as file:
            file.write(text)
        with pytest.raises(ContainerError):
            stand.keeper.start(bad)
    with open(f"{stand.paths.container(bad)}/state.json", "w") as file:
        file.write("half")
    with pytest.raises(StateError, match="damaged"):
        read_state(stand.paths, bad)
    assert stand.keeper.stop(good, grace=0)["exit_code"] == 137


def test_another_boot_means_that_nothing_runs(stand: Stand) -> None:
    identity = stand.make("true")
    pid = os.getpid()
    started = records.start_time(pid)
    lie = {"version": 1, "status": "running", "pid": pid, "start_time": started, "boot_id": "another"}
    records.write(f"{stand.paths.container(identity)}/state.json", lie)
    state = read_state(stand.paths, identity)
    assert (state["status"], state["exit_code"]) == ("exited", None)
    assert "restarted" in state["error"]


def test_a_foreign_process_is_never_signalled(stand: Stand) -> None:
    bystander = subprocess.Popen(["sleep", "1000"])
    identity = stand.make("true")
    lie = {"version": 1, "status": "running", "pid": bystander.pid, "start_time": 12345}
    records.write(f"{stand.paths.container(identity)}/state.json", {**lie, "boot_id": records.boot_id()})
    assert stand.keeper.stop(identity)["status"] == "exited"
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_killed_keeper_is_replaced_with_all_that_it_held(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    read, write = os.pipe()
    stand.keeper.put(f"listen/{identity}/x", [write])
    os.close(write)
    former = stand.keeper_pid()
    os.kill(former, signal.SIGKILL)
    wait_for_end([former])
    stand.keeper = stand.ensure()
    names = stand.keeper.names()
    while names != [f"listen/{identity}/x"]:  # the monitor may be about to register
        names = stand.keeper.names()
    assert stand.keeper_pid() != former
    stand.keeper.drop(*names)
    assert os.read(read, 1) == b""
    os.close(read)
    assert stand.keeper.stop(identity)["exit_code"] == 143


def test_netd_comes_later_when_there_is_no_descriptor_for_it(stand: Stand) -> None:
    """What it is to serve is held until then, and whoever brought that is told no error."""
    path, keeper = str(stand.paths.run), stand.keeper_pid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}/served")
        listener.listen()
        with only_free(keeper, 2):  # for the connection, and for what it brings
            stand.keeper.put("listen/x", [listener.fileno()])
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(MOMENT)
        client.connect(f"{path}/served")
        assert client.recv(100).decode().split()[1] == PROJECT
    os.unlink(f"{path}/served")
    stand.keeper.drop("listen/x")


@contextlib.contextmanager
def only_free(pid: int, count: int) -> Iterator[None]:
    """As long as it lasts a process can open so many descriptors, and no more."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = (number for number in itertools.count() if number not in used)
    limit = next(itertools.islice(free, count, None))
    former = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, former[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, former)


def test_following_ends_with_the_containers(stand: Stand) -> None:
    follower = Follower(stand.paths)
    identities = {key: stand.make("sh", "-c", f"echo {key} 1; echo {key} 2; printf {key}") for key in "ab"}
    for key, identity in identities.items():
        follower.add(key, identity)
    for identity in identities.values():
        stand.keeper.start(identity)
    found = []
    while not follower.finished():
        found += follower.wait()
    follower.close()
    for key in "ab":
        lines = [line.decode() for which, _time, _stream, line in found if which == key]
        assert lines == [f"{key} 1", f"{key} 2", key]
    with pytest.raises(StateError, match="does not exist"):
        Follower(stand.paths).add("c", "0" * 64)


@contextlib.contextmanager
def asleep(pid: int) -> Iterator[None]:
    """A process that the kernel gives no time, as on a machine that is busy with others."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def ask_and_die(stand: Stand, identity: str) -> None:
    """Send what a command sends that is killed before it hears the answer."""
    connection = sockets.connect(stand.paths.project_run(PROJECT), protocol.KEEPER_SOCKET)
    protocol.request(connection, "start", id=identity)
    connection.close()


def test_a_stop_waits_for_what_a_killed_command_still_starts(stand: Stand) -> None:
    identity = stand.make("sleep", "1000")
    stand.keeper_pid()
    for _attempt in range(5):
        with asleep(stand.keeper_pid()):
            ask_and_die(stand, identity)
        assert stand.keeper.stop(identity, grace=0)["status"] == "exited"
        stand.keeper.shutdown()  # would refuse while a container runs
        stand.ensure()


def test_a_start_waits_for_what_a_killed_command_still_starts(stand: Stand) -> None:
    identity = stand.make("sleep", "1000")
    with asleep(stand.keeper_pid()):
        ask_and_die(stand, identity)
    with pytest.raises(ContainerError, match="running already") as caught:
        stand.keeper.start(identity)
    assert caught.value.reason == protocol.RUNNING
    assert stand.state(identity)["status"] == "running"


def test_nothing_is_started_without_the_sockets_that_it_needs(stand: Stand) -> None:
    identity = stand.make("sleep", "1000")
    with pytest.raises(ContainerError) as caught:
        stand.keeper.start(identity, needs=[f"dns/{identity}"])
    assert caught.value.reason == protocol.LOST
    with open("/dev/null", "rb") as file:
        stand.keeper.put(f"dns/{identity}", [file.fileno()])
    assert stand.keeper.start(identity, needs=[f"dns/{identity}"]) > 0


def test_a_keeper_that_was_killed_is_replaced_for_whoever_asks(stand: Stand) -> None:
    former = stand.keeper_pid()
    os.kill(former, signal.SIGKILL)
    wait_for_end([former])
    assert stand.keeper.names() == []
    assert stand.keeper_pid() != former


def test_nobody_else_may_ask(stand: Stand) -> None:
    if os.geteuid():
        return
    child = os.fork()
    if child == 0:
        try:
            os.chmod(stand.paths.run, 0o755)
            for directory in ("projects", f"projects/{PROJECT}"):
                os.chmod(f"{stand.paths.run}/{directory}", 0o755)
            os.chmod(f"{stand.paths.project_run(PROJECT)}/{protocol.KEEPER_SOCKET}", 0o666)
            os.setuid(65534)
            stand.keeper.names()
        except ContainerError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_without_a_keeper_there_is_a_hint(paths: Paths) -> None:
    assert Keeper.find(paths, "nothing") is None
    with pytest.raises(ContainerError, match="does not run") as caught:
        Keeper(paths, "nothing").names()
    assert caught.value.hint
    Keeper(paths, "nothing").shutdown()


def test_there_is_never_a_second_monitor(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A keeper does not know whom a former one has told to start a container, until that is done."""
    stand = Stand(paths, "/", isolation="tests.support.slow_isolation")
    identity = stand.make("sleep", "1000")
    directory = stand.paths.container(identity)
    ask_and_die(stand, identity)
    wait_for(directory, lambda: os.path.exists(f"{directory}/launching"))
    former = stand.keeper_pid()
    os.kill(former, signal.SIGKILL)
    wait_for_end([former])
    stand.ensure()
    connection = sockets.connect(stand.paths.project_run(PROJECT), protocol.KEEPER_SOCKET)
    protocol.request(connection, "start", id=identity)
    connection.settimeout(MOMENT)
    answer = protocol.receive(connection)[0]
    connection.close()
    assert answer is not None and answer["reason"] == protocol.RUNNING
    with open(f"{directory}/go", "w"), pytest.raises(ContainerError, match="running already"):
        stand.keeper.start(identity)
    state = stand.until(identity, lambda state: state["status"] == "running")
    assert fake_isolation.Cgroup(identity).pids() == [state["pid"]]
    assert stand.keeper.stop(identity, grace=0)["status"] == "exited"
    stand.close()


def test_who_is_stopped_on_his_way_into_a_container_holds_nobody_up(paths: Paths, tmp_path: Path) -> None:
    """A probe is killed after its timeout; whatever else is asked of the monitor is done meanwhile."""
    stuck = Stand(paths, "/", isolation="tests.support.stuck_isolation")
    try:
        probe = {"test": ["CMD", str(tmp_path / "probed")], "timeout": 0.1, "interval": 0.1, "retries": 2}
        identity = stuck.run("sleep", "1000", healthcheck=probe)
        health = stuck.until(identity, lambda state: health_of(state) == "unhealthy")["health"]
        assert health is not None
        assert "exceeded its timeout of 0.1 s" in health["log"][-1]["output"]
        wait_for(str(tmp_path), lambda: (tmp_path / "probed").exists())
        (tmp_path / "probed").unlink()
        keeper = stuck.ensure()
        connection = keeper.connection(identity)
        assert connection is not None
        process = {"args": [str(tmp_path / "probed")]}
        with open("/dev/null") as null:
            protocol.request(connection, "exec", [null.fileno()] * 3, process=process, tty=False)
        wait_for(str(tmp_path), lambda: (tmp_path / "probed").exists())
        assert keeper.restart(identity, grace=0)
        connection.close()
        state = keeper.stop(identity, grace=0)
        assert (state["status"], state["exit_code"]) == ("exited", 137)
    finally:
        stuck.close()
