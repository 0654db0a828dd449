"""Mounts of type image: the files of another image, read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.command import Stack

DOCKERFILE = """
FROM IMAGE
RUN mkdir -p /site/inner && echo VERSION > /site/page && echo inner > /site/inner/file
RUN rm /etc/group && ln -s /site /short && ln -s ../../../../../../etc /site/out && ln -s loop /site/loop
"""
STACK = """
services:
  box:
    image: IMAGE
    command: [sleep, infinity]
    volumes:
      - {type: image, source: PROJECT-content, target: /whole}
      - {type: image, source: PROJECT-content, target: /part, image: {subpath: site/inner}}
      - {type: image, source: PROJECT-content, target: /etc/page, image: {subpath: short/page}}
      - {type: image, source: PROJECT-content, target: /inside, image: {subpath: site/out}}
      - {type: image, source: IMAGE, target: /own}
  borrower: {image: PROJECT-content, command: [sleep, infinity], volumes_from: [box]}
  content: {build: ., image: PROJECT-content, command: ["true"]}
"""


def test_an_image_is_seen_whole_or_in_part_and_cannot_be_written(stack: Stack) -> None:
    stack.write(DOCKERFILE.replace("VERSION", "one"), "Dockerfile")
    stack.write(STACK.replace("PROJECT", stack.name))
    assert "warning" not in stack.up()
    for service in ("box", "borrower"):
        see = (
            "cat /whole/site/page /part/file /etc/page; ls /whole/etc/group 2>/dev/null; ls /own/bin/busybox"
        )
        assert stack.shell(service, see) == "one\ninner\none\n/own/bin/busybox"
        assert stack.shell(service, "cat /inside/passwd") == stack.shell(service, "cat /whole/etc/passwd")
        tries = "for f in /whole /part /etc/page /own /own/bin; do touch $f $f/x 2>/dev/null && echo $f; done"
        assert stack.shell(service, f"{tries}; echo end") == "end"
    assert stack.shell("box", "touch /x && ls /own/x 2>/dev/null || echo apart") == "apart"


def test_cp_sees_the_mounted_image_of_a_container_that_does_not_run(stack: Stack) -> None:
    stack.write(DOCKERFILE.replace("VERSION", "one"), "Dockerfile")
    stack.write(STACK.replace("PROJECT", stack.name))
    stack.up("--no-start")
    stack.run("cp", "box:/whole/site/page", "copied")
    assert (stack.directory / "copied").read_text() == "one\n"
    stack.run("cp", "box:/part/file", "copied")
    assert (stack.directory / "copied").read_text() == "inner\n"


def test_a_newer_image_makes_the_container_again(stack: Stack) -> None:
    stack.write(DOCKERFILE.replace("VERSION", "one"), "Dockerfile")
    stack.write(STACK.replace("PROJECT", stack.name))
    stack.up()
    stack.up()
    before = stack.ids()
    stack.write(DOCKERFILE.replace("VERSION", "two"), "Dockerfile")
    stack.up("--build")
    assert stack.shell("box", "cat /whole/site/page") == "two"
    assert stack.ids()[f"{stack.name}-box-1"] != before[f"{stack.name}-box-1"]


def test_what_is_not_in_the_image_is_said(stack: Stack) -> None:
    for subpath, said in {
        "nothing/here": "nothing/here: No such file or directory",
        "site/loop": "Too many levels of symbolic links",
        "proc/../..": "leads out",
    }.items():
        stack.write(f"""
services:
  box:
    build: .
    image: {stack.name}-content
    volumes: [{{type: image, source: {stack.name}-content, target: /m, image: {{subpath: {subpath}}}}}]
""")
        stack.write(DOCKERFILE.replace("VERSION", "one"), "Dockerfile")
        assert said in stack.fails("up", "-d"), subpath
    stack.write(f"""
services:
  box: {{image: IMAGE, volumes: [{{type: image, source: {stack.name}-content, target: /etc/passwd}}]}}
""")
    assert "a file cannot be mounted on a directory, nor a directory on a file" in stack.fails("up", "-d")
