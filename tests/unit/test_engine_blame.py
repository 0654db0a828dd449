"""Which value of a compose file a refusal of the system is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compose import model
from compose.engine.embedded import blame
from compose.errors import ContainerError

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
name: shop
services:
  app:
    image: some
    user: nosuch
    working_dir: /there
    entrypoint: [begin]
    command: [go, on]
    group_add: [root, staff]
    sysctls: {net.core.somaxconn: 1, net.core.nosuch: 2}
    ulimits: {nofile: 9}
    oom_score_adj: -5
    hostname: box
    cgroup_parent: ../x
    volumes:
      - ./here:/first/
      - {type: volume, source: data, target: /second, volume: {subpath: part}}
    tmpfs: ["/third:size=1m"]
    configs: [{source: c, target: /fourth}, {source: c}]
    secrets: [{source: s, target: fifth}]
    devices: ["/dev/null:/dev/sixth"]
    ports: ["80", "8000-8002:80-82", "8001:90/udp"]
    networks: {default: {ipv4_address: 10.0.0.9}}
volumes: {data: {}}
configs: {c: {content: x}}
secrets: {s: {file: ./here}}
"""
CASES = {
    "user nosuch: no such user": "5:5",
    "set user and groups: Operation not permitted": "5:5",
    "working directory /there: Not a directory": "6:5",
    "exec begin: executable file not found": "7:18",
    "exec go: executable file not found": "8:15",
    "group_add staff: no such group": "9:23",
    "sysctls: set net.core.nosuch: No such file": "10:38",
    "sysctls: set net.core.somaxconn to 1: Invalid argument": "10:15",
    "set sysctl net.core.nosuch: No such file": "10:38",
    "set limit nofile: this host gives less": "11:15",
    "set oom_score_adj: Permission denied": "12:5",
    "set the host name box: Invalid argument": "13:5",
    "control group ../x/y: not a path below the root": "14:5",
    "mount /first: Invalid argument": "16:9",
    "make the mount point /second: Read-only file system": "17:9",
    "open /data/volumes/shop_data/data/part: No such file": "17:64",
    "mount /third: Invalid argument": "18:13",
    "mount /fourth: a file cannot be mounted": "19:15",
    "mount /c: a file cannot be mounted": "19:45",
    "mount /run/secrets/fifth: a file cannot be mounted": "20:15",
    "make device /dev/sixth: File exists": "21:15",
    "shop-app-1: publish port 8002/tcp: somebody has it": "22:19",
    "shop-app-1: publish port 127.0.0.1:8001/udp: somebody has it": "22:38",
    "network shop_default: address 10.0.0.9 of shop.app.1 is the gateway's": "23:26",
    "network shop_default: address of shop.app.1 10.0.0.9 is not in the subnet": "23:26",
}


@pytest.fixture
def project(tmp_path: Path) -> model.Project:
    (tmp_path / "compose.yaml").write_text(FILE, encoding="utf-8")
    return model.load([str(tmp_path / "compose.yaml")])


@pytest.mark.parametrize("message", CASES)
def test_the_value_is_named(project: model.Project, message: str) -> None:
    error = ContainerError(message)
    assert blame.place(project, "app", error)
    place = f"{project.files[0]}:{CASES[message]}"
    assert error.message == f"{blame.place_of(project, 'app', message)}: service app: {message}"
    assert place.endswith(blame.place_of(project, "app", message))
    assert not blame.place(project, "app", error)  # once is enough


@pytest.mark.parametrize(
    "message",
    [
        "user other-by-image: no such user",
        "exec of-image: executable file not found",
        "mount /proc: Operation not permitted",
        "shop-app-1: publish port 9/tcp: somebody has it",
        "join the control group: Device or resource busy",
    ],
)
def test_what_is_not_in_the_file_has_no_place(project: model.Project, message: str) -> None:
    if message.startswith("user"):
        del project.services["app"]["user"]
    assert blame.place_of(project, "app", message) == ""
    assert not blame.place(project, "nosuch", ContainerError(message))
    assert not blame.place(None, "app", ContainerError(message))
