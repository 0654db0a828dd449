"""`volumes_from`: what other containers have mounted, here as well."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.command import Stack

BASE = """
services:
  lender:
    image: IMAGE
    command: [sleep, infinity]
    volumes: ["data:/named", /anonymous, "./conf:/conf:ro", "./conf/file:/etc/file"]
    tmpfs: [/scratch]
    secrets: [token]
  box:
    image: IMAGE
    command: [sleep, infinity]
    volumes: ["own:/conf"]
    volumes_from: [lender]
  reader:
    image: IMAGE
    command: [sleep, infinity]
    volumes_from: ["box:ro"]
volumes: {data: {}, own: {}}
secrets: {token: {file: conf/file}}
"""


def written(stack: Stack) -> None:
    stack.write("one\n", "conf/file")
    stack.write(BASE)


def test_all_mounts_of_a_service_are_there_and_its_own_win(stack: Stack) -> None:
    written(stack)
    said = stack.up()
    assert "warning" not in said
    assert said.index("lender-1  Created") < said.index("box-1  Created") < said.index("reader-1  Created")
    stack.shell("lender", "echo a > /named/x; echo b > /anonymous/x")
    for service in ("box", "reader"):
        seen = "cat /named/x /anonymous/x /etc/file /run/secrets/token; ls /conf | wc -l; ls -d /scratch"
        assert stack.shell(service, f"{seen} 2>/dev/null || echo none") == "a\nb\none\none\n0\nnone"
    assert stack.shell("box", "touch /named/y /conf/y && echo ok") == "ok"
    tries = (
        "for d in /named /anonymous /conf /etc/file; do touch $d/z $d 2>/dev/null && echo $d; done; echo end"
    )
    assert stack.shell("reader", tries) == "end"


def test_a_borrower_is_made_again_with_the_one_it_borrows_from(stack: Stack) -> None:
    written(stack)
    stack.up()
    stack.shell("box", "echo kept > /anonymous/x")
    before = stack.ids()
    stack.write(BASE.replace("[/scratch]", "[/scratch, /more]"))
    plan = stack.run("up", "--dry-run")
    assert f"{stack.name}-lender-1, whose mounts it has, is recreated" in plan
    stack.up()
    after = stack.ids()
    assert all(before[name] != after[name] for name in before)
    assert stack.shell("reader", "cat /anonymous/x") == "kept"
    stack.up("-V", "--force-recreate")
    assert stack.shell("reader", "ls /anonymous | wc -l") == "0"
    stack.shell("lender", "touch /anonymous/new")
    assert stack.shell("box", "ls /anonymous") == "new"
    stack.up()
    assert stack.ids() == stack.ids()


def test_a_container_of_another_project_lends_and_keeps_its_volumes(stack: Stack) -> None:
    written(stack)
    stack.up("lender")
    stack.shell("lender", "echo lent > /anonymous/x")
    other = f"{stack.name}-other"
    stack.write(
        f"""
services:
  guest:
    image: IMAGE
    command: [sleep, infinity]
    volumes_from: ["container:{stack.name}-lender-1:ro"]
""",
        "other.yaml",
    )
    stack.run("-p", other, "-f", "other.yaml", "up", "-d")
    see = ("-p", other, "-f", "other.yaml", "exec", "-T", "guest", "cat", "/anonymous/x")
    assert stack.run(*see) == "lent\n"
    stack.run("rm", "-sfv", "lender")
    assert stack.run(*see) == "lent\n"
    stack.run("-p", other, "-f", "other.yaml", "down", "-v", "-t", "0")
    stack.run("down", "-v")
    assert os.listdir(f"{stack.paths.data}/volumes") == []


def test_what_cannot_be_borrowed_is_said(stack: Stack) -> None:
    for entry, said in {
        "container:nobody": "volumes_from: there is no container nobody to share with",
        "lender:write": "volumes_from: lender:write: there is no mode write",
        "nothing": "there is no service `nothing`",
    }.items():
        stack.write(f"""
services:
  lender: {{image: IMAGE, command: [sleep, infinity]}}
  box: {{image: IMAGE, volumes_from: ["{entry}"]}}
""")
        text = stack.fails("up", "-d")
        assert said in text and "compose.yaml:4:" in text, text
