"""`driver_opts` of a volume: another directory, memory, a file system of the network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.volumes.local import is_mounted

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import Stack

TOP = """
services:
  one: &box
    build: .
    image: PROJECT-seed
    command: [sleep, infinity]
    volumes: ["memory:/memory", "shown:/seed", "fixed:/fixed"]
  two: *box
volumes:
  memory: {driver: local, driver_opts: {type: tmpfs, device: tmpfs, o: "size=1m,uid=1000,mode=750,noexec"}}
  shown: {driver: local, driver_opts: {type: none, o: bind, device: ./shown}}
  fixed: {driver: local, driver_opts: {type: none, o: "bind,ro", device: DIRECTORY/fixed}}
"""


def written(stack: Stack) -> None:
    stack.write("FROM IMAGE\nRUN mkdir -p /seed/inner && echo seed > /seed/inner/file\n", "Dockerfile")
    stack.write(TOP.replace("PROJECT", stack.name).replace("DIRECTORY", str(stack.directory)))
    for name in ("shown", "fixed"):
        (stack.directory / name).mkdir()
    stack.write("kept\n", "fixed/file")


def test_containers_share_memory_and_a_directory_of_the_host(stack: Stack) -> None:
    written(stack)
    assert "warning" not in stack.up()
    stack.shell("one", "echo shared > /memory/file")
    assert stack.shell("two", "cat /memory/file; stat -c '%u %a' /memory") == "shared\n1000 750"
    assert "size=1024k" in stack.shell("two", "grep ' /memory ' /proc/mounts | grep noexec")
    assert (stack.directory / "shown/inner/file").read_text() == "seed\n"  # the image's content, once
    assert sorted(os.listdir(stack.directory / "shown")) == ["inner"]
    stack.shell("one", "echo changed > /seed/inner/file")
    assert stack.shell("two", "cat /seed/inner/file /fixed/file") == "changed\nkept"
    assert stack.shell("two", "touch /fixed/x 2>/dev/null || echo fixed") == "fixed"
    stack.up("--force-recreate")
    assert stack.shell("two", "cat /memory/file /seed/inner/file") == "shared\nchanged"
    place = f"{stack.paths.volumes}/{stack.name}_memory/data"
    assert is_mounted(place)
    stack.run("down", "-t", "0")
    assert not is_mounted(place)
    stack.up()
    assert stack.shell("one", "ls /memory | wc -l; cat /seed/inner/file") == "0\nchanged"
    stack.write((stack.directory / "compose.yaml").read_text().replace("size=1m", "size=2m"))
    assert f"volume {stack.name}_memory stays as it was made" in stack.up()
    assert "size=1024k" in stack.shell("two", "grep ' /memory ' /proc/mounts")
    stack.run("down", "-v", "-t", "0")
    assert "stays as it was" not in stack.up()
    assert "size=2048k" in stack.shell("two", "grep ' /memory ' /proc/mounts")
    stack.run("down", "-v", "-t", "0")
    assert (stack.directory / "fixed/file").exists() and (stack.directory / "shown/inner/file").exists()


def test_a_volume_that_another_project_has_stays_mounted(stack: Stack) -> None:
    written(stack)
    stack.up("one")
    other = ("-p", f"{stack.name}-other", "-f", "other.yaml")
    stack.write(
        f"""
services:
  guest: {{image: IMAGE, command: [sleep, infinity], volumes: ["memory:/memory"]}}
volumes: {{memory: {{external: true, name: {stack.name}_memory}}}}
""",
        "other.yaml",
    )
    stack.run(*other, "up", "-d")
    stack.shell("one", "echo shared > /memory/file")
    stack.run("down", "-t", "0")
    place = f"{stack.paths.volumes}/{stack.name}_memory/data"
    assert is_mounted(place)
    assert stack.run(*other, "exec", "-T", "guest", "cat", "/memory/file") == "shared\n"
    stack.run(*other, "down", "-t", "0")
    assert not is_mounted(place)


def test_what_is_unmounted_while_a_project_rests_is_mounted_when_it_starts(stack: Stack) -> None:
    from compose.linux.mount import umount2

    written(stack)
    stack.up("one")
    stack.run("stop", "-t", "0")
    umount2(f"{stack.paths.volumes}/{stack.name}_memory/data")  # as a restart of the machine does it
    stack.run("start", "one")
    assert "size=1024k" in stack.shell("one", "grep ' /memory ' /proc/mounts")


def test_a_kill_at_any_moment_leaves_no_mount_behind(stack: Stack) -> None:
    written(stack)
    stack.run("build")
    directory = f"{stack.paths.volumes}/{stack.name}_memory"
    moments: list[Callable[[], bool]] = [
        lambda: os.path.exists(f"{directory}/options.json"),
        lambda: os.path.exists(f"{directory}/data"),
        lambda: is_mounted(f"{directory}/data"),
        lambda: bool(stack.ids()),
    ]
    for come in moments:
        with stack.start("up", "-d") as process:
            while process.poll() is None and not come():
                pass
            process.kill()
            process.communicate()
        stack.run("down", "-t", "0")
        assert not is_mounted(f"{directory}/data")
        stack.run("down", "-v")
        assert not os.path.exists(directory)


REFUSED = {
    "{type: none, o: bind, device: /nowhere/at/all}": "/nowhere/at/all is not a directory",
    "{type: tmpfs}": "driver_opts has no device",
    "{device: /x}": "driver_opts has no type",
    '{type: none, o: "bind,ro", device: ./x}': "./x is not an absolute path",
    "{size: 10g}": "driver_opts.size: there is no such option",
    "{type: nosuchfs, device: x}": "this kernel has no file system nosuchfs",
    '{type: tmpfs, device: x, o: "colour=red"}': "mount x (tmpfs): Invalid argument",
    '{type: nfs, device: ":/x", o: "addr=192.0.2.300"}': "addr=192.0.2.300:",
}


def test_what_cannot_be_mounted_is_said(stack: Stack) -> None:
    for options, said in REFUSED.items():
        stack.write(f"""
services:
  box: {{image: IMAGE, command: ["true"], volumes: ["data:/data"]}}
volumes: {{data: {{driver_opts: {options}}}}}
""")
        assert said in stack.fails("up", "-d"), options
        stack.run("down", "-v")
    stack.write("""
services:
  box: {image: IMAGE, command: ["true"], volumes: ["data:/data"]}
volumes: {data: {driver: rclone, driver_opts: {remote: x}}}
""")
    assert "`rclone` is not supported yet, ignored" in stack.up("--no-start")
