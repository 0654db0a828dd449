"""All helpers of a project are killed at once, and its containers live on: the next command, whichever it is,
brings names, published ports and logs back."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest

from compose.linux.namespaces import CLONE_NEWNET, setns
from compose.network.netd import names
from compose.runtime import records
from compose.runtime.client import Keeper
from compose.state.files import read_json
from tests.support.command import Lines
from tests.support.containers import wait_for_end
from tests.support.network_lab import in_thread, until
from tests.support.patience import MOMENT
from tests.support.ports import free_port

if TYPE_CHECKING:
    from compose.runtime.spec import ContainerState
    from tests.support.command import Stack

STACK = """
services:
  web:
    image: IMAGE
    command: [sh, -c, "echo begun; exec httpd -f -p 80 -h /bin"]
    ports: ["127.0.0.1:{tcp}:80", "127.0.0.1:{udp}:7/udp"]
  db: {{image: IMAGE, command: [sleep, infinity]}}
"""


class Ports(NamedTuple):
    """What `web` publishes."""

    tcp: int
    udp: int


@pytest.fixture
def ports(stack: Stack) -> Ports:
    """A stack that is up and answers."""
    found = Ports(free_port(), free_port(socket.SOCK_DGRAM))
    stack.write(STACK.format(tcp=found.tcp, udp=found.udp))
    stack.up()
    until(lambda: answers(found.tcp), "web does not answer")
    return found


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether the web server in the container answers through a published port."""
    try:
        with socket.create_connection((host, port), timeout=MOMENT) as client:
            client.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
            return b"404" in client.recv(100)
    except OSError:
        return False


def inside(stack: Stack, service: str) -> socket.socket:
    """A datagram socket in the network namespace of a container."""
    (identity,) = (one for one, name in identities(stack).items() if name == f"{stack.name}-{service}-1")

    def make() -> socket.socket:
        descriptor = os.open(stack.paths.container_namespace(identity), os.O_RDONLY | os.O_CLOEXEC)
        setns(descriptor, CLONE_NEWNET)
        os.close(descriptor)
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    made = in_thread(make)
    made.settimeout(0.2)
    return made


def arrives(stack: Stack, port: int) -> bool:
    """Whether a datagram that is sent to a published port comes to `web`, and the answer back."""
    with inside(stack, "web") as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        server.bind(("0.0.0.0", 7))
        client.connect(("127.0.0.1", port))
        client.settimeout(0.2)
        with contextlib.suppress(OSError):
            client.send(b"question")
            message, address = server.recvfrom(100)
            server.sendto(b"answer to " + message, address)
            return client.recv(100) == b"answer to question"
    return False


def resolves(stack: Stack, service: str, name: str) -> bool:
    """Whether the name service answers in a container, asked without a command that would mend it."""
    with inside(stack, service) as client:
        with contextlib.suppress(OSError):
            client.sendto(names.query(name, names.A, identity=99), ("127.0.0.11", 53))
            return client.recv(1000)[3] & 15 == names.NO_ERROR
    return False


def identities(stack: Stack) -> dict[str, str]:
    """The names of the project's containers by id, read without a command that would mend something."""
    found = {one: records.read_spec(stack.paths, one) for one in os.listdir(stack.paths.containers)}
    return {one: spec["name"] for one, spec in found.items() if spec["project"] == stack.name}


def states(stack: Stack) -> dict[str, ContainerState]:
    """state.json of each container, by container name."""
    return {name: records.recorded_state(stack.paths, one) for one, name in identities(stack).items()}


def kill_all(*pids: int) -> None:
    """`kill -9` before any of them can act on the death of another; they are dead when this returns."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(records.process_fields(pid)[:1] in (["T"], ["Z"], []) for pid in pids), "not stopped")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for_end(pids)


def helpers(stack: Stack) -> dict[str, int]:
    """Keeper, netd, and the monitor of each container by its name."""
    keeper = int(read_json(f"{stack.paths.project_run(stack.name)}/keeper.json")["pid"])
    found = {"keeper": keeper}
    with open(f"/proc/{keeper}/task/{keeper}/children") as file:
        for pid in map(int, file.read().split()):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as comm:
                if comm.read().strip() == "pc-netd":
                    found["netd"] = pid
    for name, one in states(stack).items():
        if records.lives(one.get("monitor_pid", 0), one.get("monitor_start_time", 0)):
            found[name] = one["monitor_pid"]
    return found


def kill_helpers(stack: Stack) -> None:
    """As a kernel does that is out of memory: the containers live on, and nobody watches them."""
    there = helpers(stack)
    assert {"keeper", "netd", f"{stack.name}-web-1", f"{stack.name}-db-1"} == set(there)
    kill_all(*there.values())


def everything_works(stack: Stack, ports: Ports, before: dict[str, ContainerState]) -> None:
    """The same processes run, reachable as before, watched by others."""
    until(lambda: answers(ports.tcp), "the TCP port is dead")
    until(lambda: arrives(stack, ports.udp), "the UDP port is dead")
    for service, other in (("web", "db"), ("db", "web")):
        until(functools.partial(resolves, stack, service, other), f"{service} does not find {other}")
    until(lambda: not any("lost" in one for one in states(stack).values()), "something is still lost")
    after = states(stack)
    for name, former in before.items():
        assert (after[name]["pid"], after[name]["start_time"]) == (former["pid"], former["start_time"])


@pytest.mark.parametrize(
    "command",
    [
        "ps",
        "logs",
        "up -d",
        "top",
        "port web 80",
        "events --until 0s",
        "exec -T db true",
        "start",
        "stats --no-stream",
    ],
    ids=lambda command: command.split()[0],
)
def test_the_next_command_brings_everything_back(stack: Stack, ports: Ports, command: str) -> None:
    before = states(stack)
    kill_helpers(stack)
    assert not answers(ports.tcp)
    done = stack.try_run(*command.split())
    assert done.code == 0, done
    assert "lost" not in done.err and "Recreate" not in done.err
    everything_works(stack, ports, before)
    assert {name: one["Ports"] for name, one in stack.ps().items()}[f"{stack.name}-web-1"] == (
        f"127.0.0.1:{ports.udp}->7/udp, 127.0.0.1:{ports.tcp}->80/tcp"
    )


def test_whoever_follows_a_log_brings_everything_back(stack: Stack, ports: Ports) -> None:
    before = states(stack)
    with stack.start("logs", "-f") as following:
        Lines(following.stdout).expect("begun")
        kill_helpers(stack)
        everything_works(stack, ports, before)
        following.kill()


@pytest.mark.parametrize(
    "alive", [(), ("db",), ("web",), ("web", "db")], ids=["none", "another", "its own", "all"]
)
def test_who_is_left_brings_everything_back(stack: Stack, ports: Ports, alive: tuple[str, ...]) -> None:
    """No command is needed where one monitor lives; where none does, `wait` needs them as well."""
    before = states(stack)
    there = helpers(stack)
    for service in alive:
        del there[f"{stack.name}-{service}-1"]
    kill_all(*there.values())
    with contextlib.ExitStack() as ending:
        if not alive:
            waiting = ending.enter_context(stack.start("wait", "db"))
            ending.callback(waiting.kill)
        everything_works(stack, ports, before)


def test_a_port_that_another_program_has_taken_is_told_and_comes_back(stack: Stack, ports: Ports) -> None:
    before = states(stack)
    kill_helpers(stack)
    with socket.create_server(("127.0.0.1", ports.tcp)):
        place = f"127.0.0.1:{ports.tcp}/tcp"
        until(lambda: f"port {place} is closed" in stack.try_run("ps").err, "nothing is said of the port")
        done = stack.try_run("ps", "--format", "{{.Ports}}")
        assert sorted(done.out.split()) == [f"127.0.0.1:{ports.udp}->7/udp"]
        assert f"(process {os.getpid()}) has it now" in done.err
        assert "no port 80/tcp" in stack.fails("port", "web", "80")
        done = stack.try_run("up", "-d")
        assert (
            done.code == 0 and f"publish port {place}" in done.err and f"(process {os.getpid()})" in done.err
        )
    everything_works(stack, ports, before)
    assert "closed" not in stack.try_run("ps").err
    assert stack.run("port", "web", "80") == f"127.0.0.1:{ports.tcp}\n"


def test_name_sockets_are_opened_elsewhere_when_their_place_is_taken(stack: Stack, ports: Ports) -> None:
    before = states(stack)
    (web,) = (one for one, name in identities(stack).items() if name == f"{stack.name}-web-1")
    ((*_kind, address, port), _tcp) = read_json(f"{stack.paths.container(web)}/sockets.json")["sockets"][
        f"dns/{web}"
    ]
    kill_helpers(stack)
    with inside(stack, "web") as taken:
        taken.bind((address, port))
        stack.up()
        everything_works(stack, ports, before)


def test_ports_of_both_families_come_back(stack: Stack) -> None:
    stack.write("services:\n  web: {image: IMAGE, command: httpd -f -p 80 -h /bin, ports: [80, 81/udp]}\n")
    stack.up()
    before = stack.ps()
    ((_name, one),) = before.items()
    places = {(each["URL"], each["PublishedPort"]) for each in one["Publishers"] if each["TargetPort"] == 80}
    assert {host for host, _port in places} >= {"0.0.0.0"}
    kill_all(*helpers(stack).values())
    assert {name: each["Ports"] for name, each in stack.ps().items()} == {_name: one["Ports"]}
    for host, port in places:
        until(lambda: answers(port, "::1" if ":" in host else "127.0.0.1"), f"{host} is dead")  # noqa: B023


def test_a_run_of_which_ps_does_not_tell_comes_back_too(stack: Stack) -> None:
    stack.write("services:\n  one: {image: IMAGE}\n")
    stack.run("run", "-d", "one", "sleep", "infinity")
    ((name, former),) = states(stack).items()
    kill_all(*helpers(stack).values())
    assert stack.ps() == {}
    until(lambda: name in helpers(stack), "nobody watches it")
    assert states(stack)[name]["pid"] == former["pid"]


def test_a_keeper_that_hangs_does_not_make_ps_hang(stack: Stack, ports: Ports) -> None:
    there = helpers(stack)
    os.kill(there["keeper"], signal.SIGSTOP)
    kill_all(there[f"{stack.name}-web-1"])
    assert {one["State"] for one in stack.ps().values()} == {"running"}
    os.kill(there["keeper"], signal.SIGCONT)
    until(lambda: f"{stack.name}-web-1" in helpers(stack), "the monitor is not replaced")
    until(lambda: answers(ports.tcp), "the port is dead")


def test_what_ended_while_nobody_watched_starts_again_as_its_policy_says(stack: Stack) -> None:
    stack.write("services:\n  one: {image: IMAGE, command: [sleep, infinity], restart: always}\n")
    stack.up()
    (former,) = states(stack).values()
    kill_all(*helpers(stack).values(), former["pid"])
    stack.run("ps")
    until(
        lambda: all(one["pid"] not in (0, former["pid"]) for one in states(stack).values()), "it stays down"
    )
    (one,) = stack.ps().values()
    assert one["State"] == "running"


def test_nothing_comes_back_of_a_project_that_is_being_stopped(stack: Stack, ports: Ports) -> None:
    Keeper(stack.paths, stack.name).set_stopping(True)
    before = states(stack)
    kill_helpers(stack)
    assert {one["State"] for one in stack.ps().values()} == {"running"}
    assert Keeper.find(stack.paths, stack.name) is None
    stack.up()
    everything_works(stack, ports, before)


def test_hundreds_of_ports_outlive_keeper_and_netd(stack: Stack) -> None:
    """More than one packet can carry (SCM_MAX_FD)."""
    stack.write("""
services:
  web: {image: IMAGE, command: httpd -f -p 80 -h /bin, ports: ["127.0.0.1::80-379"]}
""")
    stack.up()
    ((_name, one),) = stack.ps().items()
    (port,) = (each["PublishedPort"] for each in one["Publishers"] if each["TargetPort"] == 80)
    until(lambda: answers(port), "web does not answer")
    there = helpers(stack)
    kill_all(there["keeper"], there["netd"])
    until(lambda: answers(port), "the port is dead")
    keeper = Keeper(stack.paths, stack.name)
    until(lambda: sum(name.startswith("listen/") for name in keeper.names()) == 300, "ports are missing")


def test_hundreds_of_ports_at_once_do_not_disturb_the_others(stack: Stack) -> None:
    """netd serves on while it is told of them, however long that takes."""
    text = "services:\n  web: {image: IMAGE, command: httpd -f -p 80 -h /bin, ports: ['127.0.0.1::80']}\n"
    stack.write(text)
    stack.up()
    before = helpers(stack)["netd"]
    stack.write(
        text + "  many: {image: IMAGE, command: [sleep, infinity], ports: ['127.0.0.1::1001-1500']}\n"
    )
    stack.up()
    keeper = Keeper(stack.paths, stack.name)
    assert sum(name.startswith("listen/") for name in keeper.names()) == 501
    assert helpers(stack)["netd"] == before
