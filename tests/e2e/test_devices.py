"""Devices of the host inside containers: which ones are there, and what may be done with them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Stack

KMSG = os.makedev(1, 11)
"""The kernel's log: whoever has the right to the node may write; it is none of the standard devices."""
WRITE = "(true > {}) 2>/dev/null && echo written || echo refused"
READ = "(true < {}) 2>/dev/null && echo read || echo refused"


@pytest.fixture
def node(tmp_path: Path) -> str:
    """A directory with a device in it, and a file, a link and a directory beside it."""
    directory = tmp_path / "nodes"
    (directory / "below").mkdir(parents=True)
    (directory / "file").touch()
    (directory / "link").symlink_to("device")
    for path in (directory / "device", directory / "below/other"):
        os.mknod(path, stat.S_IFCHR | 0o640, KMSG)
        os.chown(path, 7, 8)
    return str(directory)


def output(stack: Stack, service: str) -> list[str]:
    return [line.partition("| ")[2] for line in stack.run("logs", "-f", service).splitlines()]


def test_devices_are_there_with_the_access_that_was_asked_for(stack: Stack, node: str) -> None:
    look = "ls -ln /dev/x | tr -s ' ' | cut -d ' ' -f 1,3-6"
    stack.write(f"""
services:
  written:
    image: IMAGE
    command: [sh, -c, "{WRITE.format("/dev/x")}; {READ.format("/dev/x")}; {look}"]
    devices: ["{node}/device:/dev/x:w"]
  long:
    image: IMAGE
    command: [sh, -c, "{WRITE.format("/dev/sub/x")}"]
    devices: [{{source: "{node}/link", target: /dev/sub/x, permissions: rw}}]
  readable:
    image: IMAGE
    command: [sh, -c, "{WRITE.format("/dev/x")}"]
    devices: ["{node}/device:/dev/x:r"]
  directory:
    image: IMAGE
    command: [sh, -c, "cd /dev/all; find . -type c | sort; {WRITE.format("below/other")}"]
    devices: ["{node}:/dev/all"]
  none:
    image: IMAGE
    command: [sh, -c, "mknod /x c 1 11; {WRITE.format("/x")}"]
  rule:
    image: IMAGE
    command: [sh, -c, "mknod /x c 1 11; {WRITE.format("/x")}"]
    device_cgroup_rules: ["c 1:11 wm"]
  every:
    image: IMAGE
    privileged: true
    command: [sh, -c, "test -c /dev/kmsg && {WRITE.format("/dev/kmsg")}; test -c /dev/y && echo also"]
    devices: ["{node}/device:/dev/y:r"]
""")
    assert "warning" not in stack.up()
    assert output(stack, "written") == ["written", "refused", "crw-r----- 7 8 1, 11"]
    assert output(stack, "long") == ["written"]
    assert output(stack, "readable")[-1] == "refused"
    assert output(stack, "directory") == ["./below/other", "./device", "written"]
    assert output(stack, "none")[-1] == "refused"
    assert output(stack, "rule") == ["written"]
    assert output(stack, "every") == ["written", "also"]


def test_a_restart_keeps_devices(stack: Stack, node: str) -> None:
    stack.write(f"""
services:
  again:
    image: IMAGE
    command: [sh, -c, "{WRITE.format("/dev/x")}; exit 1"]
    restart: on-failure:2
    devices: ["{node}/device:/dev/x:w"]
""")
    stack.up()
    assert output(stack, "again") == ["written"] * 3
