"""Values of limits and devices that no kernel could keep, refused with their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compose.errors import ModelError
from compose.model import load

if TYPE_CHECKING:
    from pathlib import Path


def service(directory: Path, line: str) -> dict[str, object]:
    (directory / "compose.yaml").write_text(f"services:\n  a:\n    image: x\n    {line}\n")
    return dict(load(["compose.yaml"], cwd=str(directory), environment={}).services["a"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mem_swappiness: 200", "4:5: services.a.mem_swappiness: 200 is not between 0 and 100"),
        ("cpu_period: 10", "4:5: services.a.cpu_period: 10 is not between 1000 and 1000000 microseconds"),
        ("cpu_quota: 10", "services.a.cpu_quota: 10 is not between"),
        ("cpu_shares: 1", "services.a.cpu_shares: 1 is not between 2 and 262144"),
        ("cpuset: x", "services.a.cpuset: `x` is not a list of CPUs"),
        ("blkio_config: {weight: 5}", "4:20: services.a.blkio_config.weight: 5 is not between 10 and 1000"),
        (
            "blkio_config: {weight_device: [{path: /dev/sda, weight: 5}]}",
            "services.a.blkio_config.weight_device[0].weight: 5 is not",
        ),
        (
            "blkio_config: {device_read_bps: [{path: sda, rate: 5}]}",
            "services.a.blkio_config.device_read_bps[0]: needs the path of a block device",
        ),
        ("devices: ['null:/dev/null']", "services.a.devices[0]: `null` is neither a path nor"),
        ("devices: ['/dev/null:/dev/x:q']", "services.a.devices[0]: `q` is not a combination"),
        ("devices: ['/dev/null:x']", "services.a.devices[0]: `x` is not an absolute path"),
        ("device_cgroup_rules: [foo]", "4:27: services.a.device_cgroup_rules[0]: `foo` is not a rule"),
        ("ulimits: {files: 1}", "4:15: services.a.ulimits.files: there is no such limit"),
        ("storage_opt: {size: big}", "services.a.storage_opt.size: `big` is not a size"),
        ("storage_opt: {size: 0}", "services.a.storage_opt.size: `0` is no size"),
    ],
)
def test_a_value_that_cannot_be_kept(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        service(tmp_path, line)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("cpu_rt_runtime: 400ms", "cpu_rt_runtime", 400_000),
        ("cpu_rt_period: '1400us'", "cpu_rt_period", 1_400),
        ("cpu_rt_period: '1400'", "cpu_rt_period", 1_400),
        ("cpu_quota: -1", "cpu_quota", -1),
        ("mem_swappiness: 0", "mem_swappiness", "0"),
        ("mem_swappiness: -1", "mem_swappiness", "-1"),
        ("device_cgroup_rules: ['a *:* rwm']", "device_cgroup_rules", ["a *:* rwm"]),
    ],
)
def test_a_value_that_can_be_kept(tmp_path: Path, line: str, key: str, value: object) -> None:
    assert service(tmp_path, line)[key] == value
