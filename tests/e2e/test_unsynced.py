"""After a power cut a file whose content nobody had synced may be there and be empty.

That is so on file systems that write names before contents. Everything but what is synced on purpose is
emptied here, after the end of all that ran: whatever reads it has to notice.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_boot import reboot

if TYPE_CHECKING:
    from tests.support.command import Stack

COMPOSE = """
services:
  web:
    build: .
    command: sleep 1000
    restart: unless-stopped
    hostname: shop
    depends_on: [db]
    ports: ["127.0.0.1::80"]
    configs: [{source: motd, target: /motd}]
  db:
    image: IMAGE
    command: sleep 1000
    volumes: [data:/data]
    healthcheck: {test: "true"}
configs: {motd: {content: "welcome\\n"}}
volumes: {data: {}}
"""
DOCKERFILE = "FROM IMAGE\nRUN echo built > /built\n"
SYNCED = (
    *("images/blobs/", "images/layers/", "images/index.json", "images/oci-layout"),
    *("cache/seccomp-", "index.sqlite", "volumes/"),
)
"""Below the data directory; and each container's spec.json."""


def empty_what_is_not_synced(data: str, *spared: str) -> list[str]:
    """The files that are empty now; those of some names happen to be whole."""
    found = []
    for directory, _, names in os.walk(data):
        for name in names:
            path = f"{directory}/{name}"
            inside = os.path.relpath(path, data)
            in_container = inside.startswith("containers/") and inside.split("/")[2] in ("upper", "work")
            if in_container or inside.startswith(SYNCED) or name in ("spec.json", *spared):
                continue
            if not os.path.islink(path) and os.path.getsize(path):
                os.truncate(path, 0)
                found.append(inside)
    return found


@pytest.mark.parametrize("spared", ["", "state.json"], ids=["all", "but-states"])
@pytest.mark.parametrize("then", ["up", "down", "boot"])
def test_what_was_not_synced_may_be_empty_after_a_power_cut(stack: Stack, then: str, spared: str) -> None:
    stack.write(COMPOSE)
    stack.write(DOCKERFILE, "Dockerfile")
    stack.up()
    stack.shell("db", "echo kept > /data/file")
    reboot(stack)
    emptied = empty_what_is_not_synced(stack.paths.data, spared)
    assert any(path.endswith("/files/hosts") for path in emptied)
    if then == "boot":
        stack.run("boot", "start")
        assert set(stack.ps()) == set()
    if then != "down":
        stack.ps("--all")
        stack.run("build")
        stack.up()
        assert {one["State"] for one in stack.ps("--all").values()} == {"running"}
        said = stack.shell("web", "cat /built /motd; hostname; nslookup db >/dev/null && echo found")
        assert said.split() == ["built", "welcome", "shop", "found"]
        assert "shop" in stack.shell("web", "cat /etc/hosts")
        assert stack.shell("db", "cat /data/file") == "kept"
        stack.run("logs")
        stack.run("events", "--until", "0s")
    stack.run("down", "-t", "0", "--volumes")
    assert stack.ps("--all") == {}
