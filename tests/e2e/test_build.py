"""`build`, and `up` of a service that has a Dockerfile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.command import Lines
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from tests.support.command import Stack

BUILT = """
services:
  box:
    build: {context: ., args: {WHO: world}}
    command: [cat, /greeting]
"""
DOCKERFILE = """
FROM IMAGE AS base
ARG WHO=nobody
RUN echo "hello $WHO" > /made
COPY note /note

FROM IMAGE
COPY --from=base /made /note /
RUN cat /made /note > /greeting
"""


@pytest.fixture
def project(stack: Stack) -> Stack:
    stack.write(BUILT)
    stack.write(DOCKERFILE, "Dockerfile")
    stack.write("a note\n", "note")
    return stack


def test_up_builds_what_is_missing(project: Stack) -> None:
    assert "box-1  | hello world\nbox-1  | a note\n" in project.run("up")


FILE = """
FROM IMAGE AS first
RUN echo WORD; cat /proc/sys/kernel/random/uuid > /made
FROM first
RUN echo second > /made
"""


def test_every_key_of_a_build_has_its_effect(stack: Stack) -> None:
    tag = f"pycompose-test/{stack.name}-tag"
    for name in ("whole", "kept", "fresh"):  # they share nothing in the cache
        stack.write(FILE.replace("WORD", name), f"context/other/{name}")
    stack.write(f"""
x-show: &show {{command: [cat, /made], depends_on: [inline]}}
services:
  inline: {{build: {{dockerfile_inline: "FROM IMAGE\\nRUN echo in line > /made"}}, command: [cat, /made]}}
  whole: {{<<: *show, build: {{context: context, dockerfile: other/whole, tags: ["{tag}"]}}}}
  kept: {{<<: *show, build: {{context: context, dockerfile: other/kept, target: first, labels: {{a.b: c}}}}}}
  fresh: {{<<: *show, build: {{context: context, dockerfile: other/fresh, target: first, no_cache: true}}}}
""")
    assert "warning" not in stack.up()
    told = shown(stack)
    assert (told["inline"], told["whole"]) == ("in line", "second")
    assert stack.run("ps", "-a", "kept", "--format", '{{.Label "a.b"}}') == "c\n"
    stack.run("build")
    stack.up("--force-recreate")
    again = shown(stack)
    assert again["kept"] == told["kept"] and again["fresh"] != told["fresh"]
    stack.run("down", "-t", "0")
    stack.write(f"services: {{a: {{image: {tag}, pull_policy: never, command: [cat, /made]}}}}")
    stack.up()
    assert shown(stack) == {"a": "second"}


def shown(stack: Stack) -> dict[str, str]:
    """The line that each service has written, once all have ended."""
    lines = (line.partition("| ") for line in stack.run("logs", "-f").splitlines())
    return {before.strip().removesuffix("-1"): text for before, _, text in lines}


def test_build_a_second_time_runs_nothing(project: Stack) -> None:
    project.write(DOCKERFILE.replace("RUN cat", "RUN date +%N >> /made && cat"), "Dockerfile")
    project.run("build")
    first = project.run("up", "--no-log-prefix")
    project.run("build")
    assert project.run("up", "--no-log-prefix") == first


def test_up_with_build_takes_a_changed_file_and_recreates(project: Stack) -> None:
    project.run("up")
    before = project.ids()
    project.write("another note\n", "note")
    project.run("up")
    assert project.ids() == before
    assert "another note" in project.run("up", "--build")
    assert project.ids() != before


def test_a_step_that_fails_is_named_with_its_line_and_its_output(project: Stack) -> None:
    project.write("FROM IMAGE\n\nRUN echo before; no-such-program\n", "Dockerfile")
    error = project.fails("build")
    assert "Dockerfile:3" in error
    assert "no-such-program" in error
    assert "no-such-program" in project.fails("up", "-d")
    assert project.ids() == {}


def test_a_file_that_is_ignored_is_not_copied(project: Stack) -> None:
    project.write("FROM IMAGE\nCOPY . /all\nRUN ls /all > /greeting\n", "Dockerfile")
    project.write("note\ncompose.yaml\n", ".dockerignore")
    assert "Dockerfile\n" in project.run("up", "--no-log-prefix")


def test_a_build_that_is_killed_leaves_nothing(project: Stack) -> None:
    """The process of a RUN step ends with the command that started it."""
    project.write("FROM IMAGE\nRUN echo started; sleep 600\n", "Dockerfile")
    with project.start("--progress", "plain", "build") as process:
        Lines(process.stderr).expect("| started")
        process.kill()
        process.communicate(timeout=MOMENT)
    project.write(DOCKERFILE, "Dockerfile")
    project.run("build")
