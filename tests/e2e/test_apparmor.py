"""Which AppArmor profile containers run under, and what it keeps them from; nothing where a host has none."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from compose.runtime.container import apparmor
from compose.runtime.container.modules import has_apparmor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Stack

KERNEL = has_apparmor()
HERE = bool(apparmor.default())
"""Whether profiles can be loaded: a host whose kernel has AppArmor may lack the program for it."""
OWN = f"pycompose-test-{os.getpid()}"
PROFILE = f"""
profile {OWN} flags=(attach_disconnected,mediate_deleted) {{
  file,
  network,
  capability,
  signal,
  deny /denied/** rwklx,
}}
"""
SHOW = "(cat /proc/self/attr/apparmor/current || cat /proc/self/attr/current) 2>/dev/null"
DENIED = "mkdir /denied; echo x 2>/dev/null >/denied/file && echo written || echo refused"
MOUNT = "mkdir /m; mount -t tmpfs none /m 2>/dev/null && echo mounted || echo refused"


@pytest.fixture
def own() -> Iterator[str]:
    """A profile that the host has loaded, where it has any."""
    if HERE:
        subprocess.run([str(apparmor._parser()), "-Kr"], input=PROFILE.encode(), check=True)
    yield OWN
    if HERE:
        subprocess.run([str(apparmor._parser()), "-R"], input=PROFILE.encode(), check=True)


def test_a_container_runs_under_its_profile(stack: Stack, own: str) -> None:
    stack.write(f"""
services:
  named: &named
    image: IMAGE
    command: [sh, -c, "{SHOW}; {DENIED}; exec sleep 1000"]
    security_opt: [apparmor={own}]
  init: {{<<: *named, init: true, user: app, command: [sh, -c, "{SHOW}"]}}
  plain:
    image: IMAGE
    command: [sh, -c, "{SHOW}; {MOUNT}; exec sleep 1000"]
    cap_add: [SYS_ADMIN]
    healthcheck: {{test: "{SHOW} > /label; true", interval: 1s}}
  dockers: {{image: IMAGE, command: [sh, -c, "{SHOW}"], security_opt: ["apparmor:docker-default"]}}
  unconfined:
    image: IMAGE
    command: [sh, -c, "{SHOW}; {MOUNT}"]
    cap_add: [SYS_ADMIN]
    security_opt: [apparmor=unconfined]
  privileged: {{image: IMAGE, command: [sh, -c, "{SHOW}; {MOUNT}"], privileged: true}}
""")
    if KERNEL and not HERE:
        assert f"confine it by {own}" in stack.fails("up", "-d")
        stack.run("up", "-d", "plain", "unconfined")
        for service in ("plain", "unconfined"):
            while len(found := stack.run("logs", "--no-log-prefix", service).splitlines()) < 2:
                stack.shell("plain", "sleep 0.05")
            assert found == ["unconfined", "mounted"]
        return
    said = stack.up()
    assert (f"no AppArmor: apparmor={own} has no effect" in said) == (not HERE)

    def output(service: str, lines: int) -> list[str]:
        while len(found := stack.run("logs", "--no-log-prefix", service).splitlines()) < lines:
            stack.shell("named", "sleep 0.05")
        return found

    if not HERE:
        assert output("named", 1)[-1] == "written" and output("plain", 1)[-1] == "mounted"
        return
    assert output("named", 2) == [f"{own} (enforce)", "refused"]
    assert output("init", 1) == [f"{own} (enforce)"]
    assert output("plain", 2) == [f"{apparmor.NAME} (enforce)", "refused"]
    assert output("dockers", 1)[0].removesuffix(" (enforce)") in (apparmor.NAME, apparmor.DOCKERS)
    for service in ("unconfined", "privileged"):
        assert output(service, 2) == ["unconfined", "mounted"]
    assert stack.shell("named", f"{SHOW}; {DENIED}").splitlines()[-2:] == [f"{own} (enforce)", "refused"]
    stack.run("up", "-d", "--wait", "plain")
    assert stack.shell("plain", "cat /label") == f"{apparmor.NAME} (enforce)"
    assert stack.shell("plain", "sleep 100 & kill -TERM $! && readlink /proc/1/exe") == "/bin/busybox"


def test_a_profile_that_is_not_loaded_is_named(stack: Stack) -> None:
    stack.write("services: {a: {image: IMAGE, command: ['true'], security_opt: ['apparmor=no-such']}}\n")
    if KERNEL:
        assert "confine it by no-such" in stack.fails("up", "-d")
    else:
        assert "apparmor=no-such has no effect" in stack.up()


def test_steps_of_a_build_run_under_the_default_profile(stack: Stack) -> None:
    stack.write(f"FROM IMAGE\nRUN {SHOW} > /label || echo none > /label\n", "made/Dockerfile")
    built = f"pycompose-test/apparmor-{os.getpid()}"
    stack.write(f"services: {{a: {{build: made, image: {built}, command: [cat, /label]}}}}\n")
    stack.up()
    label = stack.run("logs", "-f", "--no-log-prefix").strip()
    assert label == f"{apparmor.NAME} (enforce)" or (not HERE and "pycompose" not in label)
    stack.run("down", "--rmi", "all", "-t", "0")
