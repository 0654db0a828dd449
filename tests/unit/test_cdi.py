"""Devices as their vendors describe them: files of the Container Device Interface."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from compose.engine.embedded.cdi import Registry
from compose.engine.embedded.devices import requested
from compose.errors import ContainerError

if TYPE_CHECKING:
    from pathlib import Path

YAML = """\
cdiVersion: 0.6.0
kind: vendor.com/net
containerEdits:
  env: [ALL=1]
  additionalGids: [44, 0]
devices:
- name: "0"
  containerEdits:
    env: [ONE=1]
    deviceNodes:
    - {path: /dev/net0, type: c, major: 9, minor: 1, permissions: rw, fileMode: 0o640, uid: 5}
    mounts:
    - {hostPath: /etc, containerPath: /vendor, options: [ro, nosuid]}
    hooks:
    - {hookName: createContainer, path: /bin/true, args: ["true", x], env: [A=b], timeout: 5}
- name: all
  containerEdits:
    env: [ONE=1, TWO=2]
"""


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path]:
    found = tmp_path / "etc", tmp_path / "run"
    for directory in found:
        directory.mkdir()
    (found[0] / "net.yaml").write_text(YAML)
    return found


def registry(directories: tuple[Path, Path]) -> Registry:
    return Registry(map(str, directories))


def device(kind: str, name: str, **edits: Any) -> str:
    content = {"cdiVersion": "0.5.0", "kind": kind, "devices": [{"name": name, "containerEdits": edits}]}
    return json.dumps(content)


def test_everything_that_a_device_adds(directories: tuple[Path, Path]) -> None:
    found = registry(directories).edits(["vendor.com/net=0", "vendor.com/net=all", "vendor.com/net=0"])
    assert found.env == ["ALL=1", "ONE=1", "ONE=1", "TWO=2"]
    assert found.groups == [44]
    assert found.nodes == [
        {"path": "/dev/net0", "type": "c", "major": 9, "minor": 1, "fileMode": 0o640, "uid": 5}
    ]
    assert found.rules == [{"allow": True, "type": "c", "major": 9, "minor": 1, "access": "rw"}]
    (mount,) = found.mounts
    assert (mount["source"], mount["destination"], mount["type"]) == ("/etc", "/vendor", "bind")
    assert {"rbind", "ro", "nosuid"} <= set(mount["options"])
    hook = {"path": "/bin/true", "args": ["true", "x"], "env": ["A=b"], "timeout": 5}
    assert found.hooks == {"createContainer": [hook]}


def test_a_node_is_completed_by_the_hosts(directories: tuple[Path, Path], tmp_path: Path) -> None:
    os.mknod(tmp_path / "host", stat.S_IFCHR | 0o600, os.makedev(1, 11))
    node = {"path": "/dev/x", "hostPath": str(tmp_path / "host")}
    (directories[1] / "x.json").write_text(device("v.com/x", "a", deviceNodes=[node]))
    found = registry(directories).edits(["v.com/x=a"])
    host = str(tmp_path / "host")
    assert found.nodes == [{"path": "/dev/x", "source": host, "type": "c", "major": 1, "minor": 11}]
    assert found.rules[0]["access"] == "rwm"


def test_what_was_made_for_this_boot_wins(directories: tuple[Path, Path]) -> None:
    (directories[1] / "net.json").write_text(device("vendor.com/net", "0", env=["BOOT=1"]))
    assert registry(directories).edits(["vendor.com/net=0"]).env == ["BOOT=1"]


def test_two_descriptions_in_one_directory_are_a_conflict(directories: tuple[Path, Path]) -> None:
    (directories[0] / "other.json").write_text(device("vendor.com/net", "0"))
    with pytest.raises(ContainerError, match="describe it") as caught:
        registry(directories).edits(["vendor.com/net=0"])
    assert caught.value.hint == "remove one of the files"
    assert registry(directories).edits(["vendor.com/net=all"]).env[0] == "ALL=1"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "broken.json"),
        ("[]", "not a mapping"),
        ('{"cdiVersion": "7.0.0"}', "cdiVersion '7.0.0'"),
        ('{"cdiVersion": "0.6.0", "kind": "x"}', "kind is not"),
        ('{"cdiVersion": "0.6.0", "kind": "x/y", "devices": [1]}', "devices is not"),
    ],
)
def test_a_broken_file_spoils_only_itself(directories: tuple[Path, Path], content: str, problem: str) -> None:
    (directories[0] / "broken.json").write_text(content)
    found = registry(directories)
    assert found.edits(["vendor.com/net=all"]).env
    with pytest.raises(ContainerError) as caught:
        found.edits(["other.com/x=1"])
    assert "no file in" in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("edits", "problem"),
    [
        ({"deviceNodes": [{"path": "/dev/no-such"}]}, "/dev/no-such: No such file"),
        ({"deviceNodes": [{"path": "/etc/passwd"}]}, "/etc/passwd is not such a device"),
        ({"deviceNodes": [{}]}, "'path' is missing"),
        ({"mounts": [{"hostPath": "/no-such", "containerPath": "/x"}]}, "/no-such: No such file"),
        ({"hooks": [{"hookName": "preStop", "path": "/bin/true"}]}, "there is no hook preStop, only"),
        ({"hooks": [{"hookName": "createContainer", "path": "/no-such"}]}, "/no-such: No such file"),
        ({"intelRdt": {"closID": "x"}}, "intelRdt cannot be given"),
    ],
)
def test_what_cannot_be_given_is_said(
    directories: tuple[Path, Path], edits: dict[str, Any], problem: str
) -> None:
    (directories[0] / "x.json").write_text(device("v.com/x", "a", **edits))
    with pytest.raises(ContainerError) as caught:
        registry(directories).edits(["v.com/x=a"])
    assert str(caught.value).startswith("device v.com/x=a: ")
    assert problem in str(caught.value)


def gpus(directories: tuple[Path, Path], kind: str, *names: str) -> Registry:
    content = {"cdiVersion": "0.6.0", "kind": kind, "devices": [{"name": name} for name in names]}
    (directories[0] / f"{kind.replace('/', '-')}.json").write_text(json.dumps(content))
    return registry(directories)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"count": -1}, ["nvidia.com/gpu=all"]),
        ({"count": 2, "driver": "nvidia"}, ["nvidia.com/gpu=0", "nvidia.com/gpu=2"]),
        ({"device_ids": ["GPU-1", "nvidia.com/mig=3"]}, ["nvidia.com/gpu=GPU-1", "nvidia.com/mig=3"]),
        ({"driver": "cdi", "device_ids": ["v.com/x=1"], "capabilities": ["tpu"]}, ["v.com/x=1"]),
    ],
)
def test_requests_name_devices(
    directories: tuple[Path, Path], request_: dict[str, Any], expected: list[str]
) -> None:
    found = gpus(directories, "nvidia.com/gpu", "10", "2", "0", "all")
    assert requested(request_, found) == expected


def test_the_only_vendor_of_gpus_is_meant(directories: tuple[Path, Path]) -> None:
    found = gpus(directories, "amd.com/gpu", "0", "1")
    assert requested({"count": -1}, found) == ["amd.com/gpu=0", "amd.com/gpu=1"]
    assert requested({"driver": "nvidia", "count": -1}, found) == ["nvidia.com/gpu=all"]


def test_too_many_or_unknown_devices(directories: tuple[Path, Path]) -> None:
    found = gpus(directories, "nvidia.com/gpu", "0")
    with pytest.raises(ContainerError, match="2 of nvidia.com/gpu are wanted, and 1 are there"):
        requested({"count": 2}, found)
    with pytest.raises(ContainerError, match="capabilities tpu"):
        requested({"capabilities": ["tpu"]}, found)
    with pytest.raises(ContainerError, match="need names"):
        requested({"driver": "cdi"}, found)


def test_without_description_the_way_to_one_is_told() -> None:
    with pytest.raises(ContainerError, match="no file in /no-such describes it") as caught:
        Registry(["/no-such"]).edits(["nvidia.com/gpu=all"])
    assert caught.value.hint == "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
