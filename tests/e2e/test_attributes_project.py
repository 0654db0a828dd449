"""Keys whose effect depends on the host's files and variables, on other services, or on the command line."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.attribute_rows import Row, services, wrong
from tests.support.ports import answer, free_port

if TYPE_CHECKING:
    from tests.support.command import Stack

SHOW = "echo $A-$B-$C"

ROWS = [
    Row(
        "env_file, the later ones win", "env_file: [one.env, two.env], environment: {A: own}", SHOW, "own-2-1"
    ),
    Row(
        "env_file.required",
        "env_file: [{path: no-such.env, required: false}, {path: one.env, required: true}]",
        SHOW,
        "1-1-1",
    ),
    Row("env_file.format", "env_file: [{path: raw.env, format: raw}]", 'echo "$A"', "'x $HOME' # y"),
    Row("env_file without format", "env_file: raw.env", 'echo "$A"', "x $HOME"),
    Row(
        "environment of the caller",
        "environment: [GIVEN, NOT_GIVEN, EMPTY=]",
        "echo ${GIVEN-unset} ${NOT_GIVEN-unset} ${EMPTY-unset}.",
        "from outside unset .",
    ),
    Row("extends", "extends: base", SHOW, "base-base-"),
    Row(
        "extends.file",
        "extends: {service: far, file: parts/far.yaml}, environment: {B: own}",
        SHOW + "; cat /far",
        "far-own-\nfar away",
    ),
    Row("init of another service", "extends: {service: base}, init: true", "cat /proc/1/comm", "init"),
    Row(
        "depends_on.required",
        "depends_on: {off: {condition: service_started, required: false}}",
        "echo ok",
        "ok",
    ),
    Row("container_name", "depends_on: [named]", "nslookup NAMED > /dev/null; echo $?", "0"),
]

TOP = """
services:
  base: {image: IMAGE, environment: {A: base, B: base}, command: ['true']}
  off: {image: IMAGE, command: [sleep, '1000'], profiles: [debug, other]}
  named: {image: IMAGE, command: [sleep, '3'], container_name: NAMED}
"""


@pytest.fixture
def project(stack: Stack) -> Stack:
    stack.write("A=1\nB=1\nC=1\n", "one.env")
    stack.write("B=2\n", "two.env")
    stack.write("A='x $HOME' # y\n", "raw.env")
    stack.write("far away\n", "parts/file")
    stack.write(
        "services: {far: {image: IMAGE, environment: {A: far, B: far}, volumes: ['./file:/far']}}\n",
        "parts/far.yaml",
    )
    stack.environment["GIVEN"] = "from outside"
    return stack


def test_every_key_has_its_effect(project: Stack) -> None:
    text = TOP + services(ROWS)
    project.write(text.replace("NAMED", f"{project.name}-its-own"))
    assert "warning" not in project.up()
    assert wrong(project, ROWS) == {}
    assert f"{project.name}-its-own" in project.ps("--all")


def test_a_file_of_variables_that_must_be_there(stack: Stack) -> None:
    stack.write("services: {a: {image: IMAGE, env_file: [{path: no-such.env, required: true}]}}\n")
    assert "services.a.env_file[0]: no-such.env does not exist" in stack.fails("up", "-d")
    stack.write("A=1\n", "no-such.env")
    stack.write("services: {a: {image: IMAGE, command: [sleep, '1000'], env_file: [no-such.env]}}\n")
    stack.up()
    (stack.directory / "no-such.env").unlink()  # what runs can be seen and ended without it
    assert len(stack.ps()) == 1 and stack.shell("a", "echo $A") == "1"
    assert "no-such.env does not exist" in stack.fails("up", "-d")
    stack.run("down", "-t", "0")


def test_profiles_say_what_is_started(stack: Stack) -> None:
    sleeps = "image: IMAGE, command: [sleep, '1000']"
    stack.write(f"""
services:
  always: {{{sleeps}}}
  debug: {{{sleeps}, profiles: [debug]}}
  other: {{{sleeps}, profiles: [other], depends_on: [always]}}
""")

    def running() -> set[str]:
        return {str(one["Service"]) for one in stack.ps().values()}

    stack.up()
    assert running() == {"always"}
    stack.run("--profile", "debug", "up", "-d")
    assert running() == {"always", "debug"}
    stack.run("--profile", "*", "stop", "-t", "0")
    stack.up("other")  # who is named needs no profile
    assert running() == {"always", "other"}
    stack.environment["COMPOSE_PROFILES"] = "debug,other"
    stack.up()
    assert running() == {"always", "debug", "other"}


def test_labels_of_files_are_below_those_of_the_service(stack: Stack) -> None:
    stack.write("a=file\nb=file\n", "one.labels")
    stack.write("b=second\nc=second\n", "two.labels")
    stack.write("""
services:
  a: {image: IMAGE, command: [sleep, '1000'], label_file: [one.labels, two.labels], labels: {c: own}}
""")
    stack.up()
    (one,) = stack.ps().values()
    assert {"a=file", "b=second", "c=own"} <= set(one["Labels"].split(","))


SERVE = """#!/bin/sh
while :; do nc -l -p $1 -e echo $1; done
"""


def test_exposed_ports_are_shown_and_reached_from_other_services_alone(stack: Stack) -> None:
    port = free_port()
    stack.write(SERVE, "serve")
    stack.write(f"""
services:
  server:
    image: IMAGE
    command: [sh, /serve, '{port}']
    volumes: ['./serve:/serve']
    expose: ['{port}', '9000-9001/udp']
  client: {{image: IMAGE, command: [sleep, '1000']}}
""")
    stack.up()
    shown = stack.run("ps", "server")
    assert f"{port}/tcp" in shown and "9000-9001/udp" in shown and "->" not in shown
    assert stack.shell("client", f"until nc server {port} < /dev/null; do sleep 0.05; done") == str(port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_ports_in_every_form(stack: Stack) -> None:
    one, two = free_port(), free_port()
    stack.write(SERVE, "serve")
    stack.write(f"""
services:
  web:
    image: IMAGE
    command: [sh, -c, "for p in 81 82 83 84; do sh /serve $$p & done; wait"]
    volumes: ['./serve:/serve']
    ports:
      - "127.0.0.1:{one}:81/tcp"
      - "[::1]:{one}:82"
      - "127.0.0.1:0:83"
      - target: 84
        published: "{two}"
        host_ip: 127.0.0.1
        protocol: tcp
        mode: host
        name: web
        app_protocol: http
""")
    assert "warning" not in stack.up()
    stack.shell(
        "web", "for p in 81 82 83 84; do until nc 127.0.0.1 $p < /dev/null; do sleep 0.05; done; done"
    )
    free = int(stack.run("port", "web", "83").rpartition(":")[2])
    for address, port, target in (
        ("127.0.0.1", one, 81),
        ("::1", one, 82),
        ("127.0.0.1", free, 83),
        ("127.0.0.1", two, 84),
    ):
        assert answer(port, address=address) == b"%d\n" % target


def test_when_images_are_made_or_fetched(stack: Stack) -> None:
    stack.write("FROM IMAGE\nCOPY word /word\n", "made/Dockerfile")
    stack.write("one\n", "made/word")
    built = f"pycompose-test/policy-{os.getpid()}"
    stack.write(f"""
services:
  a: {{build: made, image: "{built}", command: [cat, /word], pull_policy: POLICY}}
""")
    text = (stack.directory / "compose.yaml").read_text()

    def says(policy: str) -> str:
        stack.write(text.replace("POLICY", policy))
        stack.up("--force-recreate")
        return stack.run("logs", "-f", "--no-log-prefix").strip()

    assert says("missing") == "one"
    stack.write("two\n", "made/word")
    assert says("if_not_present") == "one"
    assert says("build") == "two"
    stack.run("down", "--rmi", "all", "-t", "0")
    stack.write(f"services: {{a: {{image: {built}, pull_policy: never}}}}\n")
    assert "pull_policy is never" in stack.fails("up", "-d")
