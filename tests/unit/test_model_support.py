"""Nothing is silently ignored: a key is acted on, refused, or warned of with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from compose.model import load
from compose.model.support import NOT_YET, PARTLY
from tests.support.config_cases import cases
from tests.support.schema import SCHEMA, covered, keys

if TYPE_CHECKING:
    from pathlib import Path


# What the runtime acts on, or what was used up while loading (deploy and networks of other tools aside).
ACTED_ON = """
annotations attach blkio_config build.args build.context build.dockerfile build.dockerfile_inline build.labels
build.no_cache build.pull build.tags build.target cap_add cap_drop command configs container_name
cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset depends_on
deploy.replicas deploy.resources.limits deploy.resources.reservations.memory device_cgroup_rules devices gpus
cgroup_parent storage_opt deploy.resources.reservations.devices
deploy.restart_policy dns dns_opt dns_search domainname
entrypoint env_file environment
expose extends extra_hosts group_add healthcheck hostname image label_file labels links logging.driver
logging.options mac_address mem_limit mem_reservation mem_swappiness memswap_limit network_mode
networks.*.aliases
networks.*.gw_priority networks.*.interface_name networks.*.ipv4_address networks.*.ipv6_address
networks.*.mac_address networks.*.priority oom_kill_disable oom_score_adj
pids_limit ports privileged profiles pull_policy read_only restart
scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal sysctls tmpfs tty ulimits
cgroup external_links init ipc networks.*.driver_opts networks.*.link_local_ips pid platform
runtime userns_mode uts
user volumes.*.bind volumes.*.consistency volumes.*.read_only volumes.*.source volumes.*.target
volumes.*.tmpfs volumes.*.type volumes.*.image volumes.*.volume volumes_from working_dir
post_start pre_start pre_stop provider models
""".split()


def test_schema_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_every_pattern_names_a_key_of_the_schema() -> None:
    known = set(keys({"properties": SCHEMA["properties"]}, ""))
    known |= {"services.*.gpus.*.options", "services.*.security_opt.*"}
    assert {*NOT_YET, *PARTLY} <= known


def test_every_key_of_a_service_is_acted_on_or_warned_of() -> None:
    services = [pattern for pattern in (*NOT_YET, *PARTLY) if pattern.startswith("services.")]
    patterns = {pattern.removeprefix("services.*.") for pattern in services} | set(ACTED_ON)
    paths = set(keys(SCHEMA["definitions"]["service"], ""))
    leaves = {path for path in paths if not any(other.startswith(f"{path}.") for other in paths)}
    assert not sorted(path for path in leaves if not covered(path, patterns))


def test_nothing_is_both_acted_on_and_warned_of() -> None:
    never = {key.removeprefix("services.*.") for key in NOT_YET if key.startswith("services.")}
    assert not never & set(ACTED_ON)


def warnings(directory: Path, text: str) -> list[str]:
    """The warnings of one file."""
    (directory / "compose.yaml").write_text(text)
    return load(["compose.yaml"], cwd=str(directory), environment={}).warnings


def test_a_key_that_nothing_acts_on_gives_one_warning_with_its_place(tmp_path: Path) -> None:
    found = warnings(
        tmp_path,
        "services:\n  a:\n    image: x\n    isolation: hyperv\n    credential_spec: {file: f}\n",
    )
    assert found == [
        "compose.yaml:4:5: services.a.isolation: not supported yet, ignored: it is about Windows",
        "compose.yaml:5:5: services.a.credential_spec: not supported yet, ignored: it is about Windows",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "init: false",
        "privileged: true",
        "ports: [{target: 80, mode: host, name: x}]",
        "networks: [default]",
        "deploy: {}",
        "volumes: ['/a:/b:ro,z,cached,rslave', 'c:/d', '/e:/f:${NO-ro}']",
        "logging: {driver: fluentd, options: {tag: x, mode: non-blocking, fluentd-async: 'true', env: A}}",
    ],
)
def test_what_asks_for_nothing_or_is_done_gives_no_warning(tmp_path: Path, line: str) -> None:
    assert not warnings(tmp_path, f"services:\n  a:\n    image: x\n    {line}\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("logging: {driver: splunk}", "services.a.logging.driver: `splunk` is not supported yet"),
        ("volumes: [{type: npipe, source: i, target: /i}]", "services.a.volumes[0].type: `npipe` is not"),
        ("pull_policy: always", "services.a.pull_policy: `always` is not supported yet"),
        ("logging: {options: {tag: x, max-size: 1m}}", "services.a.logging.options.tag: not supported yet"),
        (
            "logging: {driver: gelf, options: {gelf-address: 'udp://h', gelf-tcp-max-reconnect: 3}}",
            "services.a.logging.options.gelf-tcp-max-reconnect: not supported yet",
        ),
        ("logging: {driver: syslog, options: {mode: blocking}}", "services.a.logging.options.mode: not supp"),
        ("pull_policy: daily", "services.a.pull_policy: `daily` is not supported yet"),
        ("volumes: ['/a:/b:ro,bogus']", "4:15: services.a.volumes[0]: ignored: there is no option `bogus`"),
        ("command: 'a; b'", "services.a.command: `; b` is left out"),
    ],
)
def test_a_value_that_nothing_acts_on_is_warned_of(tmp_path: Path, line: str, words: str) -> None:
    (found,) = warnings(tmp_path, f"services:\n  a:\n    image: x\n    {line}\n")
    assert words in found


def test_who_owns_a_file_that_is_shown_is_warned_of(tmp_path: Path) -> None:
    text = (
        "services:\n  a:\n    image: x\n    secrets: [{source: f, mode: 0400}, {source: e, mode: 0400}]\n"
        "    configs: [{source: f, uid: '1', gid: '2'}]\n"
        "secrets: {f: {file: f}, e: {environment: E}}\nconfigs: {f: {file: f}}\n"
    )
    first, second = warnings(tmp_path, text)
    assert "services.a.secrets[0]: mode ignored" in first
    assert "services.a.configs[0]: gid and uid ignored" in second


def test_resources_of_inactive_services_are_not_warned_of(tmp_path: Path) -> None:
    text = "services:\n  a: {image: x}\n  b: {image: y, profiles: [p], isolation: hyperv}\n"
    text += "volumes: {v: {external: true}}\n"
    assert not warnings(tmp_path, text)


def test_an_unset_variable_is_warned_of_once(tmp_path: Path) -> None:
    (found,) = warnings(
        tmp_path, "services:\n  a: {image: x, command: '$A ${A} ${B:-}'}\n  b: {image: '$A$A y'}\n"
    )
    assert found.startswith("compose.yaml:2:26: the variable A is not set")


def test_an_unset_variable_of_a_file_of_variables_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nD=${NO}\nE=$NO-${NO3:-x}${NO4-}\n")
    (tmp_path / "a.env").write_text("F=$A${NO5}\nG=$F$F\n")
    (tmp_path / "a.labels").write_text("L=${NO7}x\n")
    found = warnings(tmp_path, "services: {a: {image: x, env_file: a.env, label_file: a.labels}}\n")
    assert [text.partition(" is not set")[0] for text in found] == [
        ".env:2:1: the variable NO",
        "a.env:1:1: the variable NO5",
        "a.labels:1:1: the variable NO7",
    ]


@pytest.mark.parametrize("case", cases(), ids=lambda case: str(case.name))
def test_every_warning_has_its_place(case: Any) -> None:
    project = load(case.files, cwd=str(case.directory), environment=case.environment, profiles=case.profiles)
    assert all(text.split(": ")[0].count(":") == 2 for text in project.warnings)
    assert len(set(project.warnings)) == len(project.warnings)
