"""A service and its image -> what a container is made from."""

from __future__ import annotations

from typing import Any

import pytest

from compose.engine.embedded import files
from compose.engine.embedded.cdi import no_edits
from compose.engine.embedded.devices import HostDevices
from compose.engine.embedded.spec import build, check, given, lifecycle, mounts, process, resources, sysctls
from compose.engine.embedded.spec import logging as spec_logging
from compose.errors import ContainerError

NO_DEVICES = HostDevices(no_edits(), {})
IMAGE = {"Entrypoint": ["/entry"], "Cmd": ["serve"], "Env": ["PATH=/bin", "MODE=image"]}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({}, ["/entry", "serve"]),
        ({"command": ["other"]}, ["/entry", "other"]),
        ({"command": []}, ["/entry"]),
        ({"entrypoint": ["/mine"]}, ["/mine"]),
        ({"entrypoint": ["/mine"], "command": ["x"]}, ["/mine", "x"]),
        ({"entrypoint": [], "command": ["x"]}, ["x"]),
        ({"entrypoint": None, "command": None}, ["/entry", "serve"]),
    ],
)
def test_entry_point_and_command(service: dict[str, Any], expected: list[str]) -> None:
    assert process.arguments(service, IMAGE, "web") == expected


def test_nothing_to_run_is_an_error_that_says_what_to_write() -> None:
    with pytest.raises(ContainerError, match="no command") as caught:
        process.arguments({"entrypoint": []}, {}, "web")
    assert caught.value.hint == "add 'command:' to the service"


def test_a_variable_without_value_takes_the_images_away() -> None:
    service = {"environment": {"MODE": None, "TZ": "UTC", "EMPTY": ""}}
    assert process.environment(service, IMAGE) == ["PATH=/bin", "MODE=image", "MODE", "TZ=UTC", "EMPTY="]


def test_ulimits_are_soft_and_hard() -> None:
    service = {"ulimits": {"nofile": 10, "nproc": {"soft": 1, "hard": 2}, "memlock": -1}}
    assert process.rlimits(service) == [
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10},
        {"type": "RLIMIT_NPROC", "soft": 1, "hard": 2},
        {"type": "RLIMIT_MEMLOCK", "soft": 2**64 - 1, "hard": 2**64 - 1},
    ]


def test_open_files_are_those_of_a_login_shell_unless_the_service_says_otherwise() -> None:
    assert process.descriptors({}, 5000) == [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 5000}]
    assert process.descriptors({}, 500) == [{"type": "RLIMIT_NOFILE", "soft": 500, "hard": 500}]
    assert process.descriptors({}, -1) == [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 2**64 - 1}]
    assert process.descriptors({"ulimits": {"nofile": 7}}, 5000) == []


def test_limits_of_the_service_win_over_those_of_deploy() -> None:
    service = {
        "mem_limit": "67108864",
        "cpus": 0.5,
        "deploy": {"resources": {"limits": {"cpus": 2, "memory": "1", "pids": 5}}},
    }
    assert resources.resources(service) == {
        "memory": {"limit": 67108864, "swap": 134217728},
        "cpu": {"quota": 50000, "period": 100000},
        "pids": {"limit": 5},
    }


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({}, {"name": "no", "max_attempts": 0}),
        ({"restart": "on-failure:3"}, {"name": "on-failure", "max_attempts": 3}),
        ({"restart": "always"}, {"name": "always", "max_attempts": 0}),
        ({"restart": "no", "deploy": {"restart_policy": {}}}, {"name": "always", "max_attempts": 0}),
        (
            {"deploy": {"restart_policy": {"max_attempts": 3, "delay": "5s", "window": "1m30s"}}},
            {"name": "always", "max_attempts": 3, "delay": 5.0, "window": 90.0},
        ),
        (
            {"deploy": {"restart_policy": {"condition": "unless-stopped"}}},
            {"name": "unless-stopped", "max_attempts": 0},
        ),
        (
            {"deploy": {"restart_policy": {"condition": "on-failure", "max_attempts": 2}}},
            {"name": "on-failure", "max_attempts": 2},
        ),
    ],
)
def test_restart_policy(service: dict[str, Any], expected: dict[str, Any]) -> None:
    assert lifecycle.restart_policy(service) == expected


def test_restart_on_unhealthy_is_asked_for_in_two_ways() -> None:
    assert lifecycle.restarts_unhealthy({"x-restart-on-unhealthy": True}, {})
    assert lifecycle.restarts_unhealthy({}, {"autoheal": "true"})
    assert not lifecycle.restarts_unhealthy({"x-restart-on-unhealthy": False}, {"autoheal": "true"})
    assert not lifecycle.restarts_unhealthy({}, {})
    with pytest.raises(ContainerError, match="x-restart-on-unhealthy: 'yes' is neither"):
        lifecycle.restarts_unhealthy({"x-restart-on-unhealthy": "yes"}, {})


def test_a_health_check_takes_what_it_does_not_say_from_the_image() -> None:
    image = {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000, "Retries": 7}}
    assert lifecycle.healthcheck({"healthcheck": {"timeout": "1s"}}, image) == {
        "test": ["CMD", "true"],
        "interval": 5.0,
        "timeout": 1.0,
        "retries": 7,
        "start_period": 0.0,
        "start_interval": 5.0,
    }
    assert lifecycle.healthcheck({"healthcheck": {"disable": True}}, image) is None
    assert lifecycle.healthcheck({}, {}) is None


@pytest.mark.parametrize("test", [["CMD"], ["CMD-SHELL"], ["PING", "x"]])
def test_a_health_check_that_checks_nothing_is_refused(test: list[str]) -> None:
    with pytest.raises(ContainerError, match="is no check"):
        lifecycle.healthcheck({"healthcheck": {"test": test}}, {})
    with pytest.raises(ContainerError, match="is no check"):
        lifecycle.healthcheck({}, {"Healthcheck": {"Test": test}})
    assert lifecycle.healthcheck({"healthcheck": {"disable": True}}, {"Healthcheck": {"Test": test}}) is None


NONE: dict[str, dict[str, Any]] = {"volumes": {}, "configs": {}, "secrets": {}}


def sorted_out(service: dict[str, Any], image: dict[str, Any] | None = None, **more: Any) -> mounts.Mounts:
    definitions = {
        "volumes": {"data": {"name": "shop_data"}},
        "configs": {"c": {"content": "hello"}},
        "secrets": {"s": {"environment": "TOKEN", "content": "t0"}, "f": {"file": "/run/f"}},
    }
    options: dict[str, Any] = {"inherited": {}, "new_name": lambda: "fresh"}
    return mounts.mounts(service, image or {}, definitions, **{**options, **more})


def test_volumes_are_named_anonymous_or_the_images() -> None:
    service = {
        "volumes": [
            {"type": "volume", "source": "data", "target": "/data", "read_only": True},
            {"type": "volume", "target": "/cache", "volume": {"nocopy": True}},
        ]
    }
    image: dict[str, Any] = {"Volumes": {"/data": {}, "/var/lib/x": {}}}
    found = sorted_out(service, image, inherited={"/cache": "old"})
    assert found.volumes == [
        mounts.VolumeUse("shop_data", "/data", True, True, False),
        mounts.VolumeUse("old", "/cache", False, False, True),
        mounts.VolumeUse("fresh", "/var/lib/x", False, True, True),
    ]


def test_a_bind_source_is_made_where_the_file_asks_for_it() -> None:
    made = {"create_host_path": True}
    bind = {"type": "bind", "source": "/srv/a", "target": "/a", "read_only": True, "bind": made}
    found = sorted_out({"volumes": [bind, {**bind, "source": "/srv/b", "bind": {}}]})
    assert [(source.path, source.made) for source in found.sources] == [("/srv/a", True), ("/srv/b", False)]
    assert found.oci[0] == {
        "destination": "/a",
        "type": "bind",
        "source": "/srv/a",
        "options": ["rbind", "rprivate", "rro"],
        "follow": True,
    }


def test_tmpfs_has_dockers_options_unless_undone() -> None:
    found = sorted_out({"tmpfs": ["/run", "/x:size=1m,exec"]})
    assert [mount["options"] for mount in found.oci] == [
        ["nosuid", "nodev", "noexec"],
        ["nosuid", "nodev", "size=1m", "exec"],
    ]


def test_configs_and_secrets_are_files_of_ours_or_the_users() -> None:
    service = {
        "configs": [{"source": "c", "uid": "3", "mode": "0400"}],
        "secrets": [{"source": "s", "target": "token"}, {"source": "f", "target": "/etc/f"}],
    }
    found = sorted_out(service)
    assert found.files == [
        given.GivenFile("/c", "hello", 3, 0, 0o400),
        given.GivenFile("/run/secrets/token", "t0", 0, 0, 0o444),
    ]
    assert found.oci[0]["source"] == "/run/f"


def test_hosts_names_the_container_and_extra_hosts() -> None:
    text = files.hosts(
        "web", "example.org", ["10.1.2.3"], ["a=192.0.2.1", "six=[fd00::1]", "h=host-gateway"], "10.9.0.1"
    )
    assert text.splitlines()[0] == "127.0.0.1\tlocalhost"
    assert text.splitlines()[-4:] == [
        "192.0.2.1\ta",
        "fd00::1\tsix",
        "10.9.0.1\th",
        "10.1.2.3\tweb.example.org web",
    ]


@pytest.mark.parametrize("entry", ["a=nonsense", "a=", "h=host-gateway", "a b=192.0.2.1", "a\nb=192.0.2.1"])
def test_a_bad_extra_host_is_refused(entry: str) -> None:
    with pytest.raises(ContainerError, match="extra_hosts"):
        files.hosts("web", "", [], [entry], "")


def test_resolv_conf_points_to_our_name_service_or_is_the_hosts() -> None:
    host = "nameserver 192.0.2.53\nsearch lan\noptions edns0\n"
    assert (
        files.resolv_conf({}, host, own_names=True) == "nameserver 127.0.0.11\nsearch lan\noptions ndots:0\n"
    )
    assert (
        files.resolv_conf({}, host, own_names=False) == "nameserver 192.0.2.53\nsearch lan\noptions edns0\n"
    )
    own = {"dns": ["198.51.100.1"], "dns_search": [], "dns_opt": ["ndots:2"]}
    assert files.resolv_conf(own, host, own_names=False) == "nameserver 198.51.100.1\noptions ndots:2\n"


@pytest.mark.parametrize("name", ["", "two words", "two\nlines", "tab\there", "note#"])
def test_names_that_would_be_more_than_a_word_are_refused(name: str) -> None:
    with pytest.raises(ContainerError, match="is not a name"):
        files.hosts(name, "", [], [], "")
    for key in ("dns_search", "dns_opt", "dns"):
        with pytest.raises(ContainerError, match=key):
            files.resolv_conf({key: [name]}, "", own_names=False)


NOWHERE = [
    "data",
    "v:/v",
    "",
    "/",
    "//",
    "/..",
    "/../..",
    "/proc",
    "/x/../proc/",
    "/proc/sys",
    "/proc/net",
    "/proc/1",
]


@pytest.mark.parametrize("target", NOWHERE)
def test_places_where_nothing_can_be_mounted(target: str) -> None:
    with pytest.raises(ContainerError, match="mount target"):
        sorted_out({"volumes": [{"type": "volume", "target": target}]})
    with pytest.raises(ContainerError, match="mount target"):
        sorted_out({}, {"Volumes": {target: {}}})


def test_what_lxcfs_replaces_below_proc_can_be_replaced() -> None:
    bind = {"type": "bind", "source": "/var/lib/lxcfs/proc/uptime", "target": "/proc/uptime", "bind": {}}
    assert [mount["destination"] for mount in sorted_out({"volumes": [bind]}).oci] == ["/proc/uptime"]


def test_targets_are_compared_in_their_shortest_form() -> None:
    bind = {"type": "bind", "source": "/srv", "target": "/data/", "bind": {}}
    found = sorted_out({"volumes": [bind]}, {"Volumes": {"/data": {}, "/x//data/../y/": {}}})
    assert [use.target for use in found.volumes] == ["/x/y"]


def test_no_mount_covers_another_one() -> None:
    volume = {"type": "volume", "source": "data", "target": "/var/www"}
    bind = {"type": "bind", "source": "/srv/conf", "target": "/var/www/html/conf", "bind": {}}
    found = sorted_out({"volumes": [bind, volume], "tmpfs": ["/var"]})
    attached = build.Attached(
        [], found, {"shop_data": "/volumes/data"}, [], [], [], [], "", {}, "", "", [], NO_DEVICES, ""
    )
    assert [mount["destination"] for mount in build._mounts(attached)] == [
        "/var",
        "/var/www",
        "/var/www/html/conf",
    ]


def test_a_stop_signal_that_does_not_exist_is_refused() -> None:
    assert lifecycle.stop_signal({}, {"StopSignal": "SIGQUIT"}) == "SIGQUIT"
    assert lifecycle.stop_signal({"stop_signal": "RTMIN+3"}, {}) == "RTMIN+3"
    for name in ("NOSUCH", "0", "65", "\N{SUPERSCRIPT TWO}", "RTMIN+99", "RTMIN+\N{SUPERSCRIPT TWO}"):
        with pytest.raises(ContainerError, match="no such signal"):
            lifecycle.stop_signal({"stop_signal": name}, {})


def test_a_nul_character_is_refused_before_anything_runs() -> None:
    with pytest.raises(ContainerError, match="command"):
        process.arguments({"command": ["a\0b"]}, {}, "web")
    with pytest.raises(ContainerError, match="environment"):
        process.environment({"environment": {"A": "a\0b"}}, {})


def test_sysctls_are_those_of_the_containers_namespaces() -> None:
    service = {"sysctls": {"net.core.somaxconn": 1, "kernel.shmmax": "2", "fs.mqueue.msg_max": "3"}}
    assert sysctls.of_network(service) == {"net.core.somaxconn": "1"}
    assert sysctls.of_container(service) == {"kernel.shmmax": "2", "fs.mqueue.msg_max": "3"}


@pytest.mark.parametrize(
    "key",
    ["kernel.panic", "vm.swappiness", "kernel/panic", "net./../kernel/panic", "kernel.shmmax/../panic", ""],
)
def test_sysctls_of_the_whole_machine_are_refused(key: str) -> None:
    for read in (sysctls.of_network, sysctls.of_container):
        with pytest.raises(ContainerError, match="belongs to the whole machine"):
            read({"sysctls": {key: "1"}})


def test_sysctls_of_the_hosts_network_are_refused() -> None:
    with pytest.raises(ContainerError, match="that of the host"):
        sysctls.of_container({"sysctls": {"net.core.somaxconn": "1"}, "network_mode": "host"})


def test_no_limit_of_processes_is_none() -> None:
    assert resources.resources({"pids_limit": -1}) == {}


@pytest.mark.parametrize(
    "options",
    [
        *({"max-size": size} for size in ("x", "0", "-2")),
        *({"max-file": number} for number in ("x", "0", "9" * 5000)),
    ],
)
def test_log_options_that_mean_nothing_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ContainerError, match="logging.options"):
        spec_logging.logging({"logging": {"options": options}})


def test_a_log_may_have_no_limit() -> None:
    assert spec_logging.logging({"logging": {"options": {"max-size": "-1"}}})["max_size"] == 0


@pytest.mark.parametrize(
    "service",
    [
        {"sysctls": {"kernel.panic": "1"}},
        {"stop_signal": "NOSUCH"},
        {"logging": {"options": {"max-size": "x"}}},
        {"environment": {"A": "\0"}},
        {"volumes": [{"type": "tmpfs", "target": "x"}]},
        {"mac_address": "xx"},
        {"mac_address": "01:00:00:00:00:01"},
        {"networks": {"default": {"mac_address": "02:00:00:00:00"}}},
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_made(service: dict[str, Any]) -> None:
    with pytest.raises(ContainerError):
        check.check(service, NONE)


def test_a_service_that_can_be_made() -> None:
    service = {"networks": {"a": None, "b": {"mac_address": "02-42-AC-11-00-02"}}, "ulimits": {"cpu": 1}}
    check.check(service, NONE)
