"""Services and models that other programs provide; the programs are shell scripts here."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Stack

PROVIDER = r"""#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
*metadata) test -e "$CALLS.metadata" && cat "$CALLS.metadata"; exit ;;
*" up "*)
    echo '{"type": "info", "message": "making it"}'
    echo '{"type": "debug", "message": "never shown"}'
    echo '{"type": "get-service-config"}'
    read config
    echo "$config" > "$CALLS.config"
    test ! -e "$CALLS.fail" || { echo '{"type": "error", "message": "no credit"}'; exit 0; }
    echo '{"type": "setenv", "message": "URL=db://'$(cat "$CALLS.url")'"}'
    echo '{"type": "rawsetenv", "message": "TOKEN=a=b"}' ;;
*" down "*) test ! -e "$CALLS.fail" ;;
esac
"""
FILE = """
services:
  database:
    provider: {type: cloud, options: {size: 256, tag: [a, b], flag: true}}
  app:
    image: IMAGE
    command: sleep 1000
    depends_on: [database]
  other: {image: IMAGE, command: sleep 1000}
"""


@pytest.fixture
def calls(stack: Stack, tmp_path: Path) -> Path:
    """What the provider was called with."""
    program = tmp_path / "bin" / "docker-cloud"
    program.parent.mkdir()
    program.write_text(PROVIDER)
    program.chmod(0o755)
    found = tmp_path / "calls"
    (tmp_path / "calls.url").write_text("one")
    stack.environment |= {"PATH": f"{program.parent}:{os.environ['PATH']}", "CALLS": str(found)}
    return found


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if "metadata" not in line]


def reached(stack: Stack, service: str) -> str:
    return stack.shell(service, "echo $DATABASE_URL $TOKEN")


def test_a_provider_makes_a_service_and_says_how_it_is_reached(stack: Stack, calls: Path) -> None:
    stack.write(FILE)
    assert "provider cloud brings up database" in stack.run("up", "--dry-run")
    told = stack.up()
    assert "database | making it" in told
    assert "never shown" not in told
    name = stack.name
    common = f"compose --project-name={name}"
    assert lines(calls) == [f"{common} up --size=256 --tag=a --tag=b --flag=true database"]
    assert json.loads((calls.parent / "calls.config").read_text())["provider"]["type"] == "cloud"
    assert reached(stack, "app") == "db://one a=b"
    assert reached(stack, "other") == ""
    assert set(stack.ps("--all")) == {f"{name}-app-1", f"{name}-other-1"}
    before = stack.ids()[f"{name}-app-1"]
    stack.up("app")
    stack.run("restart", "app")
    assert stack.ids()[f"{name}-app-1"] == before  # the variables are the same
    (calls.parent / "calls.url").write_text("two")
    stack.up()
    assert stack.ids()[f"{name}-app-1"] != before
    assert reached(stack, "app") == "db://two a=b"
    stack.run("stop")  # it does not say that it can be stopped
    assert not [line for line in lines(calls) if " stop" in line]
    (calls.parent / "calls.metadata").write_text('{"description": "x", "up": {"parameters": []}, "stop": {}}')
    stack.run("stop", "database")
    assert lines(calls)[-1] == f"{common} stop database"
    (stack.directory / "compose.yaml").rename(stack.directory / "moved.yaml")
    (calls.parent / "calls.metadata").unlink()
    stack.run("-p", name, "down")
    assert lines(calls)[-1] == f"{common} down --size=256 --tag=a --tag=b --flag=true database"
    assert not os.path.exists(f"{stack.paths.outside}/{name}.json")


def test_a_provider_that_fails_ends_up_before_anything_is_made(stack: Stack, calls: Path) -> None:
    stack.write(FILE)
    (calls.parent / "calls.fail").touch()
    assert "service database: no credit" in stack.fails("up", "-d")
    assert not stack.ids()
    assert "service database: cloud could not remove it: exit code 1" in stack.fails("down")
    (calls.parent / "calls.fail").unlink()
    stack.run("down")


def test_options_are_those_of_the_providers_metadata(stack: Stack, calls: Path) -> None:
    stack.write(FILE)
    wants = {"parameters": [{"name": "size", "required": True}, {"name": "name", "required": True}]}
    metadata = calls.parent / "calls.metadata"
    metadata.write_text(json.dumps({"description": "x", "up": wants}))
    assert "provider cloud needs the option name" in stack.fails("up", "-d")
    wants["parameters"].pop()
    metadata.write_text(json.dumps({"description": "x", "up": wants}))
    stack.up()
    assert lines(calls)[0].endswith("up --size=256 database")


def test_a_provider_that_is_not_there(stack: Stack) -> None:
    stack.write(FILE)
    assert ".yaml:4:16: service database: provider cloud: there is no such program" in stack.fails("up", "-d")
    refused = stack.fails("run", "database", "true")
    assert ".yaml:4:5: service database: a provider makes it: no command can be run in it" in refused
    (stack.directory / "compose.yaml").write_text("services: {}")


RUNNER = r"""#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
"ls --json") echo '[{"tags": ["ai/there"]}]' ;;
"status --json") echo '{"endpoint": "http://127.0.0.1:12434/v1"}' ;;
esac
"""


def test_a_model_runner_serves_models(stack: Stack, calls: Path) -> None:
    stack.write("""
services:
  app: {image: IMAGE, command: env, models: [some-model]}
  more:
    image: IMAGE
    command: env
    models: {second: {endpoint_var: WHERE, model_var: WHICH}}
models:
  some-model: {model: ai/there, context_size: 4096, runtime_flags: [--verbose]}
  second: {model: ai/elsewhere}
""")
    assert ": models.some-model: there is no model runner here" in stack.fails("up", "-d")
    runner = calls.parent / "bin" / "docker-model"
    runner.write_text(RUNNER)
    runner.chmod(0o755)
    stack.run("up")
    assert lines(calls) == [
        "ls --json",
        "configure --context-size 4096 ai/there -- --verbose",
        "pull ai/elsewhere",
        "status --json",
    ]
    found = set(stack.run("logs", "--no-log-prefix").splitlines())
    assert {"SOME_MODEL_MODEL=ai/there", "SOME_MODEL_URL=http://127.0.0.1:12434/v1"} <= found
    assert {"WHICH=ai/elsewhere", "WHERE=http://127.0.0.1:12434/v1"} <= found
