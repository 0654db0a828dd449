"""Damaged records: what they may name is never removed, and the user is told what to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from compose.state.index import Index

if TYPE_CHECKING:
    from tests.support.command import Done, Stack

OWNER = """
services:
  app: {image: IMAGE, command: [sleep, infinity], volumes: ["data:/data"]}
volumes: {data: {}}
"""


class Guest:
    """A second project that uses the first one's volume, and whose record gets damaged."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.name = f"{stack.name}-guest"
        stack.write(
            "services:\n  web: {image: IMAGE, command: [sleep, infinity], volumes: ['theirs:/data']}\n"
            f"volumes: {{theirs: {{external: true, name: {stack.name}_data}}}}\n",
            "guest.yaml",
        )

    def run(self, *arguments: str) -> str:
        done = self.stack.try_run("-f", "guest.yaml", "-p", self.name, *arguments)
        assert done.code == 0, done
        return done.out + done.err

    def record(self) -> str:
        """The path of its container's spec.json."""
        index = Index(self.stack.paths)
        try:
            (row,) = index.containers(self.name)
        finally:
            index.close()
        return f"{self.stack.paths.container(row.id)}/spec.json"


def damage(path: str, kind: str) -> None:
    if kind == "missing":
        os.unlink(path)
    elif kind == "directory":
        os.unlink(path)
        os.mkdir(path)
    else:
        with open(path, "rb") as file:
            whole = file.read()
        content = {"empty": b"", "truncated": whole[: len(whole) // 2], "garbage": b"\0\xff{" * 99}[kind]
        with open(path, "wb") as file:
            file.write(content)


@pytest.mark.parametrize("kind", ["truncated", "directory", "missing"])
def test_a_volume_that_a_damaged_record_may_name_stays(stack: Stack, kind: str) -> None:
    stack.write(OWNER)
    stack.up()
    stack.shell("app", "echo kept > /data/file")
    guest = Guest(stack)
    guest.run("up", "-d")
    record = guest.record()
    damage(record, kind)
    done = stack.try_run("down", "-v", "-t", "0")
    assert done.code == 0 and done.err.count(record) == 1, done
    assert f"volume {stack.name}_data stays: in use by container {guest.name}-web-1" in done.err
    guest.run("up", "-d")  # what the line says
    assert guest.run("exec", "-T", "web", "cat", "/data/file") == "kept\n"
    guest.run("down", "-t", "0")


def test_a_container_whose_whole_directory_is_damaged_can_be_removed(stack: Stack) -> None:
    stack.write(OWNER)
    stack.up()
    (identity,) = stack.ids().values()
    directory = next(one for one in os.listdir(stack.paths.containers) if one.startswith(identity))
    for name in ("spec.json", "state.json", "service.json"):
        damage(f"{stack.paths.containers}/{directory}/{name}", "directory")
    done = stack.try_run("down", "-v", "-t", "0")
    assert done.code == 0 and "Traceback" not in done.err, done


def _anonymous(stack: Stack) -> list[str]:
    index = Index(stack.paths)
    try:
        return [row.name for row in index.volumes(stack.name) if row.container]
    finally:
        index.close()


def _remove(stack: Stack, service: str) -> Done:
    return stack.try_run("rm", "-sfv", service)


def test_an_anonymous_volume_stays_while_a_damaged_record_may_name_it(stack: Stack) -> None:
    stack.write("""
services:
  first: {image: IMAGE, command: [sleep, infinity], volumes: [/data], stop_grace_period: 0s}
  second: {image: IMAGE, command: [sleep, infinity], volumes_from: [first], stop_grace_period: 0s}
""")
    stack.up()
    (volume,) = _anonymous(stack)
    ids = stack.ids()
    directory = next(
        one for one in os.listdir(stack.paths.containers) if one.startswith(ids[f"{stack.name}-second-1"])
    )
    record = f"{stack.paths.containers}/{directory}/spec.json"
    damage(record, "garbage")
    done = _remove(stack, "first")
    assert done.code == 0 and done.err.count(record) == 1, done
    assert os.path.isdir(f"{stack.paths.volumes}/{volume}/data")
    assert _remove(stack, "second").code == 0
    stack.run("down", "-v", "-t", "0")
    assert not os.path.exists(f"{stack.paths.volumes}/{volume}")


def test_down_with_volumes_takes_those_of_damaged_containers_that_go_too(stack: Stack) -> None:
    stack.write("""
services:
  first: {image: IMAGE, command: [sleep, infinity], volumes: [/data]}
  second: {image: IMAGE, command: [sleep, infinity], volumes: [/data]}
""")
    stack.up()
    for identity in stack.ids().values():
        directory = next(one for one in os.listdir(stack.paths.containers) if one.startswith(identity))
        damage(f"{stack.paths.containers}/{directory}/spec.json", "empty")
    done = stack.try_run("down", "-v", "-t", "0")
    assert done.code == 0 and "stay" not in done.err, done
    assert _anonymous(stack) == []


def test_an_image_that_a_damaged_record_may_name_keeps_its_layers(stack: Stack) -> None:
    stack.write("FROM IMAGE\nRUN echo here > /file\n", "Dockerfile")
    stack.write("services:\n  app: {build: ., command: [sleep, infinity]}\n")
    stack.up()
    guest = Guest(stack)
    stack.write(f"services:\n  web: {{image: {stack.name}-app, command: [sleep, infinity]}}\n", "guest.yaml")
    guest.run("up", "-d")
    record = guest.record()
    damage(record, "truncated")
    done = stack.try_run("down", "--rmi", "all", "-t", "0")
    assert done.code == 0 and record in done.err and "it is kept" in done.err, done
    guest.run("up", "-d")
    assert guest.run("exec", "-T", "web", "cat", "/file") == "here\n"
    guest.run("down", "--rmi", "all", "-t", "0")
