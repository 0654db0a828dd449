"""Hooks around the life of a container: before it starts, once it runs, before it is stopped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.command import Stack


def states(stack: Stack) -> dict[str, str]:
    return {one["Service"]: one["State"] for one in stack.ps("--all").values()}


def test_post_start_runs_in_the_container_as_it_is_told(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: IMAGE
    command: sh -c 'mkfifo /go; read x < /go; sleep 1000'
    user: app
    working_dir: /tmp
    environment: {A: of the service, B: of the service}
    post_start:
      - command: [sh, -c, 'pwd; id -un; echo "$$A, $$B"; grep CapEff /proc/self/status | cut -f 2']
        environment: {B: of the hook}
      - command: sh -c "pwd; id -un; grep CapEff /proc/self/status | cut -d 0 -f 4-"
        user: root
        working_dir: /
        privileged: true
  next: {image: IMAGE, command: sleep 1000, depends_on: [web]}
""")
    told = [line.split(" | ", 1) for line in stack.up().splitlines() if " | " in line]
    first = [text for what, text in told if what.endswith("web-1 post_start[0]")]
    assert first == ["/tmp", "app", "of the service, of the hook", "0000000000000000"]
    second = [text for what, text in told if what.endswith("web-1 post_start[1]")]
    assert second[:2] == ["/", "root"]
    assert int(second[2], 16) > 1 << 32
    assert "post_start" not in stack.up()  # it runs already


def test_a_failing_post_start_ends_up_and_the_container_runs_on(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: IMAGE
    command: sleep 1000
    post_start: [{command: sh -c "echo why; exit 3"}, {command: touch /second}]
  next: {image: IMAGE, command: sleep 1000, depends_on: [web]}
""")
    error = stack.fails("up", "-d")
    assert f"{stack.name}-web-1 post_start[0] failed: it exited with 3: why" in error
    assert states(stack) == {"web": "running", "next": "created"}
    assert stack.shell("web", "ls /second 2>&1 || true").endswith("No such file or directory")


def test_a_container_that_ends_before_its_hook_is_what_is_told(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: IMAGE, command: sh -c "exit 5", post_start: [{command: sleep 1000}]}
""")
    assert f"{stack.name}-web-1 post_start[0]: {stack.name}-web-1 exited (5)" in stack.fails("up", "-d")


def test_a_hook_may_leave_something_running(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: IMAGE, command: sleep 1000, post_start: [{command: sh -c "echo begun; sleep 900 &"}]}
""")
    assert "post_start[0] | begun" in stack.up()
    assert "sleep 900" in stack.shell("web", "ps -o args")


def test_pre_stop_runs_before_the_signal_and_may_keep_it_running(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: IMAGE
    command: sleep 1000
    volumes: [./out:/out]
    pre_stop: [{command: sh -c "echo $$(pidof sleep) > /out/$$HOSTNAME; test ! -e /out/refuse"}]
    hostname: web
""")
    stack.up()
    (stack.directory / "out" / "refuse").touch()
    recreate = stack.fails("up", "-d", "--force-recreate")
    assert "web-1 pre_stop[0] failed: it exited with 1" in recreate
    assert states(stack) == {"web": "running"}
    assert (stack.directory / "out" / "web").read_text() == "1\n"
    error = stack.fails("down")  # reported, and everything goes nevertheless
    assert "pre_stop[0] failed" in error
    assert states(stack) == {}


SHOW = "{ pwd; id -un; echo $$A; grep CapEff /proc/self/status | cut -f 2; } > /out/NAME"
OPTIONS = "user: root, privileged: true, working_dir: /etc, environment: [A=of the hook]"


def test_hooks_before_the_start_and_the_stop_run_as_they_are_told(stack: Stack) -> None:
    other = f"pycompose-test/{stack.name}-other"
    steps = {name: f"{{command: [sh, -c, '{SHOW.replace('NAME', name)}'], {OPTIONS}}}" for name in "ab"}
    stack.write(f"""
services:
  other: {{image: {other}, build: {{dockerfile_inline: "FROM IMAGE\\nRUN echo other > /which"}}, scale: 0}}
  web:
    image: IMAGE
    command: sleep 1000
    user: app
    working_dir: /tmp
    environment: {{A: of the service}}
    volumes: [./out:/out]
    pre_start: [{steps["a"]}, {{command: cp /which /out/c, image: {other}, user: root}}]
    pre_stop: [{steps["b"]}]
""")
    stack.run("build", "other")
    stack.up()
    stack.run("stop", "-t", "0")
    assert (stack.directory / "out" / "c").read_text() == "other\n"
    for name in steps:
        directory, user, variable, capabilities = (stack.directory / "out" / name).read_text().splitlines()
        assert (directory, user, variable) == ("/etc", "root", "of the hook")
        assert int(capabilities, 16) > 1 << 32


PREPARED = """
services:
  web:
    image: IMAGE
    command: cat /data/steps
    user: app
    environment: {WHO: world}
    volumes: [data:/data, ./out:/out]
    networks: {default: {aliases: [shop]}}
    depends_on: [db]
    pre_start:
      - {command: sh -c "ping -c1 -W5 db >/dev/null && id -u > /data/steps && chown -R app /data", user: root}
      - {command: sh -c "echo hello $$WHO >> /data/steps; touch /gone; test ! -e /out/fail"}
      - {command: sh -c "echo replica >> /data/replicas", per_replica: true}
  db: {image: IMAGE, command: sleep 1000}
volumes: {data: {}}
"""


def runs(stack: Stack) -> str:
    """What the steps have written, all of them together."""
    with open(f"{stack.paths.volumes}/{stack.name}_data/data/steps") as file:
        return file.read()


def test_pre_start_runs_before_it_starts_in_containers_of_their_own(stack: Stack) -> None:
    stack.write(PREPARED)
    stack.run("up", "--wait", "db")
    stack.up()
    web = stack.ids()[f"{stack.name}-web-1"]
    assert stack.run("logs", "--follow", "--no-log-prefix", "web") == "0\nhello world\n"
    (directory,) = [name for name in os.listdir(stack.paths.containers) if name.startswith(web)]
    assert not os.path.exists(f"{stack.paths.container(directory)}/upper/gone")
    assert not os.path.exists(f"{stack.paths.container(directory)}/hook")
    stack.up("--scale", "web=3")
    replicas = f"{stack.paths.volumes}/{stack.name}_data/data/replicas"
    with open(replicas) as file:
        assert file.read() == "replica\n" * 3
    assert runs(stack) == "0\nhello world\n"  # once, however many there are
    stack.up("--force-recreate", "--scale", "web=2")
    with open(replicas) as file:
        assert file.read() == "replica\n" * 5


def test_a_failing_pre_start_keeps_it_from_starting_and_runs_again(stack: Stack) -> None:
    stack.write(PREPARED)
    out = stack.directory / "out"
    out.mkdir()
    (out / "fail").touch()
    error = stack.fails("up", "-d")
    assert "web pre_start[1] failed: it exited with 1" in error
    assert "web-1 is not started" in error
    assert states(stack) == {"web": "created", "db": "running"}
    (out / "fail").unlink()
    stack.up()
    assert runs(stack) == "0\nhello world\nhello world\n"  # the first step had succeeded
    stack.write(PREPARED.replace("hello $$WHO", "bye $$WHO"))
    stack.up()
    assert runs(stack) == "0\nhello world\nhello world\nbye world\n"


def test_a_pre_start_of_another_image_that_is_not_there(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: IMAGE
    command: sleep 1000
    pull_policy: never
    pre_start: [{image: nobody/has-this, command: 'true'}]
""")
    assert "fetch image nobody/has-this  (pre_start of web)" in stack.run("up", "--dry-run")


def test_a_pre_start_shares_no_processes(stack: Stack) -> None:
    stack.write("""
services:
  db: {image: IMAGE, command: sleep 1000, ipc: shareable}
  web:
    image: IMAGE
    command: sleep 1000
    pid: service:db
    ipc: service:db
    network_mode: service:db
    pre_start: [{command: sh -c "echo $$$$; ls /dev/shm | wc -l; hostname -i"}]
""")
    told = [line.split(" | ")[1] for line in stack.up().splitlines() if "pre_start[0] | " in line]
    assert told[:2] == ["1", "0"]
    assert told[2] == stack.shell("db", "hostname -i")
