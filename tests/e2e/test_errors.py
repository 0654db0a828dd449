"""A mistake is one clear line that says where it is, and nothing has been changed."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.command import Stack

BAD = {
    "unknown key": ("services:\n  web:\n    imige: IMAGE\n", "compose.yaml:3:5", "imige"),
    "wrong type": ("services:\n  web:\n    image: IMAGE\n    ports: 80\n", "compose.yaml:4:12", "ports"),
    "duplicate key": (
        "services:\n  web: {image: IMAGE}\n  web: {image: IMAGE}\n",
        "compose.yaml:3:3",
        "web",
    ),
    "no image": ("services:\n  web: {command: ls}\n", "compose.yaml:2", "image"),
    "cycle": (
        "services:\n  one: {image: IMAGE, depends_on: [two]}\n  two: {image: IMAGE, depends_on: [one]}\n",
        "compose.yaml:",
        "one",
    ),
    "unknown dependency": (
        "services:\n  web: {image: IMAGE, depends_on: [nosuch]}\n",
        "compose.yaml:2",
        "nosuch",
    ),
    "unknown network": (
        "services:\n  web: {image: IMAGE, networks: [nosuch]}\n",
        "compose.yaml:2",
        "nosuch",
    ),
    "unknown volume": (
        "services:\n  web: {image: IMAGE, volumes: ['nosuch:/data']}\n",
        "compose.yaml:2",
        "nosuch",
    ),
    "required variable": (
        "services:\n  web: {image: '${NO_SUCH_VARIABLE:?say which}'}\n",
        "compose.yaml:2",
        "say which",
    ),
    "no YAML": ("services:\n  web: {image: IMAGE\n", "compose.yaml:", ""),
    "empty file": ("", "compose.yaml", ""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_line_and_column(stack: Stack, name: str) -> None:
    text, where, what = BAD[name]
    stack.write(text)
    for command in (["config"], ["up", "-d"]):
        error = stack.fails(*command)
        first = error.splitlines()[0]
        assert where in first
        assert what in first
    stack.write("services:\n  web: {image: IMAGE}\n")
    assert stack.ps("-a") == {}


def test_a_key_that_nothing_acts_on_is_warned_about_once(stack: Stack) -> None:
    stack.write(
        "services:\n  web:\n    image: IMAGE\n    command: [sleep, infinity]\n    isolation: process\n"
    )
    error = stack.up()
    assert error.count("isolation") == 1
    assert "compose.yaml:5" in error


def test_a_project_without_a_file_is_an_error(stack: Stack) -> None:
    error = stack.fails("up", code=2)
    assert "compose.yaml" in error


def test_a_file_that_is_not_there_is_named(stack: Stack) -> None:
    assert "nosuch.yaml" in stack.fails("-f", "nosuch.yaml", "up")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuch"],
        ["up", "--nosuch"],
        ["ps", "--format", "{{.Name"],
        ["exec"],
        ["up", "--scale", "x"],
        ["down", "x"],
    ],
)
def test_a_wrong_command_line_exits_with_2(stack: Stack, arguments: list[str]) -> None:
    stack.write("services:\n  web: {image: IMAGE}\n")
    stack.fails(*arguments, code=2)


def test_an_image_that_cannot_be_had_is_an_error_with_a_hint(stack: Stack) -> None:
    stack.write("services:\n  web: {image: no-such-image-anywhere}\n")
    error = stack.fails("up", "-d")
    assert "no-such-image-anywhere" in error
    assert stack.ids() == {}


def test_a_command_that_does_not_exist_is_an_error_of_that_service(stack: Stack) -> None:
    stack.write("services:\n  web: {image: IMAGE, command: [no-such-program]}\n")
    error = stack.fails("up", "-d")
    assert "web" in error and "no-such-program" in error


def test_a_missing_bind_source_is_made_unless_the_file_forbids_it(stack: Stack) -> None:
    text = """
services:
  web:
    image: IMAGE
    command: ['true']
    volumes: [{type: bind, source: ./site, target: /x, bind: {create_host_path: false}}]
"""
    stack.write(text)
    said = stack.fails("up", "-d")
    assert f"compose.yaml:6:15: service web: volumes[0]: {stack.directory}/site is to be mounted" in said
    assert not stack.ps("--all")
    stack.write("services: {a: {image: IMAGE, secrets: [s]}}\nsecrets: {s: {file: none.txt}}\n")
    said = stack.fails("up", "-d")
    assert f"compose.yaml:2:15: secrets.s.file: {stack.directory}/none.txt is to be mounted" in said
    stack.write(text.replace("false", "true"))
    stack.up()
    assert (stack.directory / "site").is_dir()


REFUSED = {
    "user": ("    user: nosuch\n", "5:5", "user nosuch: no such user"),
    "sysctls": ("    sysctls: {net.core.nosuch: 1}\n", "5:15", "sysctls: set net.core.nosuch: No such file"),
    "entrypoint": ("    entrypoint: [nosuch]\n", "5:18", "exec nosuch: executable file not found in $PATH"),
    "volumes": ("    volumes: ['./compose.yaml:/bin']\n", "5:15", "mount /bin: a file cannot be mounted"),
    "tmpfs": ("    tmpfs: ['/x:uid=me']\n", "5:13", "mount /x: Invalid argument"),
    "networks": (
        "    networks: {n: {ipv4_address: 10.123.0.9}}\n"
        "networks: {n: {ipam: {config: [{subnet: 10.122.0.0/24}]}}}\n",
        "5:20",
        "10.123.0.9 is not in the subnet 10.122.0.0/24",
    ),
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_the_system_refuses_is_told_with_the_place_of_the_value(stack: Stack, key: str) -> None:
    text, place, reason = REFUSED[key]
    stack.write(f"services:\n  web:\n    image: IMAGE\n    command: [sleep, infinity]\n{text}")
    said = stack.fails("up", "-d")
    (line,) = [one for one in said.splitlines() if one.startswith("pycompose: ")]
    assert line.startswith(f"pycompose: compose.yaml:{place}: service web: ") and reason in line, said


def test_a_taken_port_is_told_with_its_place(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack.write(f"services:\n  web:\n    image: IMAGE\n    ports: ['127.0.0.1:{port}:80']\n")
        said = stack.fails("up", "-d")
    assert f"compose.yaml:4:13: service web: {stack.name}-web-1: publish port" in said, said
