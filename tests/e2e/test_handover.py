"""Ports, names and volumes go from one container to the next, whatever ended the first one."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

from compose.state.index import Index
from tests.support.ports import free_port, until_free

if TYPE_CHECKING:
    from tests.support.command import Stack


def with_port(port: int, service: str = "web", command: str = "sleep infinity") -> str:
    return f"services:\n  {service}: {{image: IMAGE, command: {command}, ports: ['127.0.0.1:{port}:80']}}\n"


def test_the_port_of_a_container_that_could_not_start_is_free(stack: Stack) -> None:
    port = free_port()
    stack.write(with_port(port, command="no-such-program"))
    stack.fails("up", "-d")
    until_free(port)
    stack.write(with_port(port))
    stack.up()


def test_the_port_of_a_container_that_has_ended_is_free_and_had_again(stack: Stack) -> None:
    port = free_port()
    stack.write(with_port(port, command="'true'"))
    for _run in range(2):
        stack.up()
        stack.run("logs", "-f")  # until it has ended
    until_free(port)


def test_a_renamed_service_takes_the_port_of_its_orphan(stack: Stack) -> None:
    port = free_port()
    stack.write(with_port(port, "old"))
    stack.up()
    stack.write(with_port(port, "new"))
    stack.up("--remove-orphans")
    assert list(stack.ps()) == [f"{stack.name}-new-1"]
    with socket.create_connection(("127.0.0.1", port)):
        pass


def test_a_port_that_cannot_be_had_leaves_nothing_written_down(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stack.write(with_port(server.getsockname()[1]))
        stack.fails("up", "-d")
    done = stack.try_run("ps", "-a")
    assert done.err == "" and len(done.out.splitlines()) == 1
    index = Index(stack.paths)
    assert not index.networks(stack.name) and not index.project(stack.name)
    index.close()


def test_a_container_name_may_go_to_another_service(stack: Stack) -> None:
    name = f"{stack.name}-own"
    text = "services:\n  SERVICE: {image: IMAGE, command: sleep infinity, container_name: NAME}\n"
    for service in ("old", "new"):
        stack.write(text.replace("SERVICE", service).replace("NAME", name))
        stack.up("--remove-orphans")
    assert {one["Service"] for one in stack.ps().values()} == {"new"}
    assert stack.shell("new", "nslookup old >/dev/null 2>&1 || echo gone") == "gone"


def test_a_volume_of_another_name_is_another_volume(stack: Stack) -> None:
    text = (
        "services:\n  box: {image: IMAGE, command: sleep infinity, volumes: ['data:/data']}\n"
        "volumes: {data: {name: NAME}}\n"
    )
    stack.write(text.replace("NAME", f"{stack.name}-one"))
    stack.up()
    stack.shell("box", "echo kept > /data/file")
    stack.write(text.replace("NAME", f"{stack.name}-two"))
    assert "volume data changed" in stack.run("up", "-d", "--dry-run")
    stack.up()
    assert stack.shell("box", "ls /data") == ""
    stack.write(text.replace("NAME", f"{stack.name}-one"))
    stack.up()
    assert stack.shell("box", "cat /data/file") == "kept"
    stack.run("down", "-v")
    assert not [name for name in os.listdir(stack.paths.volumes) if name.startswith(stack.name)]


def test_an_external_volume_must_be_there(stack: Stack) -> None:
    text = "services:\n  box: {image: IMAGE, volumes: ['data:/data']}\nvolumes: {data: {external: true}}\n"
    stack.write(text)
    assert "volume data is declared as external" in stack.fails("up", "-d")
    assert stack.ids() == {}


ANONYMOUS = "services:\n  box: {image: IMAGE, command: sleep infinity, volumes: [/data]}\n"


def test_new_anonymous_volumes_on_request_and_none_after_down_v(stack: Stack) -> None:
    stack.write(ANONYMOUS)
    stack.up()
    stack.shell("box", "echo old > /data/file")
    stack.up("--force-recreate", "-V")
    assert stack.shell("box", "ls /data") == ""
    stack.run("down")  # as with docker compose, it leaves them
    assert len(os.listdir(stack.paths.volumes)) == 2
    stack.run("down", "-v")
    assert os.listdir(stack.paths.volumes) == []


def test_an_anonymous_volume_outlives_a_replacement_that_was_killed(stack: Stack) -> None:
    stack.write(ANONYMOUS)
    stack.up()
    stack.shell("box", "echo kept > /data/file")
    (identity,) = os.listdir(stack.paths.containers)
    stack.run("exec", "-T", "box", "kill", "-9", "1")
    shutil.rmtree(stack.paths.container(identity))  # what a removal does before it deletes the record
    stack.up()
    assert stack.shell("box", "cat /data/file") == "kept"


def test_a_removal_that_was_killed_leaves_nothing_that_could_be_started(stack: Stack) -> None:
    stack.write(
        "services:\n  box: {image: IMAGE, command: sleep infinity, network_mode: none}\n"
        "  job: {image: IMAGE, command: 'true'}\n"
    )
    stack.up()
    stack.try_run("wait", "job")  # until its end is written down; an error where it is already
    for name in os.listdir(stack.paths.containers):
        os.unlink(f"{stack.paths.container(name)}/state.json")  # what a removal does first
    said = stack.up()
    assert said.count("  Created") == 2
    assert list(stack.ps()) == [f"{stack.name}-box-1"]


def test_a_network_is_made_again_when_its_removal_was_killed(stack: Stack) -> None:
    stack.write("services:\n  box: {image: IMAGE, command: sleep infinity}\n")
    stack.up()
    index = Index(stack.paths)
    (network,) = index.networks(stack.name)
    index.close()
    os.unlink(f"{stack.paths.network_run(network.id)}/whole")
    assert "only its record is there" in stack.run("up", "-d", "--dry-run")
    stack.up()
    assert "only its record" not in stack.run("up", "-d", "--dry-run")
