"""`condition: service_healthy` without a health check: the server itself is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.command import Stack


def test_a_server_without_a_health_check_is_asked_by_its_protocol(stack: Stack) -> None:
    for name, answer in (("loading", "-LOADING"), ("pong", "+PONG")):
        stack.write(f"#!/bin/sh\nread x\necho '{answer}'\n", f"s/{name}")
        (stack.directory / "s" / name).chmod(0o755)
    stack.write("""
services:
  cache:
    image: IMAGE
    expose: ["6379"]
    volumes: [./s:/s]
    command: >-
      sh -c 'sleep 0.3; for i in 1 2 3; do nc -l -p 6379 -e /s/loading; done; touch /loaded;
      while :; do nc -l -p 6379 -e /s/pong; done'
  app:
    image: IMAGE
    command: sh -c 'nc cache 6379 < /dev/null; sleep 1000'
    depends_on: {cache: {condition: service_healthy}}
""")
    told = stack.up()
    assert "cache-1 | has no health check: asked as redis on " in told
    assert stack.shell("cache", "ls /loaded") == "/loaded"
    told = stack.up()
    assert "asked as redis on " in told and "Started" not in told


def test_a_server_that_answers_no_longer_is_noticed_by_the_next_up(stack: Stack) -> None:
    stack.write("""
services:
  cache:
    image: IMAGE
    expose: ["5672"]
    command: >-
      sh -c 'while [ ! -e /stop ]; do printf "\\001\\000\\000" | nc -l -p 5672; done; touch /over;
      sleep 1000'
  app:
    image: IMAGE
    command: sleep 1000
    depends_on: {cache: {condition: service_healthy}}
""")
    stack.up()
    stack.shell("cache", "touch /stop; until [ -e /over ]; do nc 127.0.0.1 5672 < /dev/null || true; done")
    assert "asked as rabbitmq on " in stack.fails("up", "-d", "--wait", "--wait-timeout", "1")


def test_a_server_that_ends_before_it_is_ready(stack: Stack) -> None:
    stack.write("""
services:
  db: {image: IMAGE, expose: [3306], command: sh -c 'sleep 0.3; exit 4'}
  app: {image: IMAGE, command: sleep 1000, depends_on: {db: {condition: service_healthy}}}
""")
    assert "db-1 exited (4) before it was ready" in stack.fails("up", "-d")


def test_a_check_that_is_switched_off_stays_off(stack: Stack) -> None:
    stack.write("""
services:
  db: {image: IMAGE, expose: [3306], command: sleep 1000, healthcheck: {disable: true}}
  app: {image: IMAGE, command: sleep 1000, depends_on: {db: {condition: service_healthy}}}
""")
    assert "db-1 has no health check" in stack.fails("up", "-d")
