"""Data that outlives a container, data from the host, and data that is gone at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.command import Stack


def test_a_new_named_volume_gets_the_content_of_the_image_with_its_owners(stack: Stack) -> None:
    stack.write(
        "FROM IMAGE\nRUN mkdir /seed && echo content > /seed/file\n"
        "RUN chown -R 1000:2000 /seed && chmod 750 /seed\n",
        "Dockerfile",
    )
    stack.write("""
services:
  box: {build: ., command: [sleep, infinity], volumes: ["data:/seed"]}
volumes: {data: {}}
""")
    stack.up()
    assert stack.shell("box", "stat -c %u:%g:%a /seed && cat /seed/file") == "1000:2000:750\ncontent"
    stack.shell("box", "echo changed > /seed/file")
    stack.up("--force-recreate")
    assert stack.shell("box", "cat /seed/file") == "changed"


def test_a_bind_mount_shows_the_hosts_files_both_ways(stack: Stack) -> None:
    stack.write("one\n", "site/page")
    stack.write("""
services:
  box:
    image: IMAGE
    command: [sleep, infinity]
    volumes: ["./site:/site", "./site:/readonly:ro"]
""")
    stack.up()
    assert stack.shell("box", "cat /site/page") == "one"
    stack.write("two\n", "site/page")
    assert stack.shell("box", "cat /readonly/page") == "two"
    stack.shell("box", "echo three > /site/page")
    assert (stack.directory / "site/page").read_text() == "three\n"
    done = stack.try_run("exec", "-T", "box", "touch", "/readonly/new")
    assert done.code == 1 and "Read-only file system" in done.err


def test_tmpfs_is_empty_and_in_memory(stack: Stack) -> None:
    stack.write("""
services:
  box: {image: IMAGE, command: [sleep, infinity], tmpfs: [/var/lib]}
""")
    stack.up()
    assert stack.shell("box", "grep ' /var/lib ' /proc/mounts | cut -d ' ' -f 1,3") == "tmpfs tmpfs"


def test_an_anonymous_volume_is_kept_when_its_container_is_recreated(stack: Stack) -> None:
    stack.write("services:\n  box: {image: IMAGE, command: [sleep, infinity], volumes: [/data]}\n")
    stack.up()
    stack.shell("box", "echo kept > /data/file")
    stack.up("--force-recreate")
    assert stack.shell("box", "cat /data/file") == "kept"


def test_what_a_container_wrote_elsewhere_goes_with_it(stack: Stack) -> None:
    stack.write("services:\n  box: {image: IMAGE, command: [sleep, infinity]}\n")
    stack.up()
    stack.shell("box", "echo gone > /file")
    stack.up("--force-recreate")
    assert stack.shell("box", "ls /file 2>/dev/null || echo nothing") == "nothing"
