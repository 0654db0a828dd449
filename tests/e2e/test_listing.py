"""`ps`, `ls`, `config` and `version`: what people and scripts read."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from compose import __version__
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from tests.support.command import Stack

MIXED = """
services:
  web: {image: IMAGE, command: [sleep, infinity]}
  job: {image: IMAGE, command: [sh, -c, exit 3]}
"""


@pytest.fixture
def mixed(stack: Stack) -> Stack:
    stack.write(MIXED)
    stack.up()
    with stack.start("logs", "-f", "job") as process:
        process.communicate(timeout=MOMENT)  # ends with the job
    return stack


def test_ps_lists_what_runs_and_with_all_what_has_ended(mixed: Stack) -> None:
    assert list(mixed.ps()) == [f"{mixed.name}-web-1"]
    found = mixed.ps("--all")
    job, web = found[f"{mixed.name}-job-1"], found[f"{mixed.name}-web-1"]
    assert (job["State"], job["ExitCode"], job["Service"]) == ("exited", 3, "job")
    assert (web["State"], web["ExitCode"], web["Project"]) == ("running", 0, mixed.name)
    assert web["Networks"] == f"{mixed.name}_default"
    assert job["Status"].startswith("Exited (3)") and web["Status"].startswith("Up ")


def test_ps_as_a_table_has_the_columns_that_people_know(mixed: Stack) -> None:
    head, *rows = mixed.run("ps", "-a").splitlines()
    assert head.split() == ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]
    assert len(rows) == 2


def test_ps_in_short_forms(mixed: Stack) -> None:
    assert mixed.run("ps", "--services") == "web\n"
    assert (
        mixed.run("ps", "-q") == mixed.ps()[f"{mixed.name}-web-1"]["ID"] + "\n"
        or len(mixed.run("ps", "-q").strip()) == 64
    )


def test_ls_lists_projects(mixed: Stack) -> None:
    (found,) = json.loads(mixed.run("ls", "--format", "json"))
    assert (found["Name"], found["Status"]) == (mixed.name, "running(1)")
    assert found["ConfigFiles"] == str(mixed.directory / "compose.yaml")
    assert mixed.run("ls", "-q") == f"{mixed.name}\n"
    (everything,) = json.loads(mixed.run("ls", "-a", "--format", "json"))
    assert everything["Status"] == "exited(1), running(1)"


def test_config_prints_the_whole_project(mixed: Stack) -> None:
    found = json.loads(mixed.run("config", "--format", "json"))
    assert found["name"] == mixed.name
    assert found["services"]["web"]["command"] == ["sleep", "infinity"]
    assert found["networks"] == {"default": {"name": f"{mixed.name}_default", "ipam": {}}}
    assert sorted(mixed.run("config", "--services").split()) == ["job", "web"]
    assert mixed.run("config", "--quiet") == ""


def test_config_says_the_same_when_it_reads_its_own_output(mixed: Stack) -> None:
    first = mixed.run("config")
    mixed.write(first)
    assert mixed.run("config") == first


def test_version(stack: Stack) -> None:
    assert stack.run("version") == f"pycompose version {__version__}\n"
    assert stack.run("version", "--short") == f"{__version__}\n"
    assert stack.run("--version") == f"pycompose version {__version__}\n"


def test_every_command_explains_itself(stack: Stack) -> None:
    for command in ("build", "config", "down", "exec", "logs", "ls", "ps", "up", "version"):
        assert command in stack.run("--help")
        assert f"pycompose {command}" in stack.run(command, "--help")


def test_ls_filters_by_name(mixed: Stack) -> None:
    middle = mixed.name[1:-1]
    assert mixed.run("ls", "-q", "--filter", f"name={middle}") == f"{mixed.name}\n"
    assert mixed.run("ls", "-q", "--filter", f"name=^{middle}") == ""
    for wrong in ("status=running", "name=["):
        assert mixed.try_run("ls", "--filter", wrong).code == 2


PUBLISHED = """
services:
  web:
    image: IMAGE
    command: [sh, -c, "sleep 1000 "]
    ports: ["127.0.0.1::81", "127.0.0.1::80"]
    volumes: [/anonymous, "data:/data"]
    labels: {a.b: c}
volumes: {data: {labels: {d: e}}}
"""


def test_templates_reach_into_what_there_is(stack: Stack) -> None:
    stack.write(PUBLISHED)
    stack.up()
    assert stack.run("ps", "--format", "{{range .Publishers}}{{.TargetPort}} {{end}}") == "80 81 \n"
    assert stack.run("ps", "--format", '{{.Label "a.b"}} {{.Command}}') == "c \"sh -c 'sleep 1000 '\"\n"
    chosen = '{{if eq .State "running"}}{{.Service}}{{else}}no{{end}}'
    assert stack.run("ps", "--format", chosen) == "web\n"
    assert sorted(map(len, stack.run("ps", "--format", "{{.Mounts}}").strip().split(","))) == sorted(
        [len(f"{stack.name}_data"[:15]), 15]
    )
    labels = '{{.Label "com.docker.compose.volume"}} {{.Label "d"}}'
    assert stack.run("volumes", "--format", labels) == "data e\n"


LABELLED = """
services:
  web:
    image: IMAGE
    command: [sleep, infinity]
    container_name: NAME-web
    depends_on:
      job: {condition: service_completed_successfully}
      db: {condition: service_started, restart: true}
  db: {image: IMAGE, command: [sleep, infinity], labels: {com.docker.compose.project: other, a: b}}
  job: {image: IMAGE, command: ["true"]}
"""
OWN = "com.docker.compose."


def own_labels(stack: Stack) -> dict[str, dict[str, str]]:
    """The labels of ours that each container has, by its name."""
    words = {name: re.split(r",(?=[\w.-]+=)", row["Labels"]) for name, row in stack.ps("--all").items()}
    return {
        name: dict(one.removeprefix(OWN).split("=", 1) for one in labels if one.startswith(OWN))
        for name, labels in words.items()
    }


def test_containers_have_the_labels_by_which_tools_know_those_of_docker_compose(stack: Stack) -> None:
    stack.write(LABELLED.replace("NAME", stack.name))
    stack.write("A=1\n", "settings.env")
    stack.up()
    found = own_labels(stack)
    web, db = found[f"{stack.name}-web"], found[f"{stack.name}-db-1"]
    assert len(web.pop("config-hash")) == 64 and web.pop("image").startswith("sha256:")
    assert web == {
        "container-number": "1",
        "depends_on": "db:service_started:true,job:service_completed_successfully:false",
        "oneoff": "False",
        "project": stack.name,
        "project.config_files": f"{stack.directory}/compose.yaml",
        "project.working_dir": str(stack.directory),
        "service": "web",
        "version": __version__,
    }
    assert db["depends_on"] == "" and db["project"] == stack.name

    before = {name: row["ID"] for name, row in stack.ps().items()}
    stack.run("--env-file", "settings.env", "up", "-d")
    assert {name: row["ID"] for name, row in stack.ps().items()} == before  # labels make nothing anew

    stack.run("--env-file", "settings.env", "up", "-d", "--force-recreate", "-t", "0")
    found = own_labels(stack)
    replaced = {name: labels["replace"] for name, labels in found.items()}
    assert replaced == {f"{stack.name}-{one}": one for one in ("db-1", "job-1")} | {
        f"{stack.name}-web": f"{stack.name}-web"
    }
    files = {labels["project.environment_file"] for labels in found.values()}
    assert files == {f"{stack.directory}/settings.env"}


def test_the_container_of_a_run_says_in_its_labels_which_one_it_is(stack: Stack) -> None:
    stack.write("services: {web: {image: IMAGE}}")
    stack.run("run", "-d", "web", "sleep", "infinity")
    ((name, labels),) = own_labels(stack).items()
    assert (labels["oneoff"], labels["service"], "container-number" in labels) == ("True", "web", False)
    assert len(labels["slug"]) == 64 and name == f"{stack.name}-web-run-{labels['slug'][:12]}"


def test_a_project_that_is_named_is_not_read_from_the_file_of_another(stack: Stack) -> None:
    stack.write("services: {box: {image: IMAGE, command: [sleep, infinity]}}")
    stack.up()
    elsewhere = stack.directory / "elsewhere"
    stack.write("services: {other: }", "elsewhere/compose.yaml")
    for arguments in (
        ["ps", "-q"],
        ["exec", "-T", "box", "true"],
        ["restart", "-t", "0"],
        ["down", "-t", "0"],
    ):
        with stack.start("-p", stack.name, *arguments, cwd=elsewhere) as process:
            _, errors = process.communicate(timeout=MOMENT)
        assert process.returncode == 0, errors
        assert "not in the file" not in errors
    assert stack.run("ls", "-aq") == ""


def test_commands_know_services_whose_profile_is_not_active(stack: Stack) -> None:
    stack.write("services: {box: {image: IMAGE, profiles: [x]}}")
    for arguments in (["exec", "box", "true"], ["port", "box", "80"], ["wait", "box"], ["attach", "box"]):
        done = stack.try_run(*arguments)
        assert (done.code, "no such service" in done.err) == (1, False), done.err
    assert stack.try_run("logs", "--index", "1").code == 2
