"""Data that outlives a container, data from the host, and data that is gone at once."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from compose.state.index import Index

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


def test_a_volume_that_the_file_calls_external_by_now_outlives_down(stack: Stack) -> None:
    service = "services:\n  box: {image: IMAGE, command: [sleep, infinity], volumes: ['data:/data']}\n"
    stack.write(f"{service}volumes: {{data: {{}}}}\n")
    stack.up()
    stack.shell("box", "echo kept > /data/file")
    stack.write(f"{service}volumes: {{data: {{external: true, name: {stack.name}_data}}}}\n")
    stack.run("down", "-v")
    stack.up()
    assert stack.shell("box", "cat /data/file") == "kept"
    stack.write(f"{service}volumes: {{data: {{}}}}\n")  # so that it goes at last


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


TWO_SEEDS = """
services:
  one: {build: {context: ., args: {NAME: one}}, command: [sleep, infinity], volumes: ["data:/seed"]}
  two: {build: {context: ., args: {NAME: two}}, command: [sleep, infinity], volumes: ["data:/seed"]}
volumes: {data: {}}
"""


def seeds(stack: Stack, number: int = 300) -> None:
    stack.write(
        "FROM IMAGE\nARG NAME\n"
        f"RUN mkdir -p /seed/d && for i in $(seq {number}); do echo $NAME > /seed/d/$NAME-$i; done\n"
        "RUN chown 1000 /seed && chmod 750 /seed\n",
        "Dockerfile",
    )


def test_two_services_that_share_a_new_volume_do_not_mix_their_content(stack: Stack) -> None:
    seeds(stack)
    stack.write(TWO_SEEDS)
    stack.run("build")
    stack.up()
    seen = [stack.shell(service, "ls /seed/d | cut -d - -f 1 | sort | uniq -c") for service in ("one", "two")]
    assert seen[0] == seen[1]
    assert seen[0].split() in (["300", "one"], ["300", "two"])
    assert stack.shell("one", "stat -c '%u %a' /seed") == "1000 750"


def test_a_kill_in_the_middle_of_the_copy_leaves_no_half_filled_volume(stack: Stack) -> None:
    seeds(stack, 2000)
    stack.write(TWO_SEEDS.replace("  two:", "  x-two:"))
    stack.run("build")
    volume = f"{stack.paths.volumes}/{stack.name}_data"
    for _attempt in range(3):
        with stack.start("up", "-d") as process:
            while process.poll() is None and not copying(volume):
                pass
            process.kill()
            process.communicate()
        with contextlib.suppress(FileNotFoundError):
            assert os.listdir(f"{volume}/data") in ([], ["d"])
            assert len(os.listdir(f"{volume}/data/d")) == 2000
    stack.up()
    assert stack.shell("one", "ls /seed/d | wc -l; stat -c '%u %a' /seed") == "2000\n1000 750"
    assert os.listdir(volume) == ["data"]


def copying(volume: str) -> bool:
    """Whether a copy is under way, and some of it done."""
    try:
        return any(
            name.startswith("filling.") and os.listdir(f"{volume}/{name}/d") for name in os.listdir(volume)
        )
    except FileNotFoundError:
        return False


def test_each_container_has_anonymous_volumes_and_they_are_renewed_on_request(
    stack: Stack,
) -> None:
    stack.write(
        "FROM IMAGE\nRUN mkdir -p /of/image && echo seed > /of/image/file\nVOLUME /of/image\n", "Dockerfile"
    )
    stack.write("""
services:
  box:
    build: .
    command: [sleep, infinity]
    scale: 2
    volumes: [{type: volume, target: /labelled, volume: {labels: {a.b: c}}}]
""")
    stack.up()
    both = {index: ("exec", "-T", "--index", index, "box", "sh", "-c") for index in ("1", "2")}
    for index, shell in both.items():
        stack.run(*shell, f"echo {index} > /of/image/own; echo {index} > /labelled/own")
    stack.up("--force-recreate")
    see = "cat /of/image/own /labelled/own /of/image/file"
    assert [stack.run(*shell, see) for shell in both.values()] == ["1\n1\nseed\n", "2\n2\nseed\n"]
    stack.up("--force-recreate", "--renew-anon-volumes")
    assert [stack.run(*shell, "ls /of/image /labelled | tr '\\n' ' '") for shell in both.values()] == [
        "/labelled:  /of/image: file "
    ] * 2
    with contextlib.closing(Index(stack.paths)) as found:
        labels = [row.labels for row in found.volumes(stack.name) if row.key == "/labelled"]
    assert labels and all(one == {"a.b": "c"} for one in labels)
