"""What the options of `run` make of a service."""

from __future__ import annotations

from typing import Any

import pytest

from compose.errors import ModelError, UsageError
from compose.model.oneoff import Changes, changed

SERVICE: dict[str, Any] = {
    "image": "some",
    "command": ["serve"],
    "container_name": "web",
    "restart": "always",
    "post_start": [{"command": ["announce"]}],
    "deploy": {"replicas": 3, "restart_policy": {"condition": "any"}, "labels": {"a": "b"}},
    "environment": {"A": "1", "B": None},
    "labels": {"x": "y"},
    "ports": [{"target": 80, "protocol": "tcp"}],
    "cap_add": ["NET_ADMIN"],
    "cap_drop": ["CHOWN"],
    "volumes": [{"type": "volume", "source": "data", "target": "/data"}],
    "networks": {"default": {"aliases": ["www"], "ipv4_address": "10.0.0.9", "priority": 1}},
}


def made(**changes: Any) -> dict[str, Any]:
    return changed(SERVICE, Changes(**changes), "/here")


def test_a_one_off_container_is_not_restarted_named_or_published_as_its_service() -> None:
    found = made()
    assert not {"restart", "container_name", "scale", "post_start"} & found.keys()
    assert found["deploy"] == {"labels": {"a": "b"}}
    assert found["ports"] == [] and found["command"] == ["serve"]
    assert found["networks"] == {"default": {"priority": 1}}
    assert SERVICE["networks"]["default"]["aliases"] == ["www"]


def test_a_new_entry_point_drops_the_command() -> None:
    found = made(entrypoint='sh -c "a b"')
    assert (found["entrypoint"], found["command"]) == (["sh", "-c", "a b"], [])
    assert made(entrypoint="sh", command=["x"])["command"] == ["x"]
    with pytest.raises(UsageError, match="--entrypoint"):
        made(entrypoint="'")


def test_options_are_added_to_what_the_service_has() -> None:
    found = made(environment={"A": "2"}, labels=["l=m=n", "k"], cap_add=["CHOWN"], cap_drop=["NET_ADMIN"])
    assert found["environment"] == {"A": "2", "B": None}
    assert found["labels"] == {"x": "y", "l": "m=n", "k": ""}
    assert found["cap_add"] == ["CHOWN"] and found["cap_drop"] == ["NET_ADMIN"]


def test_ports_are_those_asked_for() -> None:
    assert made(service_ports=True)["ports"] == SERVICE["ports"]
    port = {"mode": "ingress", "target": 80, "published": "8080", "protocol": "tcp"}
    assert made(publish=["8080:80"])["ports"] == [port]
    with pytest.raises(ModelError, match="^--publish abc: "):
        made(publish=["abc"])


def test_a_volume_stands_in_the_place_of_the_services_own() -> None:
    found = made(volumes=["./x:/data:ro"])["volumes"]
    bind = {"create_host_path": True}
    assert found == [
        {"type": "bind", "source": "/here/x", "target": "/data", "read_only": True, "bind": bind}
    ]
    assert len(made(volumes=["other:/o"])["volumes"]) == 2


def test_aliases_are_had_on_request() -> None:
    assert made(use_aliases=True)["networks"]["default"]["aliases"] == ["www"]
