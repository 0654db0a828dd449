"""Networks that two projects share: whoever comes and goes, those who are there stay connected."""

from __future__ import annotations

import os
import shutil
import urllib.request
from typing import TYPE_CHECKING

import anyio
import pytest

from compose.engine.embedded.context import Context
from compose.engine.embedded.engine import EmbeddedEngine
from compose.network.setup.client import fork_setup
from compose.plan.execute import execute
from compose.plan.teardown import DownOptions, plan_down
from compose.state.index import Index
from tests.support.patience import MOMENT
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Stack

OWNER = """
services:
  app: {image: IMAGE, command: [sleep, infinity], networks: [shared]}
networks: {shared: {}}
"""


class Guest:
    """A second project in the same directory: a web server that is only in the first one's network."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.port = free_port()
        self.name = f"{stack.name}-guest"
        stack.write("hello", "www/index.html")
        stack.write(
            f"""
services:
  web:
    image: IMAGE
    command: [httpd, -f, -p, "80", -h, /www]
    volumes: ["./www:/www:ro"]
    ports: ["{self.port}:80"]
    networks: [joined]
    healthcheck: {{test: netstat -tln | grep -q ':80 ', interval: 1s, retries: 300}}
networks: {{joined: {{external: true, name: {stack.name}_shared}}}}
""",
            "guest.yaml",
        )

    def run(self, *arguments: str) -> str:
        done = self.stack.try_run("-f", "guest.yaml", "-p", self.name, *arguments)
        assert done.code == 0, done
        return done.out + done.err

    def shell(self, script: str) -> str:
        return self.run("exec", "-T", "web", "sh", "-c", script).rstrip()

    def answers(self) -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=MOMENT) as answer:
            return bool(answer.read() == b"hello")


@pytest.fixture
def guest(stack: Stack) -> Iterator[Guest]:
    stack.write(OWNER)
    made = Guest(stack)
    yield made
    stack.try_run("-f", "guest.yaml", "-p", made.name, "down", "--timeout", "0")


def is_gone(stack: Stack) -> bool:
    index = Index(stack.paths)
    networks = index.networks(stack.name)
    index.close()
    namespace = stack.paths.project_namespace(stack.name)
    return not networks and not os.path.exists(namespace)


def test_a_guest_is_found_and_published_in_the_network_that_it_joins(stack: Stack, guest: Guest) -> None:
    stack.up()
    assert "not supported" not in guest.run("up", "--wait")
    assert guest.answers()
    assert stack.shell("app", "wget -q -O - http://web/") == "hello"
    assert guest.shell("ping -c 1 -W 5 app >/dev/null && echo reached") == "reached"
    address = guest.shell("nslookup host.docker.internal | tail -n 2")
    assert address == stack.shell("app", "nslookup host.docker.internal | tail -n 2")
    guest.run("down", "-t", "0")
    assert not is_gone(stack)
    stack.run("down", "-t", "0")
    assert is_gone(stack)


def test_a_network_outlives_its_project_and_goes_with_its_last_user(stack: Stack, guest: Guest) -> None:
    stack.up()
    guest.run("up", "--wait")
    assert f"in use by {guest.name}.web.1" in stack.run("down", "--dry-run")
    stack.run("down", "-t", "0")
    assert stack.run("down", "--dry-run") == "nothing to do\n"
    assert not os.path.exists(f"{stack.paths.project_run(stack.name)}/keeper.sock")
    assert guest.answers()
    assert stack.try_run("-f", "guest.yaml", "-p", guest.name, "exec", "-T", "web", "nslookup", "app").code
    stack.up()  # the owner may come again
    assert guest.shell("ping -c 1 -W 5 app >/dev/null && echo reached") == "reached"
    stack.run("down", "-t", "0")
    guest.run("up", "-d", "--force-recreate")
    assert f"remove network {stack.name}_shared" in guest.run("down", "--dry-run")
    guest.run("down", "-t", "0")
    assert is_gone(stack)


def test_a_network_whose_record_alone_is_there_is_made_again(stack: Stack, guest: Guest) -> None:
    """As after a reboot, when the project that joins it comes up before its owner."""
    stack.up()
    guest.run("up", "--wait")
    stack.run("down", "-t", "0")
    with fork_setup(stack.paths) as client:
        assert client.remove_sandbox(stack.name) == []
    index = Index(stack.paths)
    (row,) = index.networks(stack.name)
    index.close()
    shutil.rmtree(stack.paths.network_run(row.id))
    guest.run("up", "--wait", "--force-recreate")
    assert guest.answers()
    guest.run("down", "-t", "0")
    assert is_gone(stack)


def test_a_network_that_is_not_there(stack: Stack, guest: Guest) -> None:
    done = stack.try_run("-f", "guest.yaml", "-p", guest.name, "up", "-d")
    assert done.code == 1
    assert f"network {stack.name}_shared is declared as external" in done.err


def test_who_comes_while_the_owner_goes_keeps_the_network(stack: Stack, guest: Guest) -> None:
    stack.up()
    context = Context(stack.paths, stack.name)
    engine = EmbeddedEngine(context)
    plan = plan_down(stack.name, engine.observe(), DownOptions())
    guest.run("up", "--wait")  # between the owner's look and its act
    warnings: list[str] = []
    context.warn = warnings.append
    engine.prepare(plan)
    assert anyio.run(execute, plan, engine) == []
    context.close()
    assert warnings == [f"network {stack.name}_shared is in use by {guest.name}.web.1; it stays"]
    assert guest.answers()
    guest.run("down", "-t", "0")
    assert is_gone(stack)


def test_nobody_comes_to_a_network_that_is_being_removed(stack: Stack, guest: Guest) -> None:
    stack.up()
    index = Index(stack.paths)
    (row,) = index.networks(stack.name)
    with index.change() as transaction:  # as a killed `down` leaves it
        transaction.execute("UPDATE networks SET name = ?, key = ''", (f"{row.name}#{row.id[:12]}",))
    index.close()
    done = stack.try_run("-f", "guest.yaml", "-p", guest.name, "up", "-d")
    assert (done.code, "there is none of that name" in done.err) == (1, True), done
    stack.up()
    guest.run("up", "--wait")
    assert guest.answers()
    assert guest.shell("ping -c 1 -W 5 app >/dev/null && echo reached") == "reached"


def test_a_guest_that_leaves_takes_what_its_host_has_left_with_it(stack: Stack, guest: Guest) -> None:
    stack.up()
    guest.run("up", "--wait")
    stack.run("down", "-t", "0")
    guest.run("up", "-d", "-t", "0", "--scale", "web=0")
    assert is_gone(stack)


def test_a_network_that_the_file_calls_external_by_now_outlives_down(stack: Stack) -> None:
    stack.write(OWNER)
    stack.up()
    external = OWNER.replace("{shared: {}}", f"{{shared: {{external: true, name: {stack.name}_shared}}}}")
    stack.write(external)
    for _ in range(2):
        stack.run("down", "-t", "0")
        assert stack.try_run("-p", f"{stack.name}-other", "down").code == 0  # which clears up after others
        stack.up()
        assert stack.shell("app", "ip -o link show eth0 | grep -c UP") == "1"
    stack.write(OWNER)  # so that it goes at last
