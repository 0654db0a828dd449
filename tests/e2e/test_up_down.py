"""`up` reaches what the file says and `down` takes it away, whatever was there before."""

from __future__ import annotations

import socket
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.support.patience import MOMENT
from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.support.command import Stack

TWO = """
services:
  web:
    image: IMAGE
    command: [sleep, infinity]
    environment: {COLOUR: red}
    depends_on: [db]
  db:
    image: IMAGE
    command: [sleep, infinity]
    volumes: [data:/data]
volumes:
  data: {}
"""


def test_up_starts_every_service_and_down_takes_them_away(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    states = {name: one["State"] for name, one in stack.ps().items()}
    assert states == {f"{stack.name}-web-1": "running", f"{stack.name}-db-1": "running"}
    stack.run("down")
    assert stack.ps("--all") == {}


def test_up_a_second_time_does_nothing(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    before = stack.ids()
    started = stack.shell("web", "cut -d ' ' -f 22 /proc/1/stat")
    assert stack.run("up", "-d", "--dry-run") == "nothing to do\n"
    names = (f"{stack.name}-db-1", f"{stack.name}-web-1")
    assert stack.up() == "".join(f" Container {name}  Running\n" for name in names)
    assert stack.ids() == before
    assert stack.shell("web", "cut -d ' ' -f 22 /proc/1/stat") == started


def test_a_changed_service_is_recreated_alone_and_the_plan_says_why(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    before = stack.ids()
    stack.write(TWO.replace("red", "blue"))
    plan = stack.run("up", "-d", "--dry-run")
    assert "environment.COLOUR" in plan
    assert "red" not in plan
    stack.up()
    after = stack.ids()
    assert after[f"{stack.name}-db-1"] == before[f"{stack.name}-db-1"]
    assert after[f"{stack.name}-web-1"] != before[f"{stack.name}-web-1"]
    assert stack.shell("web", "echo $COLOUR") == "blue"


def test_dry_run_changes_nothing(stack: Stack) -> None:
    stack.write(TWO)
    plan = stack.run("up", "--dry-run")
    assert f"{stack.name}-web-1" in plan
    assert stack.ps("--all") == {}
    stack.up()
    before = stack.ids()
    plan = stack.run("down", "--dry-run")
    assert f"{stack.name}-web-1" in plan
    assert stack.ids() == before


def test_up_brings_an_exited_service_back(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    before = stack.ids()
    stack.try_run("exec", "-T", "web", "kill", "-9", "1")
    stack.write(TWO.replace("[sleep, infinity]", '["sh", "-c", "exit 0"]', 1))
    stack.up("web")
    stack.write(TWO)
    stack.up()
    assert stack.ps()[f"{stack.name}-web-1"]["State"] == "running"
    assert stack.ids()[f"{stack.name}-db-1"] == before[f"{stack.name}-db-1"]


def test_up_of_one_service_starts_what_it_depends_on_and_no_more(stack: Stack) -> None:
    stack.write(TWO)
    stack.up("db")
    assert list(stack.ps()) == [f"{stack.name}-db-1"]


def test_a_volume_outlives_down_and_not_down_v(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    stack.shell("db", "echo kept > /data/file")
    stack.run("down")
    stack.up()
    assert stack.shell("db", "cat /data/file") == "kept"
    stack.run("down", "--volumes")
    stack.up()
    assert stack.shell("db", "ls /data") == ""


def test_what_no_service_uses_is_made_on_request_only(stack: Stack) -> None:
    stack.write(
        """
services:
  a: {image: IMAGE, command: [sleep, infinity]}
networks: {spare: {}}
volumes: {spare: {}}
"""
    )
    assert "spare" not in stack.run("up", "-d", "--dry-run")
    assert "spare" in stack.run("--all-resources", "up", "-d", "--dry-run")
    stack.run("--all-resources", "up", "-d")
    assert f"{stack.name}_spare" in stack.run("volumes")
    stack.write(
        f"services: {{b: {{image: IMAGE, command: [sleep, infinity], networks: [n]}}}}\n"
        f"networks: {{n: {{external: true, name: {stack.name}_spare}}}}\n",
        "other.yaml",
    )
    stack.run("-f", "other.yaml", "-p", f"{stack.name}b", "up", "-d")
    stack.run("-f", "other.yaml", "-p", f"{stack.name}b", "down")
    stack.run("down", "-v")
    assert "spare" not in stack.run("volumes")


def test_down_twice_is_no_error(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    stack.run("down", "-v")
    stack.run("down", "-v")


def test_an_orphan_is_named_and_removed_on_request(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    stack.write("services:\n  db:\n    image: IMAGE\n    command: [sleep, infinity]\n")
    assert f"{stack.name}-web-1" in stack.up()
    assert f"{stack.name}-web-1" in stack.ids()
    stack.up("--remove-orphans")
    assert list(stack.ids()) == [f"{stack.name}-db-1"]


def test_a_service_has_as_many_containers_as_asked(stack: Stack) -> None:
    stack.write("services:\n  web:\n    image: IMAGE\n    command: [sleep, infinity]\n    scale: 2\n")
    stack.up()
    before = stack.ids()
    assert sorted(before) == [f"{stack.name}-web-1", f"{stack.name}-web-2"]
    stack.up("--scale", "web=3")
    assert sorted(stack.ids()) == [f"{stack.name}-web-{number}" for number in (1, 2, 3)]
    assert stack.ids().items() >= before.items()
    stack.up("--scale", "web=1")
    assert list(stack.ids()) == [f"{stack.name}-web-1"]


def test_a_service_waits_until_another_one_is_healthy(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: IMAGE
    command: [sh, -c, "test -e /shared/ready && exec sleep infinity"]
    volumes: [shared:/shared]
    depends_on: {db: {condition: service_healthy}}
  db:
    image: IMAGE
    command: [sh, -c, "sleep 1; touch /shared/ready; exec sleep infinity"]
    volumes: [shared:/shared]
    healthcheck: {test: [CMD, test, -e, /shared/ready], interval: 1s, retries: 300}
volumes: {shared: {}}
""")
    stack.up()
    assert stack.ps()[f"{stack.name}-web-1"]["State"] == "running"
    assert stack.ps()[f"{stack.name}-db-1"]["Health"] == "healthy"


def test_a_service_waits_until_another_one_has_ended_well(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: IMAGE
    command: [sh, -c, "test -e /shared/done && exec sleep infinity"]
    volumes: [shared:/shared]
    depends_on: {job: {condition: service_completed_successfully}}
  job:
    image: IMAGE
    command: [sh, -c, "sleep 1; touch /shared/done"]
    volumes: [shared:/shared]
volumes: {shared: {}}
""")
    stack.up()
    found = stack.ps("--all")
    assert found[f"{stack.name}-web-1"]["State"] == "running"
    assert (found[f"{stack.name}-job-1"]["State"], found[f"{stack.name}-job-1"]["ExitCode"]) == ("exited", 0)


@pytest.mark.parametrize(
    ("condition", "other", "said"),
    [
        ("service_completed_successfully", "command: [sh, -c, 'exit 3']", "3"),
        (
            "service_healthy",
            "command: [sleep, infinity]\n    healthcheck: {test: 'false', interval: 1s, retries: 1}",
            "unhealthy",
        ),
        ("service_healthy", "command: [sh, -c, 'exit 4']\n    healthcheck: {test: 'false'}", "4"),
    ],
)
def test_a_service_whose_condition_fails_is_not_started(
    stack: Stack, condition: str, other: str, said: str
) -> None:
    stack.write(f"""
services:
  web:
    image: IMAGE
    command: [sleep, infinity]
    depends_on: {{other: {{condition: {condition}}}}}
  other:
    image: IMAGE
    {other}
""")
    error = stack.fails("up", "-d")
    assert "other" in error and said in error
    assert f"{stack.name}-web-1" not in stack.ps()


def test_wait_returns_when_everything_is_healthy(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: IMAGE
    command: [sh, -c, "sleep 1; touch /ready; exec sleep infinity"]
    healthcheck: {test: [CMD, test, -e, /ready], interval: 1s, retries: 300}
""")
    stack.run("up", "--wait")
    assert stack.ps()[f"{stack.name}-web-1"]["Health"] == "healthy"


def test_a_published_port_answers_over_http(stack: Stack) -> None:
    port = free_port()
    stack.write(f"""
services:
  web:
    image: IMAGE
    command: [sh, -c, "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"]
    ports: ["127.0.0.1:{port}:80"]
    healthcheck: {{test: wget -q -O /dev/null http://127.0.0.1/, interval: 1s, retries: 300}}
""")
    stack.run("up", "--wait")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=MOMENT) as answer:
        assert answer.read() == b"hello\n"
    assert f"127.0.0.1:{port}->80/tcp" in stack.run("ps")
    stack.run("down")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_a_taken_port_is_an_error_that_names_its_holder_and_nothing_is_made(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stack.write(f"""
services:
  web:
    image: IMAGE
    command: [sleep, infinity]
    ports: ["127.0.0.1:{port}:80"]
""")
        error = stack.fails("up", "-d")
    assert str(port) in error
    assert "pytest" in error or "python" in error
    assert stack.ps() == {}


def test_twenty_times_up_and_down(stack: Stack) -> None:
    """What each round leaves behind adds up, and `nothing_left` sees it."""
    stack.write(TWO)
    for _ in range(20):
        stack.up()
        assert len(stack.ps()) == 2
        stack.run("down", "--volumes")


def test_down_removes_the_images_that_it_is_told_to(stack: Stack) -> None:
    stack.write("FROM IMAGE\nRUN echo built >/built\n", "Dockerfile")
    stack.write("""
services:
  own: {build: ., command: [sleep, infinity]}
  named: {build: ., image: "pycompose-test/named", command: [sleep, infinity]}
""")
    stack.up()
    own, named = f"{stack.name}-own", "pycompose-test/named"
    assert f"remove image {own}  after" in stack.run("down", "--rmi", "local", "--dry-run")
    stack.run("down", "--rmi", "local")
    plan = stack.run("up", "--dry-run")
    assert f"build image {own}" in plan and f"build image {named}" not in plan
    stack.up()
    stack.run("down", "--rmi", "all")
    assert f"build image {named}" in stack.run("up", "--dry-run")


def test_an_image_that_another_project_uses_is_kept(stack: Stack) -> None:
    stack.write("FROM IMAGE\nRUN echo built >/built\n", "Dockerfile")
    stack.write("services: {named: {build: ., image: pycompose-test/shared, command: [sleep, infinity]}}")
    other = f"{stack.name}x"
    try:
        stack.up()
        stack.run("-p", other, "up", "-d")
        done = stack.try_run("down", "--rmi", "all")
        assert done.code == 0 and "it is kept" in done.err
    finally:
        assert stack.try_run("-p", other, "down", "--rmi", "all").code == 0


def test_down_of_one_service_leaves_the_others(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    stack.run("down", "web")
    assert list(stack.ps("--all")) == [f"{stack.name}-db-1"]
    assert stack.shell("db", "echo still there") == "still there"
    stack.run("down", "db")
    assert stack.ps("--all") == {}


def test_compatibility_names_containers_as_docker_compose_1_did(stack: Stack) -> None:
    stack.write("services: {web: {image: IMAGE, command: sleep 1000, deploy: {replicas: 2}}}\n")
    try:
        stack.run("--compatibility", "up", "-d")
        assert set(stack.ids()) == {f"{stack.name}_web_1", f"{stack.name}_web_2"}
        stack.environment["COMPOSE_COMPATIBILITY"] = "1"
        found = stack.shell("web", f"nslookup {stack.name}_web_2 127.0.0.11 >/dev/null && echo found")
        assert found == "found"
        stack.run("run", "-d", "web", "sleep", "1000")
        assert any(f"{stack.name}_web_run_" in name for name in stack.ids())
        stack.environment["COMPOSE_COMPATIBILITY"] = "0"
        stack.up("--scale", "web=1")
        assert f"{stack.name}-web-1" in stack.ids()
        assert f"{stack.name}_web_2" not in stack.ids()
    finally:
        stack.run("down", "-t", "0")
