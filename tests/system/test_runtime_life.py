"""The life of a container with its keeper and monitor: start, output, exec, health, restart, stop."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from compose.errors import ContainerError
from compose.runtime import records
from compose.runtime.client import Keeper, run_once
from compose.runtime.container.oci import default_oci
from compose.runtime.output.follower import Follower
from tests.support.containers import PROJECT, Stand, wait_for
from tests.support.network_lab import until
from tests.support.patience import MOMENT
from tests.support.tracing import WALL, seize

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.runtime.spec import ContainerState, Process
    from compose.state.paths import Paths


def process(*args: str) -> Process:
    return default_oci(args)["process"]


def read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return b"".join(parts)


def read_until(descriptor: int, text: bytes) -> bytes:
    found = b""
    while text not in found:
        ready, _, _ = select.select([descriptor], [], [], MOMENT)
        assert ready, found
        found += os.read(descriptor, 65536)
    return found


# beginning and end --------------------------------------------------------------------------------


def test_helpers_run_on_bytecode_without_docstrings(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    for pid in (stand.keeper_pid(), stand.state(identity)["monitor_pid"]):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            assert b"-OO" in file.read().split(b"\0")


def test_a_container_runs_writes_and_ends(stand: Stand) -> None:
    identity = stand.shell("echo out; echo err >&2; exit 7")
    state = stand.keeper.wait(identity)
    assert (state["status"], state["exit_code"], state["pid"]) == ("exited", 7, 0)
    assert not state["oom_killed"]
    assert state["started_at"] <= state["finished_at"]
    assert (stand.lines(identity, 0), stand.lines(identity, 1)) == ([b"out"], [b"err"])
    assert not os.path.exists(stand.paths.container_run(identity))


def test_a_container_can_be_started_again_and_its_log_goes_on(stand: Stand) -> None:
    identity = stand.shell("echo run")
    for _run in range(3):
        assert stand.keeper.wait(identity)["exit_code"] == 0
        stand.keeper.start(identity)
    stand.keeper.wait(identity)
    assert stand.lines(identity) == [b"run"] * 4


def test_a_failing_start_names_the_step_and_leaves_nothing(stand: Stand) -> None:
    identity = stand.make("no-such-program")
    with pytest.raises(ContainerError, match="exec no-such-program"):
        stand.keeper.start(identity)
    state = stand.state(identity)
    assert (state["status"], state["exit_code"]) == ("created", 127)
    assert "no-such-program" in state["error"]
    with pytest.raises(ContainerError, match="is missing"):
        stand.keeper.start("0" * 64)


@pytest.mark.parametrize("program", ["true", "no-such-program"])
def test_the_ports_of_a_container_that_has_ended_are_free(stand: Stand, program: str) -> None:
    identity = stand.make(program)
    name = f"listen/{identity}/tcp/127.0.0.1/1/10.0.0.1/1"
    for _run in range(2):
        with socket.create_server(("127.0.0.1", 0)) as server:
            stand.keeper.put(name, [server.fileno()])
        with contextlib.suppress(ContainerError):
            stand.keeper.start(identity)
        stand.keeper.wait(identity)
        assert stand.keeper.names() == []


def test_a_limit_that_the_kernel_refuses_leaves_nothing(stand: Stand) -> None:
    spec = stand.spec("true")
    spec["oci"]["linux"]["resources"] = {"cpu": {"quota": 1, "period": 1}}
    records.write_spec(stand.paths, spec)
    with pytest.raises(ContainerError, match="cpu"):
        stand.keeper.start(spec["id"])
    assert stand.state(spec["id"])["status"] == "created"


def test_a_running_container_is_not_started_twice(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    with pytest.raises(ContainerError, match="running already"):
        stand.keeper.start(identity)


def test_process_1_has_three_descriptors_and_helpers_none_of_ours(stand: Stand) -> None:
    read, write = os.pipe()  # stands for whatever the caller has open
    os.set_inheritable(write, True)
    identity = stand.shell("ls -l /proc/self/fd /proc/1/fd; sleep 1000")
    pid = stand.state(identity)["pid"]
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    os.close(write)
    assert read_all(read) == b""  # nobody else holds it
    os.close(read)
    for helper in (stand.keeper_pid(), stand.state(identity)["monitor_pid"]):
        assert os.getsid(helper) == stand.keeper_pid()
        assert {os.readlink(f"/proc/{helper}/fd/{number}") for number in range(3)} == {"/dev/null"}


def test_nothing_gathers_in_the_keeper(stand: Stand) -> None:
    def held() -> int:
        return len(os.listdir(f"/proc/{keeper}/fd"))

    keeper = stand.keeper_pid()
    before = held()
    for _run in range(6):
        identity = stand.shell("echo hello")
        stand.keeper.wait(identity)
    stand.keeper.names()
    until(lambda: held() <= before)  # the end of a connection is not waited for


def test_output_of_any_size_and_kind_comes_through(stand: Stand) -> None:
    identity = stand.shell("dd if=/dev/urandom of=/data bs=64k count=100 2>/dev/null; cat /data")
    stand.keeper.wait(identity)
    with open(f"{stand.paths.container(identity)}/upper/data", "rb") as data:
        with open(f"{stand.paths.container(identity)}/log/000001.raw", "rb") as log:
            assert log.read() == data.read()


def test_output_is_rotated_while_somebody_follows(stand: Stand) -> None:
    logging = {"driver": "json-file", "max_size": 20_000, "max_files": 2}
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"
    identity = stand.make("sh", "-c", script, logging=logging)
    follower = Follower(stand.paths)
    follower.add("it", identity)
    stand.keeper.start(identity)
    found = []
    while not follower.finished():
        found += [line for _key, _time, _stream, line in follower.wait()]
    follower.close()
    numbers = [int(line.split()[1]) for line in found]
    assert numbers == sorted(set(numbers))  # none twice; some may have gone before they were read
    assert numbers[-1] == 19_999
    assert len(os.listdir(f"{stand.paths.container(identity)}/log")) == 4


def test_dev_stdout_can_be_opened_again_by_another_user(stand: Stand) -> None:
    identity = stand.shell("su app -s /bin/sh -c 'echo again > /dev/stdout; echo bad > /dev/stderr'")
    assert stand.keeper.wait(identity)["exit_code"] == 0
    assert (stand.lines(identity, 0), stand.lines(identity, 1)) == ([b"again"], [b"bad"])


# terminals and standard input ---------------------------------------------------------------------


def test_standard_input_stays_open_for_those_who_attach(stand: Stand) -> None:
    identity = stand.run("cat", stdin_open=True)
    writer = stand.writer(identity)
    assert writer is not None
    os.write(writer, b"hello\n")
    os.close(writer)
    stand.until_written(identity, b"hello")
    assert stand.state(identity)["status"] == "running"


def test_without_stdin_open_there_is_nothing_to_write_to(stand: Stand) -> None:
    identity = stand.shell("cat; sleep 1000")
    assert stand.writer(identity) is None


def test_a_container_with_a_terminal_is_logged(stand: Stand) -> None:
    identity = stand.run("sh", "-c", "tty; read line; echo got $line; exit 4", terminal=True, stdin_open=True)
    stand.until_written(identity, b"/dev/pts/0\r")
    master = stand.writer(identity)
    assert master is not None
    os.write(master, b"words\n")
    os.close(master)
    assert stand.keeper.wait(identity)["exit_code"] == 4
    assert stand.lines(identity) == [b"/dev/pts/0\r", b"words\r", b"got words\r"]


def test_much_output_of_a_terminal_is_logged_whole(stand: Stand) -> None:
    identity = stand.run("seq", "100000", terminal=True)
    stand.keeper.wait(identity)
    assert stand.lines(identity) == [b"%d\r" % number for number in range(1, 100_001)]


# exec ---------------------------------------------------------------------------------------------


def test_exec_with_the_callers_descriptors(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    out_read, out_write = os.pipe()
    in_read, in_write = os.pipe()
    what = process("sh", "-c", "cat; echo done; exit 3")
    session = stand.keeper.exec(identity, what, [in_read, out_write, out_write])
    os.close(out_write)
    os.close(in_read)
    os.write(in_write, b"through\n")
    os.close(in_write)
    assert read_all(out_read) == b"through\ndone\n"
    assert session.wait() == 3
    session.close()
    os.close(out_read)


def test_exec_with_a_terminal(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    session = stand.keeper.exec(identity, process("sh"), tty=True)
    assert session.terminal is not None
    session.resize(33, 77)
    os.write(session.terminal, b"stty size; exit 9\n")
    assert b"33 77" in read_until(session.terminal, b"77\r\n")
    assert session.wait() == 9
    session.close()


def test_exec_fails_with_the_reason(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    null = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(ContainerError, match="exec nothing"):
        stand.keeper.exec(identity, process("nothing"), [null] * 3)
    stand.keeper.pause(identity)
    with pytest.raises(ContainerError, match="paused"):
        stand.keeper.exec(identity, process("true"), [null] * 3)
    stand.keeper.unpause(identity)
    stand.keeper.stop(identity)
    with pytest.raises(ContainerError, match="not running"):
        stand.keeper.exec(identity, process("true"), [null] * 3)
    os.close(null)


def test_exec_can_be_signalled_and_ends_with_its_container(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    null = os.open("/dev/null", os.O_RDWR)
    first = stand.keeper.exec(identity, process("sleep", "1000"), [null] * 3)
    second = stand.keeper.exec(identity, process("sleep", "1000"), [null] * 3)
    os.close(null)
    first.signal(15)
    assert first.wait() == 143
    stand.keeper.stop(identity, grace=0)
    assert second.wait() == 137
    first.close()
    second.close()


# health and restart -------------------------------------------------------------------------------


def check(test: str, **changes: float) -> dict[str, object]:
    found = {"test": ["CMD-SHELL", test], "interval": 30.0, "timeout": 5.0, "retries": 2, "start_period": 0.0}
    return {**found, "start_interval": 5.0, **changes}


def has_health(status: str) -> Callable[[ContainerState], bool]:
    def matches(state: ContainerState) -> bool:
        health = state.get("health")
        return health is not None and health["status"] == status

    return matches


def test_health_is_noticed_long_before_the_first_interval(stand: Stand) -> None:
    healthcheck = check("cat /ready && echo fine", interval=3000.0, start_interval=3000.0)
    identity = stand.shell(
        "until [ -e /go ]; do sleep 0.01; done; : > /ready; sleep 1000", healthcheck=healthcheck
    )
    state = stand.until(identity, lambda state: bool(state["health"] and state["health"]["log"]))
    with open(f"/proc/{state['pid']}/root/go", "w"):
        state = stand.until(identity, has_health("healthy"))
    assert state["health"] is not None
    log = state["health"]["log"]
    assert log[-1]["output"] == "fine\n"
    assert log[0]["exit_code"] == 1


def test_a_probe_that_hangs_is_killed_and_counts(stand: Stand) -> None:
    def said(state: ContainerState) -> bool:
        """On a busy machine a probe may be killed before it has said anything."""
        text = "timeout of 0.2 s: working"
        return bool(state["health"] and text in state["health"]["log"][-1]["output"])

    healthcheck = check("echo working; sleep 1000", interval=0.1, timeout=0.2)
    identity = stand.run("sleep", "1000", healthcheck=healthcheck)
    stand.until(identity, has_health("unhealthy"))
    state = stand.until(identity, said)
    assert state["health"] is not None
    assert state["health"]["log"][-1]["exit_code"] == -1


def test_what_a_probe_has_started_ends_with_it(stand: Stand) -> None:
    healthcheck = check("sleep 777 & sleep 888", interval=0.1, timeout=0.3)
    identity = stand.run("sleep", "1000", healthcheck=healthcheck)
    stand.until(identity, has_health("unhealthy"))

    def commands() -> list[bytes]:
        """What runs in it, while no probe begins or ends."""
        found = []
        stand.keeper.pause(identity)
        for pid in companions(stand.state(identity)["pid"]):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
                found.append(file.read())
        stand.keeper.unpause(identity)
        return found

    assert b"sleep\x001000\x00" in commands()
    until(lambda: sum(b"777" in line for line in commands()) <= 1)  # that of a probe which is under way


def test_a_probe_is_who_the_files_say_now(stand: Stand) -> None:
    healthcheck = check("id -u", interval=0.05)
    spec = stand.spec("sh", "-c", "sleep 1000", healthcheck=healthcheck)
    spec["oci"]["process"]["user"] = {"username": "app"}
    records.write_spec(stand.paths, spec)
    stand.keeper.start(spec["id"])
    stand.until(spec["id"], has_output("1000\n"))
    rename: Any = {**process("sed", "-i", "s/:1000:/:1234:/", "/etc/passwd"), "user": {"uid": 0}}
    null = os.open("/dev/null", os.O_RDWR)
    session = stand.keeper.exec(spec["id"], rename, [null] * 3)
    assert session.wait() == 0
    session.close()
    os.close(null)
    stand.until(spec["id"], has_output("1234\n"))


def has_output(text: str) -> Callable[[ContainerState], bool]:
    def matches(state: ContainerState) -> bool:
        health = state.get("health")
        return bool(health and health["log"] and health["log"][-1]["output"] == text)

    return matches


def test_probes_that_say_the_same_are_not_written_down_each_time(stand: Stand) -> None:
    identity = stand.run("sleep", "1000", healthcheck=check("echo x >> /runs", interval=0.01))
    stand.until(identity, has_health("healthy"))
    before = os.stat(f"{stand.paths.container(identity)}/state.json").st_ino
    runs = f"{stand.paths.container(identity)}/upper"
    wait_for(runs, lambda: os.path.getsize(f"{runs}/runs") > 20)
    assert os.stat(f"{stand.paths.container(identity)}/state.json").st_ino == before


def test_a_probe_may_write_more_than_is_kept(stand: Stand) -> None:
    identity = stand.run("sleep", "1000", healthcheck=check("yes | head -c 500000"))
    state = stand.until(identity, has_health("healthy"))
    assert state["health"] is not None
    assert len(state["health"]["log"][-1]["output"]) == 4096


def test_a_failing_container_is_restarted_as_often_as_allowed(stand: Stand) -> None:
    restart = {"name": "on-failure", "max_attempts": 2}
    identity = stand.shell("echo try; exit 5", restart=restart)
    state = stand.keeper.wait(identity)
    assert (state["status"], state["exit_code"], state["restart_count"]) == ("exited", 5, 2)
    assert stand.lines(identity) == [b"try"] * 3


def test_a_restart_after_a_good_run_is_no_attempt(stand: Stand) -> None:
    restart = {"name": "always", "max_attempts": 1, "window": 1.0, "delay": 0.0}
    identity = stand.shell("echo x >> /runs; test $(wc -l < /runs) -gt 2 || sleep 1.1", restart=restart)
    state = stand.keeper.wait(identity)
    assert (state["exit_code"], state["restart_count"], state["restart_attempts"]) == (0, 2, 1)


def test_an_unhealthy_container_is_restarted_when_that_is_asked_for(stand: Stand) -> None:
    healthcheck = check("test ! -e /ill", interval=0.05, retries=2)
    script = "echo run; trap 'rm /ill; exit 0' TERM; while :; do sleep 0.05; done"
    identity = stand.shell(script, healthcheck=healthcheck, restart_on_unhealthy=True)
    stand.until(identity, has_health("healthy"))
    null = os.open("/dev/null", os.O_RDWR)
    session = stand.keeper.exec(identity, process("touch", "/ill"), [null] * 3)
    session.close()
    os.close(null)
    state = stand.until(
        identity, lambda state: state.get("restart_count") == 1 and state["status"] == "running"
    )
    assert (state["restart_reason"], state["stopped_by_user"]) == ("unhealthy", False)
    stand.until(identity, has_health("healthy"))
    stand.until_lines(identity, 2)
    assert stand.lines(identity) == [b"run", b"run"]


def test_without_asking_an_unhealthy_container_runs_on(stand: Stand) -> None:
    identity = stand.run("sleep", "1000", healthcheck=check("false", interval=0.05))
    stand.until(identity, lambda state: bool(state["health"] and state["health"]["failing_streak"] > 4))
    assert (stand.state(identity)["status"], stand.state(identity)["restart_count"]) == ("running", 0)


def test_who_stops_a_container_stops_its_restarts(stand: Stand) -> None:
    identity = stand.shell("exit 1", restart={"name": "always", "max_attempts": 0})
    stand.until(identity, lambda state: state["status"] == "restarting" and state["restart_count"] >= 2)
    state = stand.keeper.stop(identity)
    assert (state["status"], state["stopped_by_user"], state["exit_code"]) == ("exited", True, 1)


def test_nothing_is_restarted_while_the_project_stops(stand: Stand) -> None:
    identity = stand.run("sleep", "1000", restart={"name": "always", "max_attempts": 0})
    stand.keeper.set_stopping(True)
    stand.keeper.kill(identity, "SIGSEGV")
    os.kill(stand.state(identity)["pid"], 9)
    state = stand.keeper.wait(identity)
    assert (state["status"], state["restart_count"]) == ("exited", 0)


# stopping -----------------------------------------------------------------------------------------


def test_a_process_that_cannot_hear_is_killed_at_once(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    state = stand.keeper.stop(identity, grace=3000.0)
    assert (state["exit_code"], state["stopped_by_user"]) == (137, True)


def test_a_process_that_hears_may_end_by_itself(stand: Stand) -> None:
    script = "trap 'echo bye; exit 0' USR1; echo ready; while :; do sleep 0.05; done"
    identity = stand.shell(script, stop_signal="USR1")
    stand.until_written(identity, b"ready")
    assert stand.keeper.stop(identity)["exit_code"] == 0
    assert stand.lines(identity) == [b"ready", b"bye"]


def companions(pid: int) -> list[int]:
    """Every process of a pid namespace, as seen from here."""
    namespace = os.stat(f"/proc/{pid}/ns/pid").st_ino
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.stat(f"/proc/{entry}/ns/pid").st_ino == namespace:
                found.append(int(entry))
        except OSError:  # ended meanwhile, or not ours to look at
            continue
    return found


def test_a_whole_tree_is_gone_after_the_grace_period(stand: Stand) -> None:
    daemon = "setsid sh -c 'setsid sleep 99 & echo up; sleep 99' &"
    script = f"trap 'echo no' TERM; for i in 1 2 3; do {daemon} done; while :; do sleep 0.05; done"
    identity = stand.shell(script)
    wait_for(f"{stand.paths.container(identity)}/log", lambda: stand.lines(identity).count(b"up") == 3)
    pids = companions(stand.state(identity)["pid"])
    assert len(pids) >= 7
    state = stand.keeper.stop(identity, grace=1.0)
    assert state["exit_code"] == 137
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    assert b"no" in stand.lines(identity)


def test_a_paused_container_can_be_stopped(stand: Stand) -> None:
    identity = stand.shell("trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done")
    stand.until_written(identity, b"ready")
    stand.keeper.pause(identity)
    assert stand.state(identity)["status"] == "paused"
    assert stand.keeper.stop(identity)["exit_code"] == 0


def test_stopping_what_does_not_run_is_no_error(stand: Stand) -> None:
    identity = stand.shell("exit 2")
    stand.keeper.wait(identity)
    assert stand.keeper.stop(identity)["exit_code"] == 2
    with pytest.raises(ContainerError, match="not running"):
        stand.keeper.kill(identity)


def test_an_out_of_memory_kill_is_told(stand: Stand) -> None:
    spec = stand.spec("sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1; echo dd $?; exit 3")
    spec["oci"]["linux"]["resources"] = {"memory": {"limit": 24 << 20, "swap": 24 << 20}}
    records.write_spec(stand.paths, spec)
    stand.keeper.start(spec["id"])
    state = stand.keeper.wait(spec["id"])
    assert (state["oom_killed"], state["exit_code"]) == (True, 3)
    assert stand.lines(spec["id"], 0) == [b"dd 137"]


def test_an_out_of_memory_kill_is_told_while_the_container_runs_on(stand: Stand) -> None:
    script = "while read line; do dd if=/dev/zero of=/dev/null bs=100M count=1; echo killed; done"
    spec = stand.spec("sh", "-c", f"mkfifo /t; sleep 1000 >/t & {script} </t")
    spec["oci"]["linux"]["resources"] = {"memory": {"limit": 24 << 20, "swap": 24 << 20}}
    records.write_spec(stand.paths, spec)
    identity = spec["id"]
    pid = stand.keeper.start(identity)
    monitor = stand.state(identity)["monitor_pid"]
    assert not stand.state(identity)["oom_killed"]
    os.kill(monitor, 9)  # its successor watches as well
    stand.until(identity, lambda state: state["monitor_pid"] != monitor)
    with open(f"/proc/{pid}/root/t", "w") as fifo:
        fifo.write("go\n")
    state = stand.until(identity, lambda state: state["oom_killed"])
    assert (state["status"], state["pid"]) == ("running", pid)
    assert stand.keeper.stop(identity, grace=0)["oom_killed"]


# the project --------------------------------------------------------------------------------------


def test_two_commands_at_once_get_one_keeper(nothing_left: None, paths: Paths, busybox_root: str) -> None:
    stands: list[Stand] = []

    def start() -> None:
        stands.append(Stand(paths, busybox_root))

    threads = [threading.Thread(target=start) for _each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({stand.keeper_pid() for stand in stands}) == 1
    stands[0].close()


def test_shutdown_refuses_while_containers_run(stand: Stand) -> None:
    identity = stand.run("sleep", "1000")
    with pytest.raises(ContainerError, match="still run"):
        stand.keeper.shutdown()
    stand.keeper.stop(identity)
    pid = stand.keeper_pid()
    stand.keeper.shutdown()
    assert not os.path.exists(f"/proc/{pid}")
    assert Keeper.find(stand.paths, PROJECT) is None
    assert not os.path.exists(stand.paths.project_run(PROJECT))


# builds -------------------------------------------------------------------------------------------


def test_run_once_runs_on_the_callers_descriptors(stand: Stand) -> None:
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    spec = stand.spec("sh", "-c", "echo built; exit 6")
    assert run_once(stand.paths, spec, null, write, write) == 6
    with pytest.raises(ContainerError, match="exec nothing"):
        run_once(stand.paths, stand.spec("nothing"), null, write, write)
    os.close(write)
    assert read_all(read) == b"built\n"
    os.close(read)
    os.close(null)


def test_run_once_ends_with_its_caller(stand: Stand) -> None:
    spec = stand.spec("sh", "-c", "trap '' TERM INT; setsid sleep 1000 & echo $$; sleep 1000")
    read, write = os.pipe()
    caller = os.fork()
    if caller == 0:
        try:
            null = os.open("/dev/null", os.O_RDONLY)
            run_once(stand.paths, spec, null, write, write)
        finally:
            os._exit(1)
    os.close(write)
    read_until(read, b"1\n")
    os.kill(caller, 9)
    os.waitpid(caller, 0)
    assert read_all(read) == b""  # the last process that held it has ended
    os.close(read)


def test_a_build_step_ends_with_the_process_that_runs_it(stand: Stand) -> None:
    spec = stand.spec("sh", "-c", "echo ready; sleep 1000")
    read, write = os.pipe()
    failures: list[ContainerError] = []

    def step() -> None:
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            run_once(stand.paths, spec, null, write, write)
        except ContainerError as error:
            failures.append(error)
        os.close(null)

    before = set(children())
    thread = threading.Thread(target=step)
    thread.start()
    read_until(read, b"ready\n")
    (helper,) = set(children()) - before
    os.kill(helper, 9)
    thread.join()
    os.close(write)
    assert read_all(read) == b""
    assert "died" in str(failures[0])
    os.close(read)


def children() -> list[int]:
    """The processes that this thread's process has started."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        found = [int(number) for number in file.read().split()]
    for thread in os.listdir("/proc/self/task"):
        if int(thread) != os.getpid():
            with open(f"/proc/self/task/{thread}/children") as file:
                found += [int(number) for number in file.read().split()]
    return found


def test_who_is_traced_when_it_ends_is_waited_for_after_that(stand: Stand) -> None:
    """Its tracer, which may be a process of the container, gets it first; nothing can end without it."""
    identity = stand.run("sleep", "1000")
    null = os.open("/dev/null", os.O_RDWR)
    session = stand.keeper.exec(identity, process("sleep", "1000"), [null] * 3)
    os.close(null)
    seize(session.pid)
    os.kill(session.pid, signal.SIGKILL)
    assert session.wait() == 137
    session.close()
    assert os.waitpid(session.pid, WALL)[1] == signal.SIGKILL
    assert stand.keeper.stop(identity, grace=0)["exit_code"] == 137
